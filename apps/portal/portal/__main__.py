"""Serve the portal on port 8080 until told to stop."""

from serving import begin, serve

from .app import Portal
from .cluster import Discovery


def main() -> None:
    """Answer as long as nobody ends it."""
    begin()
    serve(Portal(Discovery().services), threads=4)


if __name__ == "__main__":
    main()
