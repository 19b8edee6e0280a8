"""Find the cluster of an environment, and refuse any other."""

import os
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import yaml

from betelgeuse import paths, servers
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import standby
from betelgeuse.kube.api import Kube
from betelgeuse.settings import MADE, Settings, environments, load, suggest

_CONNECTIONS: Final = 16
"""More threads than this never apply at once."""


def kubeconfigs(settings: Settings) -> tuple[Path, ...]:
    """Return the files that name the environment's cluster: ours when a deploy left one, else all of the user's."""
    ours = paths.kubeconfig_path(settings.env)
    if ours.exists():
        return (ours,)
    listed = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if found := tuple(Path(name) for name in listed.split(os.pathsep) if name and Path(name).exists()):
        return found
    message = f"no cluster for environment {settings.env!r}: {_lacking(settings, listed)}"
    raise BetelgeuseError(message)


def _lacking(settings: Settings, listed: str) -> str:
    """Return which kubeconfig is missing and what to make first."""
    if settings.env in MADE or servers.load(settings.env):
        return f"{paths.kubeconfig_path(settings.env)} does not exist; run `invoke deploy --env={settings.env}` first"
    context = context_of(settings)
    made = "make it with kubeadm first (docs/operations/install.md, A cluster on servers)"
    return f"no kubeconfig is at {listed}; {made}, and KUBECONFIG names the file with its context {context!r}"


def _named(document: object, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = document.get(section) if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        inner = entry.get(section.removesuffix("s")) if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            yield str(entry.get("name")), inner


def check_listed(settings: Settings, context: str) -> None:
    """Raise RefusedError unless some environment lists this context: no command ever touches a stranger's cluster."""
    listed = {settings.kube_context} | {load(env).kube_context for env in environments()}
    if context not in listed:
        known = ", ".join(sorted(listed))
        message = f"context {context!r} is not one of ours (overlays/*/environment.env list: {known}); refused"
        raise RefusedError(message)


def _document(path: Path) -> object:
    try:
        return yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{path} is not a readable kubeconfig: {' '.join(str(error).split())[:200]}"
        raise UsageError(message) from None


def check_kubeconfig(files: Sequence[Path], context: str) -> tuple[Path, ...]:
    """Return the files that say something; raise unless they hold the context and verify the server's certificate.

    Merged as kubectl does it: of two entries with one name, the first counts.
    """
    documents = {path: document for path in files if (document := _document(path)) is not None}
    where = ", ".join(map(str, files))

    def merged(section: str) -> dict[str, dict[str, Any]]:
        entries = [entry for document in documents.values() for entry in _named(document, section)]
        return dict(reversed(entries))

    contexts = merged("contexts")
    if context not in contexts:
        have = ", ".join(sorted(contexts)) or "none"
        message = f"{where}: no context {context!r}{suggest(context, contexts)} (there are: {have}); refused"
        raise RefusedError(message)
    cluster = merged("clusters").get(str(contexts[context].get("cluster")), {})
    if cluster.get("insecure-skip-tls-verify"):
        message = f"{where}: context {context!r} skips TLS verification; give its cluster a certificate-authority"
        raise RefusedError(message)
    return tuple(documents)


def context_of(settings: Settings) -> str:
    """Return the context in use: the environment's, or the one that the variable KUBE_CONTEXT names."""
    return os.environ.get("KUBE_CONTEXT") or settings.kube_context


def connect(settings: Settings, *, context: str | None = None) -> Kube:
    """Open the environment's cluster; `context` (or the variable KUBE_CONTEXT) must be one an environment lists."""
    wanted = context or context_of(settings)
    if wanted != settings.kube_context:
        check_listed(settings, wanted)
    standby.settle(settings.env)
    files = check_kubeconfig(kubeconfigs(settings), wanted)
    listed = os.pathsep.join(map(str, files))

    # 0.3 s of import: only commands that talk to a cluster pay it.
    from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415
    from kubernetes.config import ConfigException, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    try:
        load_kube_config(listed, wanted, configuration, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        message = f"{listed}: context {wanted!r} cannot be used: {' '.join(str(error).split())[:200]}"
        raise UsageError(message) from None
    if _private(configuration.host):
        # HTTPS_PROXY is meant for the Internet; a proxy cannot reach nodes inside this machine.
        configuration.proxy = None
    settings_of_auth = cast("Mapping[str, Mapping[str, object]]", configuration.auth_settings())
    auth = {str(entry["key"]): str(entry["value"]) for entry in settings_of_auth.values()}
    pool = ApiClient(configuration).rest_client.pool_manager
    return Kube(settings.env, configuration.host.rstrip("/"), pool, auth, str(configuration.cert_file or ""))


def _private(host: str) -> bool:
    try:
        return ip_address(urlsplit(host).hostname or "").is_private
    except ValueError:
        return False
