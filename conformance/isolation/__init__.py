"""Isolation: namespaces and nodes."""
