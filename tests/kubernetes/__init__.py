"""Kubernetes' own conformance tests on the embedded cluster."""
