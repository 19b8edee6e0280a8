"""Accounts of the stores as applications declare them: users, databases, topics, buckets, indices."""
