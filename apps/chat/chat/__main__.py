"""Serve the pages of a folder on port 8080 until told to stop."""

import sys
from pathlib import Path
from typing import Final

from serving import begin, serve

from .app import Pages
from .files import FolderError, read

FOLDER: Final = Path("/srv/chat")


def main() -> None:
    """Answer as long as nobody ends it."""
    begin()
    try:
        files = read(FOLDER)
    except FolderError as error:
        sys.exit(str(error))
    serve(Pages(files), threads=4)


if __name__ == "__main__":
    main()
