"""One file per profile: how much load, when, and what must hold. Loads are for a small machine: scale by --load."""
