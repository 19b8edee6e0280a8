"""List, tell what is new, watch; and again. Where it got to is in a file, so that a restart repeats nothing."""

import json
import sys
import time
from contextlib import AbstractContextManager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from prometheus_client import Counter, Gauge
from serving.cluster import ClusterError, answered

from .lines import Obj, fresh, line, version

EVENTS: Final = "/api/v1/events"
WATCH: Final = f"{EVENTS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=240&resourceVersion="
_SILENCE: Final = 300.0
"""A watch that says nothing for longer than it may last is dead."""

TOLD: Final = Counter("events_told", "Events told, by their type.", ["type"])
HEARD: Final = Gauge("events_api_answer_timestamp_seconds", "When the API server last answered.")


class Ask(Protocol):
    """Asks the API server."""

    def __call__(self, path: str, *, seconds: float = ...) -> AbstractContextManager[HTTPResponse]:
        """Give the answer to be read."""


class Follower:
    """The events of all namespaces, told once each."""

    def __init__(self, file: Path, ask: Ask = answered, out: TextIO = sys.stdout) -> None:
        """`file` keeps the resource version of the last event that was told."""
        self._file, self._ask, self._out = file, ask, out
        self._cursor = int(file.read_text()) if file.is_file() else 0

    def forever(self, pause: float = 5.0) -> None:
        """Follow; an API server that is away is asked again, and nothing of the time between is lost."""
        while True:
            try:
                self.once()
            except ClusterError as error:
                sys.stderr.write(f"WARNING events: {error}\n")
                time.sleep(pause)

    def once(self) -> None:
        """List and tell what is new, then watch for as long as the API server lets it."""
        with self._ask(EVENTS, seconds=60.0) as response:
            found: Obj = json.load(response)
        HEARD.set_to_current_time()
        # A cluster that was put back from a backup counts from there.
        self._cursor = min(self._cursor, version(found))
        for event in fresh(found["items"], self._cursor):
            self._tell(event)
        self._reach(version(found))
        with self._ask(f"{WATCH}{self._cursor}", seconds=_SILENCE) as response:
            for text in response:
                self._change(json.loads(text))

    def _change(self, change: dict[str, Any]) -> None:
        HEARD.set_to_current_time()
        if change["type"] == "ERROR":
            message = f"the watch ends: {change['object'].get('message')}"
            raise ClusterError(message)
        if change["type"] in {"ADDED", "MODIFIED"}:
            self._tell(change["object"])
        else:
            self._reach(version(change["object"]))

    def _tell(self, event: Obj) -> None:
        self._out.write(json.dumps(line(event), ensure_ascii=False) + "\n")
        self._out.flush()
        TOLD.labels("Warning" if event.get("type") == "Warning" else "Normal").inc()
        self._reach(version(event))

    def _reach(self, cursor: int) -> None:
        self._cursor = cursor
        draft = self._file.with_suffix(".new")
        draft.write_text(str(cursor))
        draft.rename(self._file)
