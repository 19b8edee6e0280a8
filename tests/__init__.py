"""Tests that need no cluster, and those that bring their own."""
