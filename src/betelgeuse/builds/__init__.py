"""Content-addressed builds from package registries: Go commands, wheels, models, images."""
