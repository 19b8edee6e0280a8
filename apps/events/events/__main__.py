"""Tell the cluster's events until told to stop."""

from pathlib import Path
from typing import Final

from serving import begin
from serving.metrics import tell

from .follow import Follower

CURSOR: Final = Path("/data/cursor")


def main() -> None:
    """Follow the events, and answer Prometheus beside it."""
    begin()
    tell()
    Follower(CURSOR).forever()


if __name__ == "__main__":
    main()
