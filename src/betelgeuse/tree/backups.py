"""What is to be backed up, and how: the annotation `betelgeuse.io/backup` of any object of the tree. Pure.

A YAML map. `name` is what people call it (`invoke backup --store=<name>`), `method` says how its copy is made:

| method     | the copy is made by                                          | further fields                       |
|------------|--------------------------------------------------------------|--------------------------------------|
| `postgres` | the server's own pg_dump and psql, in its pod                | `pods`: the label selector of its pod |
| `client`   | the store's client library, in the pod of store-accounts     |                                      |
| `volume`   | tar, in the first container of the pod that holds the files  | `pods`; `path`: where the volume is; |
|            |                                                              | `folders` of it, without it all      |
| `claims`   | the same for each claim of the namespace, in the pod that    | `path`; the object is a PodTemplate  |
|            | has it, or in one made of this template for the time         | with the claim's shape at that place |
| `secrets`  | this program; the Secrets of one name are one copy           |                                      |

What remembers what was in a store, and must be started anew after a restore, says so itself: the annotation
`betelgeuse.io/restart-after-restore` of a Deployment lists stores, `gitea, postgres`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.errors import UsageError
from betelgeuse.kube import Key, Obj, describe, key_of
from betelgeuse.settings import suggest

ANNOTATION: Final = "betelgeuse.io/backup"
_SCRIPTS: Final = Path(__file__).parents[1] / "backups"
FOLLOWS: Final = "betelgeuse.io/restart-after-restore"
CLAIMS: Final = "claims"
CLIENT: Final = "client"
SECRETS: Final = "secrets"
_COMMON: Final = ("name", "method")
_ACCOUNTS: Final = ("db", "app.kubernetes.io/name=store-accounts")
"""Where every store's client library is."""


@dataclass(frozen=True)
class Backup:
    """One store whose content is copied as one stream."""

    name: str
    method: str
    namespace: str
    pods: str
    """Label selector of the pods that can make the copy; any one of them does."""
    dump: tuple[str, ...]
    """Prints the copy; fails where it is not whole."""
    load: tuple[str, ...]
    """Reads a copy and replaces with it what is there."""
    home: str
    """The namespace of the store itself."""
    objects: tuple[Obj, ...]
    """What declares it: one object, or every Secret of this name."""
    path: str = ""
    """Where a pod has the volume."""
    restart: tuple[Key, ...] = ()
    """Deployments that remember what was there before."""


_Commands = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Selector of pods, dump, load."""


def _script(method: str, name: str) -> tuple[str, ...]:
    return ("sh", "-c", (_SCRIPTS / method / name).read_text("utf-8"))


def _selector(where: str, value: Mapping[str, Any]) -> str:
    if not isinstance(value.get("pods"), str) or not value["pods"]:
        message = f"{where}: pods is missing; it must be the label selector of the server's pod"
        raise UsageError(message)
    return str(value["pods"])


def _postgres(_: str, where: str, value: Mapping[str, Any]) -> _Commands:
    return _selector(where, value), _script("postgres", "dump.sh"), _script("postgres", "load.sh")


def _tar(where: str, value: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    path, folders = value.get("path"), value.get("folders", [])
    if not isinstance(path, str) or not path.startswith("/"):
        message = f"{where}: path must be where the pod has its volume, got {str(path)[:60]!r}"
        raise UsageError(message)
    if not isinstance(folders, list) or not all(map(_is_inside, folders)):
        message = f"{where}: folders must be a list of paths below {path}"
        raise UsageError(message)
    about = ("volume", path, *folders)
    return (*_script("volume", "dump.sh"), *about), (*_script("volume", "load.sh"), *about)


def _volume(_: str, where: str, value: Mapping[str, Any]) -> _Commands:
    return _selector(where, value), *_tar(where, value)


def _claims(_: str, where: str, value: Mapping[str, Any]) -> _Commands:
    return "", *_tar(where, value)


def _secrets(_: str, __: str, ___: Mapping[str, Any]) -> _Commands:
    return "", (), ()


def _is_inside(folder: object) -> bool:
    if not isinstance(folder, str) or not folder or folder.startswith(("/", "-")):
        return False
    return not {".", "..", ""} & set(folder.split("/"))


def _client(name: str, _: str, __: Mapping[str, Any]) -> _Commands:
    program = ("/usr/bin/python3", "-m", "store_accounts")
    return _ACCOUNTS[1], (*program, "dump", name), (*program, "load", name)


_METHODS: Final[Mapping[str, tuple[Callable[[str, str, Mapping[str, Any]], _Commands], tuple[str, ...]]]] = {
    "postgres": (_postgres, ("pods",)),
    CLIENT: (_client, ()),
    "volume": (_volume, ("pods", "path", "folders")),
    CLAIMS: (_claims, ("path",)),
    SECRETS: (_secrets, ()),
}
"""How the commands of each are made, and the fields that it has."""
_KINDS: Final = {CLAIMS: "PodTemplate", SECRETS: "Secret"}
"""The kind of object that a method needs."""
_FIELDS: Final = tuple(dict.fromkeys([*_COMMON, *(field for _, fields in _METHODS.values() for field in fields)]))


def _backup(obj: Obj, text: str) -> Backup:
    where = f"{describe(obj)}: annotation {ANNOTATION}"
    documents = yamls.parse(text, where)
    value = documents[0] if len(documents) == 1 and isinstance(documents[0], dict) else {}
    for field in value:
        if field not in _FIELDS:
            message = f"{where}: unknown field {field!r}{suggest(str(field), list(_FIELDS))}"
            raise UsageError(message)
    name, method = value.get("name"), value.get("method")
    if not isinstance(name, str) or not name or ":" in name:
        message = f"{where}: name is missing; `invoke backup --store=<name>` uses it, and it has no colon"
        raise UsageError(message)
    if not isinstance(method, str) or method not in _METHODS:
        message = f"{where}: method must be one of {', '.join(_METHODS)}, got {str(method)[:40]!r}"
        raise UsageError(message)
    commands, fields = _METHODS[method]
    if strange := [field for field in value if field not in {*_COMMON, *fields}]:
        message = f"{where}: {strange[0]} is no field of the method {method}"
        raise UsageError(message)
    if (kind := _KINDS.get(method, obj["kind"])) != obj["kind"]:
        message = f"{where}: the method {method} is for a {kind}"
        raise UsageError(message)
    pods, dump, load = commands(name, where, value)
    home = obj["metadata"]["namespace"]
    namespace = _ACCOUNTS[0] if method == "client" else home
    return Backup(name, method, namespace, pods, dump, load, home, (obj,), str(value.get("path", "")))


def _followers(objects: Iterable[Obj], stores: Mapping[str, Backup]) -> Iterator[tuple[str, Key]]:
    """Yield stores with a Deployment that is started anew after a restore of them."""
    for obj in objects:
        text = (obj["metadata"].get("annotations") or {}).get(FOLLOWS)
        if text is None:
            continue
        where = f"{describe(obj)}: annotation {FOLLOWS}"
        if obj["kind"] != "Deployment":
            message = f"{where} is for a Deployment"
            raise UsageError(message)
        for store in map(str.strip, str(text).split(",")):
            if store not in stores:
                message = f"{where} names {store!r}, which nothing declares{suggest(store, stores)}"
                raise UsageError(message)
            yield store, key_of(obj)


def backups(objects: Iterable[Obj]) -> dict[str, Backup]:
    """Return what the tree declares, by name; UsageError for a wrong or a doubled declaration."""
    found: dict[str, Backup] = {}
    everything = list(objects)
    for obj in everything:
        text = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
        if text is None:
            continue
        one = _backup(obj, str(text))
        if (other := found.get(one.name)) is None:
            found[one.name] = one
        elif one.method == other.method == SECRETS:
            found[one.name] = replace(other, objects=(*other.objects, obj))
        else:
            message = f"{describe(obj)}: annotation {ANNOTATION}: {one.name} is declared twice"
            raise UsageError(message)
    for store, key in _followers(everything, found):
        found[store] = replace(found[store], restart=(*found[store].restart, key))
    return dict(sorted(found.items()))


def chosen(objects: Iterable[Obj], store: str, *besides: Backup) -> list[Backup]:
    """Return the named declaration, or all; UsageError, with a suggestion, for a name that nothing has.

    `besides` are stores that no object of the tree declares.
    """
    found = backups(objects) | {one.name: one for one in besides}
    if store and store not in found:
        have = ", ".join(found) or "none"
        message = f"no store {store!r} to back up{suggest(store, found)} (there are: {have})"
        raise UsageError(message)
    return [found[store]] if store else list(found.values())
