"""A cluster on bare Debian servers that are reached over SSH."""
