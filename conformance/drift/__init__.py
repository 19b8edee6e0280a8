"""Drift: the cluster is what the tree says."""
