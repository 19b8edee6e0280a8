"""Conformance tests of Kubernetes that are not run, and why; by their full names."""

from typing import Final

LEFT_OUT: Final[dict[str, str]] = {}
