"""What is to be backed up, and how: the annotation `betelgeuse.io/backup` of any object of the tree. Pure.

A YAML map. `name` is what people call it (`invoke backup --store=<name>`), `method` says how its copy is made:

| method     | the copy is made by                                          | further fields                       |
|------------|--------------------------------------------------------------|--------------------------------------|
| `postgres` | the server's own pg_dump and psql, in its pod                | `pods`: the label selector of its pod |
| `client`   | the store's client library, in the pod of store-accounts     |                                      |
| `volume`   | tar, in the first container of the pod that holds the files  | `pods`; `path`: where the volume is; |
|            |                                                              | `folders` of it, without it all      |

`restart` lists Deployments of the same namespace that are started anew after a restore: they remember what was there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj, describe
from betelgeuse.settings import suggest

ANNOTATION: Final = "betelgeuse.io/backup"
_SCRIPTS: Final = Path(__file__).parents[1] / "backups"
_OF_VOLUMES: Final = ("path", "folders")
_FIELDS: Final = ("name", "method", "pods", "restart", *_OF_VOLUMES)
_ACCOUNTS: Final = ("db", "app.kubernetes.io/name=store-accounts")
"""Where every store's client library is."""


@dataclass(frozen=True)
class Backup:
    """One store whose content is copied as one stream."""

    name: str
    namespace: str
    pods: str
    """Label selector of the pods that can make the copy; any one of them does."""
    dump: tuple[str, ...]
    """Prints the copy; fails where it is not whole."""
    load: tuple[str, ...]
    """Reads a copy and replaces with it what is there."""
    restart: tuple[str, ...] = ()
    home: str = ""
    """The namespace of the store itself."""


def _script(method: str, name: str) -> tuple[str, ...]:
    return ("sh", "-c", (_SCRIPTS / method / name).read_text("utf-8"))


def _selector(where: str, value: Mapping[str, Any]) -> str:
    if not isinstance(value.get("pods"), str) or not value["pods"]:
        message = f"{where}: pods is missing; it must be the label selector of the server's pod"
        raise UsageError(message)
    return str(value["pods"])


def _postgres(_: str, where: str, value: Mapping[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return _selector(where, value), _script("postgres", "dump.sh"), _script("postgres", "load.sh")


def _volume(_: str, where: str, value: Mapping[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    path, folders = value.get("path"), value.get("folders", [])
    if not isinstance(path, str) or not path.startswith("/"):
        message = f"{where}: path must be where the pod has its volume, got {str(path)[:60]!r}"
        raise UsageError(message)
    if not isinstance(folders, list) or not all(map(_is_inside, folders)):
        message = f"{where}: folders must be a list of paths below {path}"
        raise UsageError(message)
    about = ("volume", path, *folders)
    return _selector(where, value), (*_script("volume", "dump.sh"), *about), (*_script("volume", "load.sh"), *about)


def _is_inside(folder: object) -> bool:
    if not isinstance(folder, str) or not folder or folder.startswith(("/", "-")):
        return False
    return not {".", "..", ""} & set(folder.split("/"))


def _client(name: str, _: str, __: Mapping[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    program = ("/usr/bin/python3", "-m", "store_accounts")
    return _ACCOUNTS[1], (*program, "dump", name), (*program, "load", name)


_Method = Callable[[str, str, Mapping[str, Any]], tuple[str, tuple[str, ...], tuple[str, ...]]]
_METHODS: Final[Mapping[str, _Method]] = {"postgres": _postgres, "client": _client, "volume": _volume}


def _backup(obj: Obj, text: str) -> Backup:
    where = f"{describe(obj)}: annotation {ANNOTATION}"
    documents = yamls.parse(text, where)
    value = documents[0] if len(documents) == 1 and isinstance(documents[0], dict) else {}
    for field in value:
        if field not in _FIELDS:
            message = f"{where}: unknown field {field!r}{suggest(str(field), list(_FIELDS))}"
            raise UsageError(message)
    name, method, restart = value.get("name"), value.get("method"), value.get("restart", [])
    if not isinstance(name, str) or not name:
        message = f"{where}: name is missing; `invoke backup --store=<name>` uses it"
        raise UsageError(message)
    if not isinstance(method, str) or method not in _METHODS:
        message = f"{where}: method must be one of {', '.join(_METHODS)}, got {str(method)[:40]!r}"
        raise UsageError(message)
    if method != "volume" and (strange := [field for field in _OF_VOLUMES if field in value]):
        message = f"{where}: {strange[0]} is of the method volume"
        raise UsageError(message)
    if not isinstance(restart, list) or not all(isinstance(each, str) for each in restart):
        message = f"{where}: restart must be a list of Deployments' names"
        raise UsageError(message)
    pods, dump, load = _METHODS[method](name, where, value)
    home = obj["metadata"]["namespace"]
    return Backup(name, _ACCOUNTS[0] if method == "client" else home, pods, dump, load, tuple(restart), home)


def backups(objects: Iterable[Obj]) -> dict[str, Backup]:
    """Return what the tree declares, by name; UsageError for a wrong or a doubled declaration."""
    found: dict[str, Backup] = {}
    for obj in objects:
        text = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
        if text is None:
            continue
        one = _backup(obj, str(text))
        if one.name in found:
            message = f"{describe(obj)}: annotation {ANNOTATION}: {one.name} is declared twice"
            raise UsageError(message)
        found[one.name] = one
    return dict(sorted(found.items()))


def chosen(objects: Iterable[Obj], store: str) -> list[Backup]:
    """Return the named declaration, or all; UsageError, with a suggestion, for a name that nothing has."""
    found = backups(objects)
    if store and store not in found:
        have = ", ".join(found) or "none"
        message = f"no store {store!r} to back up{suggest(store, found)} (there are: {have})"
        raise UsageError(message)
    return [found[store]] if store else list(found.values())
