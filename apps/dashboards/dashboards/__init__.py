"""Dashboards as the platform's components describe them, rendered for the server that shows them."""
