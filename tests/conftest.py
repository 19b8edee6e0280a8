"""What all tests share."""

from hypothesis import settings

# Same examples everywhere, no files left behind; a busy machine is no failure.
settings.register_profile("betelgeuse", derandomize=True, database=None, deadline=None)
settings.load_profile("betelgeuse")
