"""Kubernetes' events, as lines of JSON on standard output."""
