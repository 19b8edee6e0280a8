"""How a person reaches an app, a database or a broker: its address, the hosts file, and what it asks for."""

from collections.abc import Iterator, Sequence
from typing import Final

from betelgeuse import hostfiles, render, secrets, selection, settings, trust
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity.callers import callers
from betelgeuse.kube import Obj, connect
from betelgeuse.progress import out
from betelgeuse.settings import LOCAL, Settings, suggest
from betelgeuse.tree import STORE, Host, TcpHost, Tree, gates

_PEOPLE: Final = "research"
"""The account of each store that people and notebooks use."""


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


def _accounts(objects: Sequence[Obj], store: str) -> Iterator[tuple[str, str, str]]:
    """Yield (user, namespace, name) of the Secrets that declare accounts of a store."""
    for obj in objects:
        meta = obj["metadata"]
        if obj["kind"] == "Secret" and (meta.get("labels") or {}).get(STORE) == store:
            yield secrets.recipes(obj)["user"].argument, meta["namespace"], meta["name"]


def _server(objects: Sequence[Obj], chosen: Settings, host: TcpHost, connect: str, root: str) -> Iterator[str]:
    """Yield how to reach a database or a broker; `connect` is what its tcphost.yaml says, with fields in braces."""
    yield str(host)
    for address in chosen.gateway_addresses[:1]:
        yield f"add to the hosts file: {address} {host.name}"
    yield f"root to trust: {root}"
    # The account for people first: it fills the fields.
    accounts = sorted(_accounts(objects, host.name.partition(".")[0]), key=lambda account: account[0] != _PEOPLE)
    for user, namespace, name in accounts:
        yield f"account {user}: key `password` of Secret {namespace}/{name}"
    for user, namespace, name in accounts[:1]:
        password = f"kubectl -n {namespace} get secret {name} -o 'jsonpath={{.data.password}}' | base64 -d"
        fields = {"host": host.name, "port": str(host.port), "root": root, "user": user, "password": password}
        for field, value in fields.items():
            connect = connect.replace(f"{{{field}}}", value)
    yield from connect.splitlines()


def lines(objects: Sequence[Obj], chosen: Settings, app: str, bundle: str, root: str = "") -> Iterator[str]:
    """Yield how to reach an app; `bundle` is a file of roots, or empty, and `root` that of databases and brokers.

    An unknown app is a UsageError with a suggestion.
    """
    tree = Tree(objects, chosen.domain)
    known = {host.name.removesuffix(f".{chosen.domain}"): host for host in tree.hosts}
    servers = {host.name.removesuffix(f".{chosen.domain}"): host for host in tree.tcp_hosts}
    if app in servers:
        server = servers[app]
        yield from _server(objects, chosen, server, hostfiles.connecting(server.owner.name), root)
    elif app not in known:
        names = [*known, *servers]
        message = f"no app {app!r} in {chosen.env}{suggest(app, names)}; there are {', '.join(names)}"
        raise UsageError(message)
    if app not in known:
        return
    host = known[app]
    yield f"https://{host}{host.entrance or '/'}"
    curl = "curl"
    # Without an address of its own, the environment's names are in DNS.
    for address in chosen.gateway_addresses[:1]:
        yield f"browser: add to the hosts file: {address} {' '.join(map(str, tree.hosts))}"
        curl += f" --resolve {host}:443:{address}"
    for door in host.doors:
        yield from _asked(objects, chosen, door, f"{curl}{f' --cacert {bundle}' if bundle else ''}")


def explain(env: str, app: str) -> None:
    """Print how to reach an app from this machine; an unknown app is a UsageError with a suggestion."""
    bundle, root, chosen = trust.bundle_path(env), trust.stores_path(env), settings.load(env)
    try:
        kube = connect(chosen)
        profile = selection.select(env, kube=kube)
        trust.stores(env, kube)
    except UsageError:
        raise
    except BetelgeuseError:
        # Without a cluster to ask, what this machine remembers.
        profile = selection.select(env)
    objects = render.render(env, profile.name)
    for line in lines(objects, chosen, app, str(bundle) if bundle.is_file() else "", str(root)):
        out(line)
