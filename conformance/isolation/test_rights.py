"""Service accounts: what each may do is what the tree's Roles say, asked of the API server as that account."""

from functools import partial

from betelgeuse.kube import Obj
from betelgeuse.policy.access import Access, Account, Right, accounts, powers, powers_anywhere, rights_of_rules
from conformance.argocd import handed_over
from conformance.site import Site
from conformance.verdict import require, require_none

_RBAC = "rbac.authorization.k8s.io/v1"
_NOBODY = "nobody-of-this-name"
_BOOTSTRAP = "kubernetes.io/bootstrapping"


def _declared(site: Site) -> Access:
    """Return the tree's Roles and bindings, with the roles that every cluster is born with."""
    born = (role for role in site.cluster.list(_RBAC, "ClusterRole") if _is_born(role))
    return site.once(("declared access",), lambda: Access.read([*born, *site.tree.objects, *handed_over(site)]))


def _is_born(obj: Obj) -> bool:
    return _BOOTSTRAP in (obj["metadata"].get("labels") or {})


def test_account_has_the_declared_rights(site: Site, account: Account) -> None:
    """The account may do, in every namespace, exactly what the tree's Roles give it: the API server says so."""
    access = _declared(site)
    faults = []
    for namespace in site.tree.namespaces:
        nobody = Account(account.namespace, _NOBODY)
        # What every account may do (find out who it is, which APIs there are) is nobody's in particular.
        common = site.once(("rights", nobody, namespace), partial(_asked, site, nobody, namespace))
        live, wanted = _asked(site, account, namespace) - common, access.rights(account, namespace) - common
        faults += [f"in {namespace} it may {right}" for right in sorted(live - wanted)]
        faults += [f"in {namespace} it may not {right}" for right in sorted(wanted - live)]
    site.facts["service accounts"] = f"{len(_accounts(site))}, in {len(site.tree.namespaces)} namespaces each"

    require_none(
        faults,
        where=f"service account {account}",
        want="exactly the declared rights",
        reproduce=f"kubectl auth can-i --list --as={account.user} -n {account.namespace}",
    )


def _accounts(site: Site) -> tuple[Account, ...]:
    return accounts(site.tree.objects, site.tree.namespaces)


def _asked(site: Site, account: Account, namespace: str) -> set[Right]:
    return set(rights_of_rules(site.cluster.rules_of(account.user, namespace)))


def test_rules_are_really_read(site: Site) -> None:
    """The control of this file: the server tells every account that it may ask about itself."""
    namespace = site.tree.namespaces[0]
    rules = site.cluster.rules_of(Account(namespace, _NOBODY).user, namespace)

    require(
        any("selfsubjectaccessreviews" in (rule.get("resources") or []) for rule in rules),
        where=f"namespace {namespace}",
        want="the rights every account has",
        got=rules,
        reproduce=f"kubectl auth can-i --list --as={Account(namespace, _NOBODY).user}",
    )


def test_only_listed_accounts_have_powers(site: Site) -> None:
    """No service account of the cluster reads Secrets, starts pods or takes another's part unless it is listed."""
    bindings = [each for kind in ("RoleBinding", "ClusterRoleBinding") for each in site.cluster.list(_RBAC, kind)]
    # Those a cluster is born with are for the controllers inside kube-controller-manager, which no pod can be.
    owner = {binding["metadata"]["name"] for binding in handed_over(site)}
    given = [each for each in bindings if not _is_born(each) and each["metadata"]["name"] not in owner]
    live = Access.read([*site.cluster.list(_RBAC, "Role"), *site.cluster.list(_RBAC, "ClusterRole"), *given])
    known = live.bound() | set(_accounts(site))
    faults = [
        f"{account} may {', '.join(sorted(surplus))}"
        for account in sorted(known)
        if (surplus := powers_anywhere(live, account) - site.exemptions.powers_of(str(account)))
    ]

    require_none(
        faults,
        where="service accounts",
        want="powers only as listed in conformance/exemptions.yaml",
        reproduce="kubectl get rolebindings,clusterrolebindings -A -o wide",
    )


def test_listed_powers_are_needed(site: Site) -> None:
    """Every listed power is one that the tree gives: what nothing needs any more is taken off the list."""
    access = _declared(site)
    had = {str(account): powers_anywhere(access, account) for account in access.bound()}
    unused = [
        f"{entry.account}: {power}"
        for entry in site.exemptions.powers
        for power in entry.powers
        if entry.account in had and power not in had[entry.account]
    ]

    require_none(
        unused,
        where="conformance/exemptions.yaml, powers",
        want="no power listed that the account does not have",
        reproduce="invoke render | grep -A20 'kind: ClusterRole'",
    )


def test_powers_are_told_apart() -> None:
    """The control of the list: reading Secrets is seen in a rule that gives everything."""
    everything = rights_of_rules([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])

    require(
        "read-secrets" in powers(everything),
        where="betelgeuse.policy.access",
        want="a power",
        got=powers(everything),
        reproduce="python -m pytest tests/unit/test_access.py",
    )
