"""Programs of every kind, obtained and run for real."""
