"""Routing: every declared name reaches its application, nothing else reaches any."""
