"""The realm of Keycloak that the tree asks for, and how it comes about."""
