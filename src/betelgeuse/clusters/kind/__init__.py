"""A cluster of kind's, its nodes containers of Docker or podman."""
