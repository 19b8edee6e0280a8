"""What the cluster keeps in a Secret, for a check that needs it."""

from betelgeuse.tree import Ref
from conformance.probes.k8s import Cluster
from conformance.secrecy import Secret
from conformance.verdict import demand


def kept(cluster: Cluster, place: Ref, key: str) -> Secret:
    """Return the value of a key; the check fails where there is none."""
    return demand(
        cluster.secret(place, key),
        where=str(place),
        want=f"the key {key}",
        got="no such key",
        reproduce=place.kubectl("describe"),
    )
