"""The door to a cluster: `connect(settings)` returns a `Kube`."""

from betelgeuse.kube.api import ApiError, Kube, Resource, UnknownKindError, UnreachableError, selecting
from betelgeuse.kube.connect import connect, kubeconfig
from betelgeuse.kube.objects import Key, Obj, api_group, built_in, describe, digest, key_of, kubectl_words

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
    "kubeconfig",
    "kubectl_words",
    "selecting",
]
