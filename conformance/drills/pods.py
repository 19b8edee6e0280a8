"""What drills do to workloads and pods: another size, another shape, an end without notice."""

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance.site import Site


def found(site: Site, place: Ref) -> Obj:
    """Return the pod as it is now; empty while there is none."""
    return site.cluster.kube.get("v1", "Pod", place.name, place.namespace) or {}


def uid(site: Site, place: Ref) -> str:
    """Return which pod it is; empty while there is none."""
    return str((found(site, place).get("metadata") or {}).get("uid", ""))


def strike(site: Site, place: Ref) -> None:
    """Delete a pod without grace: nothing is flushed, and clients hear no farewell."""
    path = site.cluster.kube.resource("v1", "Pod").path(place.namespace, place.name)
    site.cluster.kube.request("DELETE", path, body={"gracePeriodSeconds": 0})


def scale(site: Site, workload: Ref, replicas: int) -> None:
    """Have a workload run so many pods."""
    site.cluster.merge(workload, {"spec": {"replicas": replicas}}, "/scale")
