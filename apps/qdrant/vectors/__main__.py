"""Serve collections on port 8080 until told to stop, with the settings of Qdrant's own image."""

import os
from pathlib import Path

from serving import begin, serve

from .app import BODY, Vectors
from .store import Store


def main() -> None:
    """Answer as long as nobody ends it."""
    begin()
    key = os.environ["QDRANT__SERVICE__API_KEY"]
    store = Store(Path(os.environ["QDRANT__STORAGE__STORAGE_PATH"]))
    store.keep_indexed()
    serve(Vectors(store, key), threads=4, body=BODY)


if __name__ == "__main__":
    main()
