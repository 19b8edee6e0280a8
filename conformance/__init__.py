"""The platform's promises, checked from outside on a live cluster: `nox -s conformance -- --env=local`."""
