"""Probes look and report: each returns an observation, none asserts, so that unit tests can prove what they can see."""
