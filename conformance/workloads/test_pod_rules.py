"""Every pod in the platform's namespaces is confined, bounded and pinned; exceptions are listed with reasons."""

from betelgeuse.kube import Obj
from conformance.site import Site
from conformance.verdict import require_none
from conformance.workloads.rules import faults, mounts_token


def _pods(site: Site, namespace: str) -> tuple[Obj, ...]:
    return site.cluster.list("v1", "Pod", namespace)


def test_pods_obey(site: Site, namespace: str, pod_rule: str) -> None:
    """Every container is non-root, unprivileged, read-only, patient, with requests, limits and a pinned image."""
    found = [
        fault
        for pod in _pods(site, namespace)
        if not site.exemptions.allows(namespace, pod["metadata"]["name"], pod_rule)
        for fault in faults(pod, pod_rule)
    ]

    require_none(
        found,
        where=f"namespace {namespace}, rule {pod_rule}",
        want="no container that breaks it, unless listed in conformance/exemptions.yaml",
        reproduce=f"kubectl -n {namespace} get pods -o yaml",
    )


def _bound_accounts(site: Site) -> set[tuple[str, str]]:
    """Return the service accounts that some binding gives rights to."""
    bindings = [
        *site.cluster.list("rbac.authorization.k8s.io/v1", "RoleBinding"),
        *site.cluster.list("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ]
    return {
        (subject.get("namespace", binding["metadata"].get("namespace", "")), subject["name"])
        for binding in bindings
        for subject in binding.get("subjects") or []
        if subject["kind"] == "ServiceAccount"
    }


def test_tokens_are_mounted_only_where_used(site: Site, namespace: str) -> None:
    """A pod carries a token for the Kubernetes API only if its service account has rights there."""
    bound = _bound_accounts(site)
    found = [
        f"{pod['metadata']['name']} mounts the token of an account without rights"
        for pod in _pods(site, namespace)
        if mounts_token(pod) and (namespace, pod["spec"].get("serviceAccountName", "default")) not in bound
    ]

    require_none(
        found,
        where=f"namespace {namespace}",
        want="automountServiceAccountToken: false where the API is not used",
        reproduce=f"kubectl -n {namespace} get pods -o custom-columns=:.metadata.name,:.spec.serviceAccountName",
    )


def test_default_account_has_no_rights(site: Site, namespace: str) -> None:
    """The namespace's default service account, which any pod may use, has no rights of its own."""
    found = [f"{namespace}/default is bound"] if (namespace, "default") in _bound_accounts(site) else []

    require_none(
        found,
        where=f"namespace {namespace}",
        want="no binding for the default service account",
        reproduce=f"kubectl auth can-i --list --as=system:serviceaccount:{namespace}:default",
    )


def test_no_exemption_is_stale(site: Site) -> None:
    """Every listed exception is still needed by some pod of this cluster."""
    pods = site.cluster.list("v1", "Pod")
    found = []
    for entry in site.exemptions.pods:
        matched = [pod for pod in pods if entry.matches(pod["metadata"]["namespace"], pod["metadata"]["name"])]
        unused = [rule for rule in entry.rules if matched and not any(faults(pod, rule) for pod in matched)]
        if unused:
            found.append(f"{entry.pods}: nothing breaks {', '.join(unused)}")

    require_none(
        found,
        where="conformance/exemptions.yaml",
        want="no rule exempted for pods that all obey it",
        reproduce="kubectl get pods -A -o yaml",
    )
