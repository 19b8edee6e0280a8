"""Where the platform runs: one module or package per kind of cluster."""
