"""Drills: a part of the platform is taken away on purpose. Not part of a conformance run; `nox -s drill`."""
