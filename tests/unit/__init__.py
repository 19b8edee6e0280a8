"""Unit tests: no cluster, no network, no root."""
