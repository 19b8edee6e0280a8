"""The door to a cluster: `connect(settings)` returns a `Kube`."""

from betelgeuse.kube.api import ApiError, Kube, UnknownKindError, UnreachableError, selecting
from betelgeuse.kube.connect import connect
from betelgeuse.kube.objects import Key, Obj, api_group, built_in, describe, digest, key_of, kubectl_words
from betelgeuse.kube.resources import Resource

__all__ = [
    "ApiError",
    "Key",
    "Kube",
    "Obj",
    "Resource",
    "UnknownKindError",
    "UnreachableError",
    "api_group",
    "built_in",
    "connect",
    "describe",
    "digest",
    "key_of",
    "kubectl_words",
    "selecting",
]
