"""How a person reaches the platform: addresses, hosts file, roots, and what stands at the door of an app."""

from collections.abc import Iterator, Sequence

from betelgeuse import edge, render, selection, settings, trust
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity.callers import callers, policy_of, route_to
from betelgeuse.kube import Obj, connect
from betelgeuse.progress import out
from betelgeuse.settings import Settings, suggest
from betelgeuse.workflows.session import opened

_PUBLIC = "betelgeuse.io/public"
_START = "betelgeuse.io/start"


def roots(env: str) -> None:
    """Print the file with the roots that clients must trust, brought up to date."""
    _, kube, objects = opened(env)
    path = trust.refresh(env, kube, objects)
    out(str(path) if path is not None else f"{env}: certificates chain to public roots, nothing to trust")


def _path(route: Obj) -> str:
    """Return a path that answers a plain GET."""
    matches = [match for rule in route["spec"]["rules"] for match in rule.get("matches", ())]
    exact = [one["path"]["value"] for one in matches if one.get("method") == "GET" and one["path"]["type"] == "Exact"]
    start = (route["metadata"].get("annotations") or {}).get(_START, "/")
    return start if start != "/" or "/" in exact or not exact else str(exact[0])


def lines(objects: Sequence[Obj], chosen: Settings, app: str, bundle: str) -> Iterator[str]:
    """Yield how to reach an app; `bundle` is a file of roots, or empty.

    An unknown app is a UsageError with a suggestion.
    """
    hosts = sorted(edge.hosts(objects))
    known = {host.removesuffix(f".{chosen.domain}"): host for host in hosts}
    if app not in known:
        message = f"no app {app!r} in {chosen.env}{suggest(app, known)}; there are {', '.join(known)}"
        raise UsageError(message)
    host, address = known[app], chosen.gateway_addresses[0]
    route = route_to(objects, host)
    yield f"https://{host}{(route['metadata'].get('annotations') or {}).get(_START, '/')}"
    yield f"browser: add to the hosts file: {address} {' '.join(hosts)}"
    policy = policy_of(objects, route)
    spec = policy["spec"] if policy else {}
    curl = f"curl --resolve {host}:443:{address}{f' --cacert {bundle}' if bundle else ''}"
    url = f"https://{host}{_path(route)}"
    if "oidc" in spec:
        claims = [claim for rule in spec["authorization"]["rules"] for claim in rule["principal"]["jwt"]["claims"]]
        groups = " or ".join(name for claim in claims for name in claim["values"])
        yield f"login: in the browser, as a member of {groups}"
        yield f"{curl} {url}"
    elif "jwt" in spec:
        clients = callers(objects, chosen, policy) if policy else []
        names = ", ".join(clients) or "none"
        yield f"token: sent as `Authorization: Bearer <token>`, good for 5 minutes; clients: {names}"
        env = "" if chosen.env == "local" else f" --env={chosen.env}"
        token = f".venv/bin/invoke token --client={clients[0] if clients else '<client>'}{env}"
        # Through a pipe: an argument could be read by every user of the machine.
        yield f"{token} | sed 's/^/Authorization: Bearer /' | {curl} -H @- {url}"
    elif policy and "basicAuth" in spec:
        place = f"{policy['metadata']['namespace']}/{spec['basicAuth']['users']['name']}"
        yield f"password: user admin, key `password` of Secret {place}"
        yield f"{curl} --user admin {url}"
    else:
        yield f"open to everybody: {(route['metadata'].get('annotations') or {}).get(_PUBLIC, 'it asks nobody')}"
        yield f"{curl} {url}"


def explain(env: str, app: str) -> None:
    """Print how to reach an app from this machine; an unknown app is a UsageError with a suggestion."""
    bundle, chosen = trust.bundle_path(env), settings.load(env)
    try:
        profile = selection.select(env, kube=connect(chosen))
    except UsageError:
        raise
    except BetelgeuseError:
        # Without a cluster to ask, what this machine remembers.
        profile = selection.select(env)
    for line in lines(render.render(env, profile.name), chosen, app, str(bundle) if bundle.is_file() else ""):
        out(line)
