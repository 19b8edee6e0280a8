"""What the gateway listens on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.tree.refs import Ref, ref

KINDS: Final = ("Gateway", "ListenerSet")
ANY_HOST: Final = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway or ListenerSet; an empty hostname takes every name."""

    owner: Ref
    name: str
    port: int
    protocol: str
    hostname: str
    certificates: tuple[Ref, ...]


def listeners(objects: Iterable[Obj]) -> tuple[Listener, ...]:
    """Return every listener of every Gateway and ListenerSet."""
    found = []
    for owner in objects:
        if owner["kind"] not in KINDS:
            continue
        namespace = owner["metadata"].get("namespace", "")
        for listener in owner["spec"].get("listeners", []):
            refs = listener.get("tls", {}).get("certificateRefs", [])
            secrets = tuple(Ref("Secret", r.get("namespace", namespace), r["name"], "v1") for r in refs)
            hostname = listener.get("hostname", ANY_HOST)
            found.append(
                Listener(ref(owner), listener["name"], listener["port"], listener["protocol"], hostname, secrets)
            )
    return tuple(found)


def hostnames(objects: Iterable[Obj]) -> set[str]:
    """Return every host name that a listener of the tree serves."""
    return {listener.hostname for listener in listeners(objects)} - {ANY_HOST}
