"""Which workloads an object waits for."""

from betelgeuse.kube import Obj
from betelgeuse.webhooks import awaited, guards
from tests.unit.fakes import obj


def workload(name: str, namespace: str = "cm") -> Obj:
    """Return a Deployment."""
    return obj(
        "apps/v1", "Deployment", name, namespace, spec={"template": {"metadata": {"labels": {"app": name, "x": "y"}}}}
    )


def webhook(*groups: str, policy: str = "Fail", service: str = "hook") -> Obj:
    """Return a webhook configuration."""
    entry = {
        "clientConfig": {"service": {"namespace": "cm", "name": service}},
        "rules": [{"apiGroups": list(groups)}],
        "failurePolicy": policy,
    }
    return obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w", webhooks=[entry])


SERVICE = obj("v1", "Service", "hook", "cm", spec={"selector": {"app": "hook"}})
OTHERS = [workload("other"), workload("hook", "elsewhere")]


def test_a_kind_waits_for_what_guards_it() -> None:
    """The Deployment behind the webhook's Service is awaited for the group it names, and for no other."""
    found = guards([webhook("cert-manager.io", "acme.cert-manager.io"), SERVICE, workload("hook"), *OTHERS])

    assert {group: [entry["metadata"]["name"] for entry in loads] for group, loads in found.items()} == {
        "cert-manager.io": ["hook"],
        "acme.cert-manager.io": ["hook"],
    }
    assert awaited(obj("cert-manager.io/v1", "Certificate", "c", "n"), found) == [workload("hook")]
    assert awaited(obj("x.org/v1", "Lamp", "l", "n"), found) == []


def test_conversion_webhooks_are_awaited_too() -> None:
    """A CRD that converts its versions by a webhook cannot be written without it."""
    crd = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "lamps.x.org")
    client = {"service": {"namespace": "cm", "name": "hook"}}
    crd["spec"] = {"group": "x.org", "conversion": {"webhook": {"clientConfig": client}}}

    assert guards([crd, SERVICE, workload("hook")]) == {"x.org": [workload("hook")]}


def test_what_cannot_or_need_not_be_awaited_is_not() -> None:
    """A webhook that may fail, one outside the tree, one by URL, and a Service without selector."""
    by_url = webhook("x.org")
    by_url["webhooks"][0]["clientConfig"] = {"url": "https://x"}
    bare = obj("v1", "Service", "hook", "cm", spec={})

    assert guards([webhook("x.org", policy="Ignore"), SERVICE, workload("hook")]) == {}
    assert guards([webhook("x.org", service="absent"), SERVICE, workload("hook")]) == {}
    assert guards([by_url, SERVICE, workload("hook")]) == {}
    assert guards([webhook("x.org"), bare, workload("hook")]) == {}


def test_a_star_guards_every_group() -> None:
    """A webhook for all groups holds up everybody."""
    found = guards([webhook("*"), SERVICE, workload("hook")])

    assert awaited(obj("x.org/v1", "Lamp", "l", "n"), found) == [workload("hook")]
