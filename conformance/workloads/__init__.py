"""Workloads: everything that runs is ready, bounded and confined."""
