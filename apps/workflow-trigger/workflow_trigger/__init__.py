"""Starts workflows for messages of a topic of Kafka."""
