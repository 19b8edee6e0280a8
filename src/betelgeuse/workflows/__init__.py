"""Sequences of steps: what the verbs of tasks.py do."""
