"""How a person reaches the platform: addresses, hosts file, roots, keys."""

from betelgeuse import render, settings, trust
from betelgeuse.errors import UsageError
from betelgeuse.kube import connect
from betelgeuse.progress import out
from betelgeuse.settings import suggest
from betelgeuse.workflows.deploy import hosts_of


def roots(env: str) -> None:
    """Print the file with the roots that clients must trust, brought up to date."""
    chosen = settings.load(env)
    path = trust.refresh(env, connect(chosen), render.render(env))
    out(str(path) if path is not None else f"{env}: certificates chain to public roots, nothing to trust")


def explain(env: str, app: str) -> None:
    """Print how to reach an app from this machine; an unknown app is a UsageError with a suggestion."""
    chosen = settings.load(env)
    objects = render.render(env)
    hosts = sorted(hosts_of(objects))
    known = {host.removesuffix(f".{chosen.domain}"): host for host in hosts}
    if app not in known:
        message = f"no app {app!r} in {env}{suggest(app, known)}; there are {', '.join(known)}"
        raise UsageError(message)
    host = known[app]
    address = chosen.gateway_addresses[0]
    out(f"https://{host}/")
    out(f"browser: add to the hosts file: {address} {' '.join(hosts)}")
    curl = f"curl --resolve {host}:443:{address}"
    if (bundle := trust.bundle_path(env)).is_file():
        curl += f" --cacert {bundle}"
    policies = [obj for obj in objects if obj["kind"] == "SecurityPolicy" and "apiKeyAuth" in obj["spec"]]
    for policy in policies:
        if any(ref["name"] == app for ref in policy["spec"].get("targetRefs", [])):
            secret = policy["spec"]["apiKeyAuth"]["credentialRefs"][0]["name"]
            namespace = policy["metadata"]["namespace"]
            out(f"key: one of the values of Secret {namespace}/{secret}, sent as `Authorization: Bearer <key>`")
    out(f"{curl} https://{host}/")
