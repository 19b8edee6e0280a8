"""The door to a cluster: `connect(settings)` returns a `Kube`."""

from betelgeuse.kube.api import ApiError, Kube, Obj, Resource, UnknownKindError, UnreachableError, describe, selecting
from betelgeuse.kube.connect import connect

__all__ = [
    "ApiError",
    "Kube",
    "Obj",
    "Resource",
    "UnknownKindError",
    "UnreachableError",
    "connect",
    "describe",
    "selecting",
]
