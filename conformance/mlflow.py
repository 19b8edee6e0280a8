"""MLflow's API as a program outside asks it, with a token of the realm."""

from betelgeuse.tree import Host, gates
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS


def door(site: Site) -> Host:
    """Return MLflow's host as those meet it who show a token."""
    return next(host for host in site.tree.behind(gates.TOKEN) if host.label == "mlflow")


def ask(site: Site, method: str, path: str, body: object = None, timeout: float = TIMEOUTS.answer) -> Answer:
    """Send one request; `path` is below /api/2.0."""
    api = door(site)
    return site.send(Request.of_api(api.name, f"/api/2.0/{path}", method, site.credentials(api), body), timeout)
