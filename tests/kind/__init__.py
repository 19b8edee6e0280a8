"""The platform on a throw-away kind cluster."""
