"""Betelgeuse: deploys the platform and proves it."""
