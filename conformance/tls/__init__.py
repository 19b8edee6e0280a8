"""TLS: what the public names serve, and what they refuse."""
