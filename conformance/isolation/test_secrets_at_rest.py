"""Secrets lie in etcd as ciphertext, and nowhere else at all."""

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import generated
from conformance.inside import Inside
from conformance.parallel import gather
from conformance.probes.etcd import CIPHER, Etcd
from conformance.secrecy import MASKER
from conformance.site import Site
from conformance.verdict import require, require_none

_MANAGER: Final = "betelgeuse-conformance"
_LINES: Final = 4000


def _object(kind: str, namespace: str, canary: str) -> Obj:
    meta = {"name": f"canary-{uuid.uuid4().hex[:8]}", "namespace": namespace}
    field = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, field: {"canary": canary}}


@contextmanager
def _kept(site: Site, obj: Obj) -> Iterator[str]:
    """Store an object for a moment and yield its key in etcd."""
    site.cluster.kube.server_side_apply(obj, _MANAGER, force=True)
    meta = obj["metadata"]
    try:
        yield f"/registry/{obj['kind'].lower()}s/{meta['namespace']}/{meta['name']}"
    finally:
        site.cluster.kube.delete(obj)


def _holds(stored: bytes, canary: str) -> bool:
    return canary.encode() in stored or base64.b64encode(canary.encode()) in stored


@pytest.mark.feature("etcd")
def test_secret_is_ciphertext_in_etcd(site: Site, inside: Inside) -> None:
    """A Secret written a moment ago is ciphertext in every member of etcd; a ConfigMap beside it is not."""
    canary, control = uuid.uuid4().hex, uuid.uuid4().hex
    MASKER.learn(canary)
    faults = []
    secret, config = (_object("Secret", inside.namespace, canary), _object("ConfigMap", inside.namespace, control))
    with _kept(site, secret) as sealed, _kept(site, config) as plain:
        for etcd in site.etcd:
            name = etcd.pod["metadata"]["name"]
            stored = etcd.value(sealed)
            faults += [] if stored.startswith(CIPHER) else [f"{name}: {sealed} begins with {stored[:16]!r}"]
            faults += [f"{name}: {sealed} holds the value"] if _holds(stored, canary) else []
            # The control: what is not sealed is seen in the clear by the same means.
            faults += [] if _holds(etcd.value(plain), control) else [f"{name}: {plain} was not read"]
        live = site.cluster.get(Ref("Secret", inside.namespace, secret["metadata"]["name"], "v1")) or {}
        readable = _holds(json.dumps(live).encode(), canary)
        faults += [] if readable else ["the API server does not give the value back"]

    require_none(
        faults,
        where="etcd",
        want=f"{CIPHER.decode()}…, and the value nowhere in it",
        reproduce=f"{_first(site).command} get /registry/secrets/{inside.namespace} --prefix",
    )


def _first(site: Site) -> Etcd:
    return site.etcd[0]


@pytest.mark.feature("etcd")
def test_every_secret_is_ciphertext_in_etcd(site: Site) -> None:
    """Every Secret of the cluster, also those older than the key, is ciphertext in etcd."""
    seen = {
        f"{etcd.pod['metadata']['name']}: {key}": begin
        for etcd in site.etcd
        for key, begin in etcd.beginnings("/registry/secrets/", len(CIPHER)).items()
    }
    site.facts["Secrets read in etcd"] = f"{len(seen)}, all but {sum(b != CIPHER for b in seen.values())} ciphertext"

    require(seen, where="etcd", want="Secrets", got="none", reproduce=f"{_first(site).command} get /registry --prefix")
    require_none(
        [key for key, begin in seen.items() if begin != CIPHER],
        where=f"etcd, {len(seen)} Secrets",
        want=f"{CIPHER.decode()}…",
        reproduce=f"{_first(site).command} get /registry/secrets/ --prefix --keys-only",
    )


def _log(site: Site, pod: Obj, container: str) -> tuple[str, str]:
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
    reply = site.cluster.ask("GET", path, query={"container": container, "tailLines": _LINES}, accept="*/*")
    return f"log of {meta['namespace']}/{meta['name']} {container}", reply.text


def test_secret_is_nowhere_in_the_clear(site: Site) -> None:
    """No secret of the platform shows in a pod's log or spec, a ConfigMap, the rendered tree or an earlier report."""
    secrets = generated.secrets(site)
    pods = [pod for namespace in site.tree.namespaces for pod in site.cluster.fresh("v1", "Pod", namespace)]
    running = [(pod, container["name"]) for pod in pods for container in pod["spec"]["containers"]]
    texts = dict(gather(lambda one: _log(site, *one), running))
    texts |= {f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}": json.dumps(pod["spec"]) for pod in pods}
    for namespace in site.tree.namespaces:
        for config in site.cluster.list("v1", "ConfigMap", namespace):
            texts[f"ConfigMap {namespace}/{config['metadata']['name']}"] = json.dumps(config.get("data") or {})
    texts["the rendered tree"] = json.dumps(site.tree.objects)
    texts |= {path.name: path.read_text("utf-8", "replace") for path in paths.REPORTS.glob("*.*") if path.is_file()}
    site.facts["places searched for secrets"] = f"{len(texts)}, for {len(secrets)} values"

    require_none(
        [f"{name} in {place}" for value, name in secrets.items() for place, text in texts.items() if value in text],
        where=f"{len(texts)} texts",
        want=f"none of {len(secrets)} secrets",
        reproduce='kubectl logs … | grep -F "$(kubectl get secret … | base64 -d)"',
    )
