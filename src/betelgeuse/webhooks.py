"""Which workloads must run before an object can be applied: those behind the webhooks that guard its kind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from betelgeuse.kube import Key, Obj, api_group, key_of
from betelgeuse.tree.workloads import LASTING, labels

_CONFIGURATIONS: Final = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})


def _service(client: Mapping[str, Any] | None) -> tuple[str, str] | None:
    found = (client or {}).get("service")
    return (str(found["namespace"]), str(found["name"])) if found else None


def _services(objects: Iterable[Obj]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (API group, service) for every webhook of the tree; `*` stands for all groups."""
    for obj in objects:
        if obj.get("kind") in _CONFIGURATIONS:
            for webhook in obj.get("webhooks") or ():
                service = _service(webhook.get("clientConfig"))
                groups = {group for rule in webhook.get("rules") or () for group in rule.get("apiGroups") or ()}
                if service and webhook.get("failurePolicy", "Fail") == "Fail":
                    yield from ((group, service) for group in sorted(groups))
        elif obj.get("kind") == "CustomResourceDefinition":
            conversion = (obj["spec"].get("conversion") or {}).get("webhook") or {}
            if service := _service(conversion.get("clientConfig")):
                yield str(obj["spec"]["group"]), service


def _behind(service: tuple[str, str], objects: Sequence[Obj]) -> list[Obj]:
    namespace, name = service
    selectors = [
        (obj.get("spec") or {}).get("selector") or {}
        for obj in objects
        if key_of(obj) == Key("", "Service", namespace, name)
    ]
    return [
        obj
        for selector in selectors
        for obj in objects
        if obj.get("kind") in LASTING
        and obj["metadata"].get("namespace") == namespace
        and selector
        and selector.items() <= labels(obj).items()
    ]


def guards(objects: Sequence[Obj]) -> dict[str, list[Obj]]:
    """Return, per API group of custom resources, the workloads of the tree that must be ready first."""
    found: dict[str, dict[Key, Obj]] = {}
    for group, service in _services(objects):
        for workload in _behind(service, objects):
            found.setdefault(group, {})[key_of(workload)] = workload
    return {group: list(workloads.values()) for group, workloads in found.items()}


def awaited(obj: Obj, found: Mapping[str, list[Obj]]) -> list[Obj]:
    """Return the workloads one object waits for."""
    return [*found.get(api_group(obj), ()), *found.get("*", ())]
