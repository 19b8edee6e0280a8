"""Serve collections on port 8080 until told to stop, with the settings of Qdrant's own image."""

import os
from pathlib import Path

from serving import begin, serve

from .app import BODY, VERSION, Vectors
from .metrics import Watched
from .store import Store


def main() -> None:
    """Answer as long as nobody ends it."""
    begin()
    key = os.environ["QDRANT__SERVICE__API_KEY"]
    store = Store(Path(os.environ["QDRANT__STORAGE__STORAGE_PATH"]))
    store.keep_indexed()
    # It shows the metrics; rights for parts of the store are not spoken.
    reading = os.environ.get("QDRANT__SERVICE__READ_ONLY_API_KEY", "")
    serve(Watched(Vectors(store, key), store, VERSION, (key, reading)), threads=4, body=BODY)


if __name__ == "__main__":
    main()
