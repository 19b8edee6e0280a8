"""Collections on the disk: a folder each, with the engine's files and what the collection was made with."""

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import qdrant_edge as edge

from . import basics, reading
from .errors import RefusedError, missing, wrong

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
_CONFIG: Final = "config.json"
_ALIASES: Final = "aliases.json"
_PAUSE: Final = 20.0
"""Seconds between two looks at which collections want an index."""


def _write(file: Path, value: object) -> None:
    """Write a file that is the old or the new one after a kill, and the new one after a return."""
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    _settle(file.parent)


def _settle(folder: Path) -> None:
    """Have the entries of a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Collection:
    """One collection; reads go side by side, writes one after another."""

    def __init__(self, folder: Path) -> None:
        """Open what is there."""
        self.made: Mapping[str, Any] = json.loads((folder / _CONFIG).read_text("utf-8"))
        self.shard = edge.EdgeShard.load(str(folder / "shard"))
        self.operations = 0
        self._changed = True
        self._lock = threading.Lock()

    def update(self, operation: edge.UpdateOperation) -> int:
        """Carry out a change; it is on the disk when this returns. Return its number since the start."""
        with self._lock:
            self.shard.update(operation)
            self.shard.flush()
            self._changed = True
            self.operations += 1
            return self.operations

    def optimize(self) -> None:
        """Merge segments and build indices, if anything changed."""
        with self._lock:
            changed, self._changed = self._changed, False
            if changed:
                self.shard.optimize()

    def vector(self, point: basics.PointId, name: str) -> Any:  # noqa: ANN401 - a vector of any kind
        """Return the vector of a stored point."""
        found = self.shard.retrieve([point], with_payload=False, with_vector=True)
        if not found:
            message = f"point {point}"
            raise missing(message)
        vector = found[0].vector
        return vector.get(name) if isinstance(vector, dict) else vector

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._changed = False
            self.shard.close()


class Store:
    """All collections below one folder, and other names of theirs."""

    def __init__(self, root: Path) -> None:
        """Open every collection; what a kill left half made or half removed goes away."""
        self._root = root / "collections"
        self._root.mkdir(parents=True, exist_ok=True)
        self._aliases = root / _ALIASES
        for rest in self._root.glob(".*"):
            shutil.rmtree(rest)
        self._open = {folder.name: Collection(folder) for folder in sorted(self._root.iterdir())}
        self.aliases: dict[str, str] = json.loads(self._aliases.read_text("utf-8")) if self._aliases.is_file() else {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of all collections."""
        return sorted(self._open)

    def has(self, name: str) -> bool:
        """Whether there is a collection, by its name or another one."""
        return self.aliases.get(name, name) in self._open

    def get(self, name: str) -> Collection:
        """Return a collection, by its name or another one."""
        found = self._open.get(self.aliases.get(name, name))
        if found is None:
            message = f"Collection `{name}`"
            raise missing(message)
        return found

    def create(self, name: str, body: Mapping[str, Any]) -> None:
        """Make a collection."""
        if not _NAME.fullmatch(name):
            message = "a collection's name must be 1 to 255 letters, digits, dots, dashes and underscores"
            raise wrong(message)
        config = reading.config(body)
        with self._lock:
            if name in self._open or name in self.aliases:
                message = f"Wrong input: Collection `{name}` already exists!"
                raise RefusedError(409, message)
            draft = self._root / f".new-{name}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            shard = edge.EdgeShard.create(str(draft / "shard"), config)
            shard.flush()
            shard.close()
            kept = {key: body[key] for key in ("vectors", "sparse_vectors") if body.get(key)}
            _write(draft / _CONFIG, kept)
            draft.rename(self._root / name)
            _settle(self._root)
            self._open[name] = Collection(self._root / name)

    def delete(self, name: str) -> bool:
        """Remove a collection and other names of it; return whether there was one."""
        with self._lock:
            found = self._open.pop(name, None)
            if found is None:
                return False
            found.close()
            gone = self._root / f".gone-{name}-{time.monotonic_ns()}"
            (self._root / name).rename(gone)
            _settle(self._root)
            shutil.rmtree(gone)
            self._rename({alias: of for alias, of in self.aliases.items() if of != name})
            return True

    def _rename(self, aliases: dict[str, str]) -> None:
        if aliases != self.aliases:
            _write(self._aliases, aliases)
            self.aliases = aliases

    def change_aliases(self, actions: list[Any]) -> None:
        """Give and take other names of collections, all at once."""
        with self._lock:
            aliases = dict(self.aliases)
            for action in actions:
                known = ("create_alias", "delete_alias", "rename_alias")
                ((deed, said),) = basics.only(action, "an action", known).items()
                if deed == "create_alias":
                    if said["collection_name"] not in self._open:
                        message = f"Collection `{said['collection_name']}`"
                        raise missing(message)
                    if said["alias_name"] in self._open:
                        message = f"Wrong input: Collection `{said['alias_name']}` already exists!"
                        raise RefusedError(409, message)
                    aliases[said["alias_name"]] = said["collection_name"]
                    continue
                old = said["alias_name" if deed == "delete_alias" else "old_alias_name"]
                of = aliases.pop(old, None)
                if deed == "rename_alias":
                    if of is None:
                        message = f"Alias {old}"
                        raise missing(message)
                    aliases[said["new_alias_name"]] = of
            self._rename(aliases)

    def keep_indexed(self) -> None:
        """Build indices in the background, for as long as the process lives."""

        def work() -> None:
            while True:
                time.sleep(_PAUSE)
                for collection in list(self._open.values()):
                    collection.optimize()

        threading.Thread(target=work, daemon=True).start()
