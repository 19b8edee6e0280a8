"""Who may pass an application's route, as the tree declares it. Pure.

The class is read from what really asks the caller, never from the label that names it: the label is compared with it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.tree.refs import Ref, ref

LOGIN: Final = "login"
TOKEN: Final = "token"  # noqa: S105 - the name of a class
PASSWORD: Final = "password"  # noqa: S105 - the name of a class
PUBLIC: Final = "public"
LABEL: Final = "betelgeuse.io/gate"
REASON: Final = "betelgeuse.io/public"
BEARER: Final = "(?i)bearer .+"
"""The header Authorization of a request that shows a token, as a route asks for it."""
_GROUPS: Final = "groups"
_ENVOY: Final = "gateway.envoyproxy.io/"
_NGINX: Final = "gateway.nginx.org"


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands before a route; `kind` is empty where nothing was declared, or more than one thing."""

    kind: str = ""
    policy: Ref | None = None
    label: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    client: str = ""
    logout: str = "/logout"
    callback: str = "/oauth2/callback"
    quiet: tuple[tuple[str, str], ...] = ()
    """Headers of callers that are refused instead of being sent to the login page."""
    users: Ref | None = None
    reason: str = ""

    @property
    def realm(self) -> str:
        """The realm's name, the last part of the issuer."""
        return self.issuer.rpartition("/")[2]

    def __str__(self) -> str:
        """Show the class."""
        return self.kind or "none"


def has_backend(route: Obj) -> bool:
    """Whether a route leads to an application: others redirect or refuse."""
    return any(rule.get("backendRefs") for rule in route["spec"].get("rules", []))


def shows_token(route: Obj) -> bool:
    """Whether a route takes nothing but requests that show a token: every match of it asks for that header."""
    matches = [match for rule in route["spec"].get("rules", []) for match in rule.get("matches") or [{}]]
    return bool(matches) and all(_asks_for_token(match) for match in matches)


def without_policies(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    """Return the Gateways whose implementation is none of Envoy's: a SecurityPolicy asks nobody there."""
    objects = list(objects)
    envoys = {
        obj["metadata"]["name"]
        for obj in objects
        if obj["kind"] == "GatewayClass" and obj["spec"].get("controllerName", "").startswith(_ENVOY)
    }
    gateways = (obj for obj in objects if obj["kind"] == "Gateway")
    return tuple(obj for obj in gateways if obj["spec"].get("gatewayClassName", "") not in {"", *envoys})


def _asks_for_token(match: Obj) -> bool:
    wanted = ("authorization", "RegularExpression", BEARER)
    return any((h["name"].lower(), h.get("type"), h["value"]) == wanted for h in match.get("headers", []))


def _targets(policy: Obj) -> Iterator[tuple[str, str, str]]:
    spec, namespace = policy["spec"], policy["metadata"].get("namespace", "")
    for target in spec.get("targetRefs") or ([spec["targetRef"]] if "targetRef" in spec else []):
        yield target["kind"], namespace, target["name"]


def _policies(route: Obj, owners: Iterable[Ref], policies: Sequence[Obj]) -> list[Obj]:
    """Return the policies in force: a route's own hides those of what it hangs on."""
    name = ref(route)
    own = [p for p in policies if (name.kind, name.namespace, name.name) in _targets(p)]
    above = {(owner.kind, owner.namespace, owner.name) for owner in owners}
    return own or [p for p in policies if above & set(_targets(p))]


def _filter(route: Obj, filters: Sequence[Obj]) -> Obj | None:
    """Return NGINX's filter that asks for a password before every rule of a route; None where one rule has none."""
    known = {ref(obj): obj for obj in filters if obj["spec"].get("type") == "Basic"}
    place, found = route["metadata"].get("namespace", ""), []
    for rule in route["spec"].get("rules", []):
        wanted = [each["extensionRef"] for each in rule.get("filters", []) if "extensionRef" in each]
        names = {(each["kind"], place, each["name"]) for each in wanted if each["group"] == _NGINX}
        own = [obj for at, obj in known.items() if (at.kind, at.namespace, at.name) in names]
        if not own:
            return None
        found += own
    return found[0] if found else None


def _of_filter(found: Obj, reason: str) -> Gate:
    meta = found["metadata"]
    users = found["spec"]["basic"]["secretRef"]["name"]
    return Gate(
        kind="" if reason else PASSWORD,
        policy=ref(found),
        label=(meta.get("labels") or {}).get(LABEL, ""),
        users=Ref("Secret", meta.get("namespace", ""), users, "v1"),
        reason=reason,
    )


def of_route(route: Obj, owners: Iterable[Ref], policies: Sequence[Obj], filters: Sequence[Obj] = ()) -> Gate:
    """Return what stands before one route that hangs on listeners of these owners."""
    found = _policies(route, owners, policies)
    reason = ((route["metadata"].get("annotations") or {}).get(REASON) or "").strip()
    if not found and (asking := _filter(route, filters)):
        return _of_filter(asking, reason)
    if not found:
        return Gate(PUBLIC if reason else "", reason=reason)
    return _of_policy(found[0], reason) if len(found) == 1 else Gate()


def _of_policy(policy: Obj, reason: str) -> Gate:
    spec = policy["spec"]
    providers = (spec.get("jwt") or {}).get("providers", [])
    oidc, basic = spec.get("oidc") or {}, spec.get("basicAuth") or {}
    kinds = [kind for kind, there in ((LOGIN, oidc), (TOKEN, providers and not oidc), (PASSWORD, basic)) if there]
    # A public route with a gate before it says two things at once: neither is believed.
    kind = kinds[0] if len(kinds) == 1 and not reason else ""
    place = policy["metadata"].get("namespace", "")
    return Gate(
        kind=kind,
        policy=ref(policy),
        label=(policy["metadata"].get("labels") or {}).get(LABEL, ""),
        issuer=oidc.get("provider", {}).get("issuer") or next((p.get("issuer", "") for p in providers), ""),
        audiences=tuple(name for provider in providers for name in provider.get("audiences", [])),
        groups=_groups(spec.get("authorization") or {}),
        client=oidc.get("clientID", ""),
        logout=oidc.get("logoutPath", "/logout"),
        quiet=tuple((h["name"], h["value"]) for h in (oidc.get("denyRedirect") or {}).get("headers", [])),
        users=Ref("Secret", basic["users"].get("namespace", place), basic["users"]["name"], "v1") if basic else None,
        reason=reason,
    )


def _groups(authorization: Obj) -> tuple[str, ...]:
    """Return the groups a policy lets in."""
    claims = (
        claim
        for rule in authorization.get("rules", [])
        if rule.get("action") == "Allow"
        for claim in (rule.get("principal", {}).get("jwt") or {}).get("claims", [])
    )
    return tuple(value for claim in claims if claim.get("name") == _GROUPS for value in claim.get("values", []))


def of_host(found: Sequence[Gate]) -> Gate:
    """Return what stands before some routes of a host: one thing before all, else nothing that can be relied on."""
    kinds = {gate.kind for gate in found}
    return found[0] if len(kinds) == 1 else Gate()
