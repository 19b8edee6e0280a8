"""How a person reaches an app: its address, the hosts file, and what its gate asks for."""

from collections.abc import Iterator, Sequence

from betelgeuse import render, selection, settings, trust
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity.callers import callers
from betelgeuse.kube import Obj, connect
from betelgeuse.progress import out
from betelgeuse.settings import LOCAL, Settings, suggest
from betelgeuse.tree import Host, Tree, gates


def _path(host: Host) -> str:
    """Return a path that answers a plain GET."""
    exact = [match.path for match in host.matches if match.method == "GET" and match.exact]
    return host.entrance or ("/" if "/" in exact or not exact else exact[0])


def _asked(objects: Sequence[Obj], chosen: Settings, host: Host, curl: str) -> Iterator[str]:
    """Yield what an app asks its callers for, and how to answer it."""
    gate, url = host.gate, f"https://{host}{_path(host)}"
    if gate.kind == gates.LOGIN:
        yield f"login: in the browser, as a member of {' or '.join(gate.groups)}"
        yield f"{curl} {url}"
    elif gate.kind == gates.TOKEN:
        clients = callers(objects, chosen, gate)
        names = ", ".join(clients) or "none"
        yield f"token: sent as `Authorization: Bearer <token>`, good for 5 minutes; clients: {names}"
        env = "" if chosen.env == LOCAL else f" --env={chosen.env}"
        token = f".venv/bin/invoke token --client={clients[0] if clients else '<client>'}{env}"
        # Through a pipe: an argument could be read by every user of the machine.
        yield f"{token} | sed 's/^/Authorization: Bearer /' | {curl} -H @- {url}"
    elif gate.kind == gates.PASSWORD and gate.users:
        yield f"password: user admin, key `password` of Secret {gate.users.namespace}/{gate.users.name}"
        yield f"{curl} --user admin {url}"
    else:
        yield f"open to everybody: {gate.reason or 'it asks nobody'}"
        yield f"{curl} {url}"


def lines(objects: Sequence[Obj], chosen: Settings, app: str, bundle: str) -> Iterator[str]:
    """Yield how to reach an app; `bundle` is a file of roots, or empty.

    An unknown app is a UsageError with a suggestion.
    """
    tree = Tree(objects, chosen.domain)
    known = {host.name.removesuffix(f".{chosen.domain}"): host for host in tree.hosts}
    if app not in known:
        message = f"no app {app!r} in {chosen.env}{suggest(app, known)}; there are {', '.join(known)}"
        raise UsageError(message)
    host = known[app]
    yield f"https://{host}{host.entrance or '/'}"
    curl = "curl"
    # Without an address of its own, the environment's names are in DNS.
    for address in chosen.gateway_addresses[:1]:
        yield f"browser: add to the hosts file: {address} {' '.join(map(str, tree.hosts))}"
        curl += f" --resolve {host}:443:{address}"
    yield from _asked(objects, chosen, host, f"{curl}{f' --cacert {bundle}' if bundle else ''}")


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
