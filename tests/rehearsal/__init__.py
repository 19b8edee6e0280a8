"""What users have: a bare Debian server that is reached over SSH, here one in namespaces of this machine."""
