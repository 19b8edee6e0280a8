"""TCP: exactly the declared ports are open."""
