"""Bundles of other projects' manifests: how one comes out of a Go module."""
