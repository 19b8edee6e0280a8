"""The portal: what runs on this platform, and who is asking."""
