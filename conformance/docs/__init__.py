"""What the documentation tells people to paste works as it stands there."""
