"""Checks on the built trees: what must hold before anything reaches a cluster."""
