"""Label selectors, as Kubernetes and Cilium write them."""

from collections.abc import Mapping
from typing import Any, Final

from betelgeuse.policy.parties import NAMESPACE_LABEL, Party

POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
_NAMESPACE_LABELS: Final = "io.cilium.k8s.namespace.labels."
Labels = Mapping[str, str]


def _plain(key: str) -> str:
    """Return a label's key without the source Cilium puts before it (`k8s:app`, `any:app`)."""
    source, colon, rest = key.partition(":")
    return rest if colon and source in {"k8s", "any"} else key


def matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Tell whether a selector matches labels; an empty one matches everything."""
    if any(labels.get(_plain(key)) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = _plain(term["key"]), term.get("values") or ()
        fits = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not fits[term["operator"]]:
            return False
    return True


def keys(selector: Mapping[str, Any]) -> set[str]:
    """Return the label keys a selector looks at."""
    terms = selector.get("matchExpressions") or ()
    return {*map(_plain, selector.get("matchLabels") or ()), *(_plain(term["key"]) for term in terms)}


def namespace_labels(namespace: str, namespaces: Mapping[str, Labels]) -> Labels:
    """Return a namespace's labels, the one every namespace has included."""
    return {NAMESPACE_LABEL: namespace, **namespaces.get(namespace, {})}


def cilium_matches(selector: Mapping[str, Any], party: Party, own: str, namespaces: Mapping[str, Labels]) -> bool:
    """Tell whether a Cilium selector means a pod; without a namespace it means those of its own (`own`, if any)."""
    if not party.is_pod:
        return False
    names_one = any(key == POD_NAMESPACE or key.startswith(_NAMESPACE_LABELS) for key in keys(selector))
    if own and not names_one and party.namespace != own:
        return False
    around = {
        f"{_NAMESPACE_LABELS}{key}": value for key, value in namespace_labels(party.namespace, namespaces).items()
    }
    return matches(selector, {**party.labels, **around, POD_NAMESPACE: party.namespace})
