"""The load generator as a whole: Locust in an environment of its own, against scripted servers."""
