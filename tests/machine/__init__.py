"""What users have: an ordinary Debian machine, emulated."""
