"""The environment of every program we start: what a person's shell says for its owner does not reach it."""

import os
from collections.abc import Mapping
from typing import Final

_PRIVATE: Final = (
    "localhost",
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
)
"""Where a proxy for the Internet does not lead: this machine's own nodes, and networks like theirs."""
_PERSONAL: Final = ("CDPATH", "ENV", "BASH_ENV", "LANGUAGE", "GZIP", "TAR_OPTIONS", "POSIXLY_CORRECT")
_PERSONAL_PREFIXES: Final = ("KUBECTL_", "GREP_", "LC_", "BASH_FUNC_")
_FIXED: Final = {
    # Aliases and defaults of ~/.kube/kuberc: `get` may print another table, `kustomize` write a file.
    "KUBERC": "off",
    # We read what programs say.
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
}


def direct() -> dict[str, str]:
    """Return the variables that keep a proxy for the Internet away from private addresses; empty without a proxy."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    text = ",".join(dict.fromkeys([*filter(None, said.split(",")), *_PRIVATE]))
    return {"NO_PROXY": text, "no_proxy": text}


def environment(added: Mapping[str, str] | None = None, *, internet: bool = True) -> dict[str, str]:
    """Return the environment for a program: ours without a person's preferences, and what is `added`.

    A proxy serves downloads and never reaches private addresses. Without `internet` no variable tells of one: kubeadm
    copies each of them into the static pods.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _PERSONAL
        and not name.startswith(_PERSONAL_PREFIXES)
        and (internet or not name.lower().endswith("_proxy"))
    }
    return {**kept, **(direct() if internet else {}), **_FIXED, **(added or {})}
