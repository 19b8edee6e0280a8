"""Copies of what the stores hold: encrypted by restic outside the cluster, and put back from there."""
