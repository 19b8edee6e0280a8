"""What Git holds for Argo CD: the rendered tree, a folder for each area, and the applications that bring it about.

An application of applications leads to one application for each area; what is cluster-wide has a folder of its own,
which comes first. Waves are those of `deploy`. Secrets are in no repository: `deploy` and `publish` make them.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.kube import Kube, Obj, UnknownKindError, api_group
from betelgeuse.volumes import holds_data
from betelgeuse.waves import ANNOTATION, COMPUTED, FOUNDATION, wave_of

NAMESPACE: Final = "gitops"
ROOT: Final = "platform"
"""The application of applications, and the project of them all."""
CLUSTER: Final = "cluster"
"""The folder of what is in no namespace."""
APPLICATIONS: Final = "applications"
API: Final = "argoproj.io/v1alpha1"
CONTROLLER: Final = "argocd-application-controller"
"""Argo CD's account, and the name of the binding that makes the cluster its own."""
MANAGER: Final = "argocd-controller"
"""Who Argo CD says it is when it writes an object."""
DEGRADED: Final = "Degraded"
"""What Argo CD calls an application that will not become healthy by itself."""
OPTIONS: Final = "argocd.argoproj.io/sync-options"
KEEP: Final = "Prune=false,Delete=false"
_TOGETHER: Final = 10
_KEPT: Final = frozenset({"Namespace", "CustomResourceDefinition"})
"""Kinds that take more with them than themselves."""
_SERVER: Final = "https://kubernetes.default.svc"


def area(obj: Mapping[str, Any]) -> str:
    """Return the folder of an object: its namespace."""
    return str(obj["metadata"].get("namespace") or CLUSTER)


def _wave(obj: Obj) -> int:
    """Return the wave for Argo CD, which waits for each wave's health, where our apply waits at barriers alone.

    So everything between barriers is one wave; inside of it Argo CD goes by kinds, as we do.
    """
    wave = wave_of(obj, frozenset())
    return _TOGETHER if wave in COMPUTED - {FOUNDATION} else wave


def _stays(obj: Obj) -> bool:
    """Tell whether an object must outlive its place in the repository: data goes with it."""
    claims = (obj.get("spec") or {}).get("volumeClaimTemplates")
    return obj["kind"] in _KEPT or holds_data(obj) or bool(claims)


def prepared(obj: Obj) -> Obj:
    """Return an object as Git holds it: with its wave, and with what keeps data from being pruned."""
    made = copy.deepcopy(obj)
    annotations = made["metadata"].setdefault("annotations", {})
    annotations[ANNOTATION] = str(_wave(obj))
    if _stays(obj):
        annotations[OPTIONS] = KEEP
    return made


def told_as(obj: Obj, live: Mapping[str, Any] | None) -> Obj:
    """Return an object that tells Argo CD what the live one does: it need not carry that in the cluster."""
    said = ((live or {}).get("metadata") or {}).get("annotations") or {}
    told = {name: said[name] for name in (ANNOTATION, OPTIONS) if name in said}
    annotations = {**(obj["metadata"].get("annotations") or {}), **told}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}} if told else obj


def _path(obj: Obj) -> str:
    meta, group = obj["metadata"], api_group(obj)
    kind = f"{obj['kind']}.{group}" if group else str(obj["kind"])
    return f"{area(obj)}/{kind}-{meta['name']}.yaml".lower().replace(":", "_")


def areas(objects: Iterable[Obj]) -> list[str]:
    """Return the areas with objects that Git holds, in the tree's order; what is cluster-wide comes first."""
    found = dict.fromkeys(area(obj) for obj in objects if obj["kind"] != "Secret")
    return sorted(found, key=lambda name: name != CLUSTER)


def _policy() -> dict[str, Any]:
    return {
        "automated": {"prune": True, "selfHeal": True},
        "syncOptions": [
            "ServerSideApply=true",
            "ApplyOutOfSyncOnly=true",
            "PruneLast=true",
            # The tree makes its namespaces.
            "CreateNamespace=false",
        ],
        "retry": {"limit": 5, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "2m"}},
    }


def application(name: str, folder: str, repository: str, branch: str) -> Obj:
    """Return the application that brings a folder about. Deleted, it leaves what it brought about alone."""
    wave = str(FOUNDATION if folder == CLUSTER else _TOGETHER)
    inside = NAMESPACE if folder in {CLUSTER, APPLICATIONS} else folder
    return {
        "apiVersion": API,
        "kind": "Application",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {ANNOTATION: wave}},
        "spec": {
            "project": ROOT,
            "source": {"repoURL": repository, "targetRevision": branch, "path": folder},
            "destination": {"server": _SERVER, "namespace": inside},
            "syncPolicy": _policy(),
        },
    }


def root(repository: str, branch: str) -> Obj:
    """Return the application of applications."""
    return application(ROOT, APPLICATIONS, repository, branch)


def project(repository: str, key: str) -> Obj:
    """Return the project of the platform's applications: any object, from commits of one key in one repository."""
    everything = [{"group": "*", "kind": "*"}]
    return {
        "apiVersion": API,
        "kind": "AppProject",
        "metadata": {"name": ROOT, "namespace": NAMESPACE},
        "spec": {
            "description": "The platform itself",
            "sourceRepos": [repository],
            "destinations": [{"server": _SERVER, "namespace": "*"}],
            "clusterResourceWhitelist": everything,
            "namespaceResourceWhitelist": everything,
            "sourceIntegrity": {
                "git": {"policies": [{"repos": [{"url": "*"}], "gpg": {"mode": "head", "keys": [key]}}]}
            },
        },
    }


def keyring(key: str, public: str) -> Obj:
    """Return the keys that Argo CD knows: the one that signs what `publish` commits."""
    labels = {"app.kubernetes.io/part-of": "argocd"}
    meta = {"name": "argocd-gpg-keys-cm", "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {key: public}}


def binding() -> Obj:
    """Return what gives Argo CD the rights that `deploy` has, for as long as the platform is its own."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{CONTROLLER}-{ROOT}"},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": NAMESPACE}],
    }


def files(objects: Sequence[Obj], repository: str, branch: str) -> dict[str, str]:
    """Return what the branch of an environment holds, by path."""
    found: dict[str, str] = {}
    for obj in objects:
        if obj["kind"] == "Secret":
            continue
        path = _path(obj)
        if path in found:
            message = f"two objects of the tree are {path}"
            raise BetelgeuseError(message)
        found[path] = yamls.dump([prepared(obj)])
    for name in areas(objects):
        app = application(f"{ROOT}-{name}", name, repository, branch)
        found[f"{APPLICATIONS}/{name}.yaml"] = yamls.dump([app])
    return found


def handed_over(live: Mapping[str, Any] | None) -> bool:
    """Tell, of the live application of applications, whether Argo CD is the platform's reconciler."""
    return bool((((live or {}).get("spec") or {}).get("syncPolicy") or {}).get("automated"))


def owned(kube: Kube) -> bool:
    """Tell whether Argo CD is a cluster's reconciler."""
    try:
        return handed_over(kube.get(API, "Application", ROOT, NAMESPACE))
    except UnknownKindError:
        return False


def refuse(kube: Kube, env: str) -> None:
    """Raise RefusedError where Argo CD owns the platform: two reconcilers would undo each other's work."""
    if owned(kube):
        message = (
            f"Argo CD owns {env}: `invoke gitops --publish --env={env}` brings a change about, "
            f"`invoke gitops --disable --env={env}` hands it back to deploy"
        )
        raise RefusedError(message)


def fault(apps: Sequence[Obj], wanted: Iterable[str], revision: str) -> str:
    """Return why a revision is not brought about yet; empty when all applications are synced to it and healthy."""
    live = {app["metadata"]["name"]: app.get("status") or {} for app in apps}
    for name in wanted:
        status = live.get(name)
        if status is None:
            return f"{name}: not there yet"
        sync, health = status.get("sync") or {}, status.get("health") or {}
        if sync.get("revision") != revision:
            return f"{name}: has not seen the commit"
        if sync.get("status") != "Synced":
            said = [each.get("message") for each in status.get("conditions") or ()]
            said += [(status.get("operationState") or {}).get("message"), sync.get("status"), "unknown"]
            return f"{name}: {next(filter(None, said))}"
        if health.get("status") != "Healthy":
            return f"{name}: {health.get('status') or 'health unknown'}"
    return ""


def disowned(live: Obj) -> list[Obj] | None:
    """Return the JSON Patch that takes Argo CD's part in an object's ownership away; None where it has none."""
    fields = live["metadata"].get("managedFields") or []
    kept = [entry for entry in fields if entry.get("manager") != MANAGER]
    if len(kept) == len(fields):
        return None
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"].get("resourceVersion", "")},
        {"op": "replace", "path": "/metadata/managedFields", "value": kept or [{}]},
    ]
