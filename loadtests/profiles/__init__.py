"""One file per profile: how many users, for how long, and what must hold."""
