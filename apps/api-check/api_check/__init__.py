"""Whether a request to a model is one that its protocol allows: asked by the gateway before the model sees it."""
