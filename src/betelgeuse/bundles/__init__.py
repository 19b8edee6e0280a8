"""Bundles of other projects' manifests: what upstream/lock.yaml says, and how one comes out of a Go module."""
