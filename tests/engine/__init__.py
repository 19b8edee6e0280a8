"""The apply engine against a real API server."""
