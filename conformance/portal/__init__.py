"""The portal: a person's way in, walked with a real browser."""
