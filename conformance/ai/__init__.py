"""AI: the models answer, sensibly."""
