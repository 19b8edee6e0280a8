"""Authentication: no application answers a caller without its credential."""
