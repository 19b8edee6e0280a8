"""The page on which people talk to the language model: files, and headers that keep what it does to its own host."""
