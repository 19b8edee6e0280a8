"""Alerts of the tree on series made up for them: promtool says which fire."""
