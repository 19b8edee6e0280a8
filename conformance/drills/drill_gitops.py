"""The platform is handed to Argo CD and taken back; in between commits are brought about, and only signed ones."""

import base64
import json
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from operator import eq
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Ref
from conformance import argocd
from conformance.drills.verbs import checkout, invoke
from conformance.site import Site
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("argocd")

_AREA: Final = "portal"
_SERVICE: Final = Ref("Service", _AREA, "portal", "v1")
_FILE: Final = f"{_AREA}/service-portal.yaml"
_SOURCE: Final = "base/portal/app/service.yaml"
_MARK: Final = "betelgeuse.io/drill"
_SECONDS: Final = 300.0
"""For Argo CD to look, and to heal."""


def _branch(site: Site) -> str:
    return f"env/{site.settings.env}"


def _marked(site: Site) -> str:
    live = site.cluster.get(_SERVICE) or {}
    return str((live.get("metadata", {}).get("annotations") or {}).get(_MARK, ""))


def _becomes(site: Site, look: Callable[[Site], object], wanted: object, what: str) -> float:
    """Wait until Argo CD has brought something about; return the seconds it took."""
    seen, seconds = poll(partial(look, site), partial(eq, wanted), _SECONDS)
    require(
        seen == wanted,
        where=f"{_SERVICE}, {what}",
        want=repr(wanted),
        got=f"{seen!r} after {seconds:.0f} s",
        reproduce=f"kubectl -n {argocd.AREA} describe application {argocd.PLATFORM}-{_AREA}",
    )
    return seconds


def _labels(site: Site) -> dict[str, str]:
    return dict((site.cluster.get(_SERVICE) or {}).get("metadata", {}).get("labels") or {})


def _heals(site: Site) -> float:
    """Change a label as a hand does; return the seconds until it is taken back."""
    before = _labels(site)
    meta = {"name": _SERVICE.name, "namespace": _AREA, "labels": dict.fromkeys(before, "by-hand")}
    by_hand = {"apiVersion": _SERVICE.api_version, "kind": _SERVICE.kind, "metadata": meta}
    site.cluster.kube.server_side_apply(by_hand, "kubectl-edit", force=True)
    return _becomes(site, _labels, before, "labels, after a hand changed them")


def _conditions(site: Site) -> str:
    """Return what Argo CD says against the area's last commit."""
    app = site.cluster.kube.get(argocd.API, "Application", f"{argocd.PLATFORM}-{_AREA}", argocd.AREA) or {}
    return "; ".join(str(each.get("message")) for each in (app.get("status") or {}).get("conditions") or ())


def _refuses_a_stranger(site: Site) -> None:
    """Commit to the platform's branch as Gitea's administrator does by its page: without the key."""
    with argocd.delivered(site) as somebody:
        path = f"/repos/{somebody.owner}/{argocd.PLATFORM}/contents/{_FILE}"
        known: dict[str, Any] = json.loads(somebody.git("GET", f"{path}?ref={_branch(site)}").text)
        obj = yaml.safe_load(base64.b64decode(known["content"]))
        obj["metadata"].setdefault("annotations", {})[_MARK] = "stranger"
        body = {
            "content": base64.b64encode(yaml.safe_dump(obj).encode()).decode(),
            "sha": known["sha"],
            "branch": _branch(site),
            "message": "What a stranger wants",
        }
        answer = somebody.git("PUT", path, body)
        require(
            answer.status == HTTPStatus.OK,
            where=f"Gitea, PUT {path}",
            want="a commit without a signature",
            got=answer,
            reproduce="the same by Gitea's page",
        )
    said, seconds = poll(lambda: _conditions(site), lambda said: "sign" in said.lower(), _SECONDS)
    require(
        "sign" in said.lower() and _marked(site) != "stranger",
        where=f"Application {argocd.PLATFORM}-{_AREA}",
        want="a commit without a signature is refused, and not brought about",
        got=f"{said!r}, annotation {_marked(site)!r} after {seconds:.0f} s",
        reproduce=f"kubectl -n {argocd.AREA} describe application {argocd.PLATFORM}-{_AREA}",
    )
    site.facts["gitops: a commit without the key"] = f"refused after {seconds:.0f} s: {said[:100]}"


def _changed(tmp_path: Path, mark: str) -> Path:
    """Return a copy of the tree in which the portal's Service carries a mark."""
    tree = checkout(tmp_path)
    file = tree / _SOURCE
    obj = yaml.safe_load(file.read_text("utf-8"))
    obj["metadata"].setdefault("annotations", {})[_MARK] = mark
    file.write_text(yaml.safe_dump(obj), "utf-8")
    return tree


def test_argo_cd_owns_the_platform_for_a_while(site: Site, tmp_path: Path) -> None:
    """It takes over what runs, heals it, brings signed commits about and no others, and hands it back unharmed."""
    facts, mark = site.facts, uuid.uuid4().hex[:8]
    facts["gitops: enabled"] = f"{invoke(site, 'gitops', '--enable'):.0f} s"
    try:
        invoke(site, "plan")
        with pytest.raises(BetelgeuseError, match="owns"):
            invoke(site, "deploy")

        facts["gitops: a hand's change healed"] = f"{_heals(site):.0f} s"
        _refuses_a_stranger(site)

        facts["gitops: a commit brought about"] = (
            f"{invoke(site, 'gitops', '--publish', tree=_changed(tmp_path, mark)):.0f} s"
        )
        _becomes(site, _marked, mark, f"annotation {_MARK}, as published")
        invoke(site, "gitops", "--publish")
        _becomes(site, _marked, "", f"annotation {_MARK}, as the tree says")
    finally:
        facts["gitops: disabled"] = f"{invoke(site, 'gitops', '--disable'):.0f} s"
    invoke(site, "deploy")
    invoke(site, "plan")
