"""The cluster through the Kubernetes API: lists are read once per run, single objects afresh."""

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.kube import ApiError, Kube, Obj, selecting
from betelgeuse.tree import Ref
from conformance.secrecy import MASKER, NAMES, Secret
from conformance.timeouts import TIMEOUTS

APPLY: Final = "application/apply-patch+yaml"
MIMIC: Final = "betelgeuse.io/conformance-mimic"
"""The label of pods that play another's part (conformance/probes/mimic.py), with the run as its value."""
NOT_FOUND: Final = 404
FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API server said; a refusal is an answer too."""

    status: int
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return self.status == 0

    @property
    def data(self) -> Obj:
        """The answer as an object; empty when it is none."""
        try:
            parsed = json.loads(self.text)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def __str__(self) -> str:
        """Tell it in a few words."""
        return "accepted" if self.ok else f"HTTP {self.status}: {self.text[:400]}"


class Cluster:
    """Reads (and in two named places changes) a cluster."""

    def __init__(self, kube: Kube) -> None:
        """Look through this door."""
        self.kube = kube
        self._lists: dict[tuple[str, str], tuple[Obj, ...]] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, **options: Any) -> Reply:  # noqa: ANN401 - passed through to Kube
        """Make one call; an unreachable API server raises, a refusal does not."""
        try:
            answer = self.kube.request(method, path, timeout=TIMEOUTS.api, **options)
        except ApiError as error:
            return Reply(error.status, str(error))
        return Reply(0, answer.decode(errors="replace"))

    def _path(self, wanted: Ref) -> str | None:
        try:
            resource = self.kube.resource(wanted.api_version, wanted.kind)
        except ApiError:
            return None
        return resource.path(wanted.namespace or None, wanted.name or None)

    def list(self, api_version: str, kind: str, namespace: str = "") -> tuple[Obj, ...]:
        """Return the objects of a kind as they were when first asked for in this run; none when it is not served."""
        key = (api_version, kind)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._lists:
                self._lists[key] = self.fresh(api_version, kind)
        items = self._lists[key]
        return tuple(item for item in items if not namespace or item["metadata"].get("namespace") == namespace)

    def fresh(self, api_version: str, kind: str, namespace: str = "", labels: str = "") -> tuple[Obj, ...]:
        """Return the objects of a kind as they are now."""
        try:
            found = self.kube.list(api_version, kind, namespace or None, labels=labels)
            # Pods of a run (this one, or one beside it) are not the platform's; who asks for them names their label.
            return tuple(item for item in found if labels or MIMIC not in item["metadata"].get("labels", {}))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return ()
            raise

    def find(self, wanted: Ref) -> Obj | None:
        """Return one object out of the list of its kind."""
        same = (item for item in self.list(wanted.api_version, wanted.kind) if item["metadata"]["name"] == wanted.name)
        return next((item for item in same if item["metadata"].get("namespace", "") == wanted.namespace), None)

    def get(self, wanted: Ref) -> Obj | None:
        """Read one object now."""
        try:
            return self.kube.get(wanted.api_version, wanted.kind, wanted.name, wanted.namespace or None)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def secret(self, place: Ref, key: str = "") -> Secret | None:
        """Read one value of a Secret (the first, when no key is named); masked from here on, unless it is a name."""
        data = (self.get(place) or {}).get("data") or {}
        name = key or next(iter(sorted(data)), "")
        if name not in data:
            return None
        value = base64.b64decode(data[name]).decode()
        if name not in NAMES:
            MASKER.learn(value)
        field = name.replace(".", "\\.")
        shell = f"$(kubectl -n {place.namespace} get secret {place.name} -o jsonpath='{{.data.{field}}}' | base64 -d)"
        return Secret(value, shell)

    def dry_create(self, obj: Obj) -> Reply:
        """Ask whether an object would be admitted; nothing is stored."""
        meta = obj["metadata"]
        path = self._path(Ref(obj["kind"], meta.get("namespace", ""), "", obj["apiVersion"]))
        if path is None:
            return Reply(NOT_FOUND, "kind not served")
        return self.ask("POST", path, query={"dryRun": "All"}, body=obj)

    def dry_apply(self, obj: Obj, manager: str) -> Reply:
        """Ask what applying an object would make of the live one; nothing is stored."""
        meta = obj["metadata"]
        path = self._path(Ref(obj["kind"], meta.get("namespace", ""), meta["name"], obj["apiVersion"]))
        if path is None:
            return Reply(NOT_FOUND, "kind not served")
        query = {"dryRun": "All", "force": "true", "fieldManager": manager}
        return self.ask("PATCH", path, query=query, body=obj, content_type=APPLY)

    def pod_http(self, pod: Obj, port: int, path: str) -> Reply:
        """Fetch a page from inside, through the API server's proxy to a pod."""
        meta = pod["metadata"]
        address = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{port}/proxy{path}"
        return self.ask("GET", address, accept="*/*")

    def behind(self, service: Obj) -> tuple[Obj, ...]:
        """Return the pods that a Service selects now; none where it selects nothing."""
        labels = selecting(service["spec"].get("selector") or {})
        return self.fresh("v1", "Pod", service["metadata"]["namespace"], labels) if labels else ()

    def rules_of(self, user: str, namespace: str) -> tuple[Obj, ...]:
        """Return what the API server lets a user do in a namespace, asked as that user (impersonation)."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        # A service account's groups are added by the server itself.
        reply = self.ask("POST", path, body=body, headers={"Impersonate-User": user})
        return tuple((reply.data.get("status") or {}).get("resourceRules") or ())

    def health_checks(self) -> set[int]:
        """Return the ports on which kube-proxy tells load balancers whether a node has an endpoint (policy Local)."""
        services = self.list("v1", "Service")
        return {found for service in services if (found := service["spec"].get("healthCheckNodePort"))}

    def merge(self, wanted: Ref, body: Mapping[str, Any], part: str = "") -> None:
        """Merge a body into an object, or into a part of it such as `/scale`."""
        path = self.kube.resource(wanted.api_version, wanted.kind).path(wanted.namespace, wanted.name)
        self.kube.request("PATCH", f"{path}{part}", body=body, content_type="application/merge-patch+json")

    def set_condition(self, wanted: Ref, condition: Obj) -> Reply:
        """Put a condition into an object's status, replacing the one of its type (what `cmctl renew` does)."""
        live = self.get(wanted)
        path = self._path(wanted)
        if live is None or path is None:
            return Reply(NOT_FOUND, f"{wanted} not found")
        status = live.setdefault("status", {})
        others = [item for item in status.get("conditions", []) if item["type"] != condition["type"]]
        status["conditions"] = [*others, condition]
        return self.ask("PUT", f"{path}/status", body=live)
