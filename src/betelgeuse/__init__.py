"""Betelgeuse: deploys the platform and proves it."""

import os

# Whatever umask a shell has: containers run as many users, and each must read what we build, write and start for it.
# Here, because every program of ours begins by importing this package. What is secret is created with its own mode.
os.umask(0o022)
