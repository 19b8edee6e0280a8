"""The realm of the cluster's Keycloak, brought to what the tree declares; or, as a dry run, what that would change."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.identity import forward
from betelgeuse.identity.admin import Admin, Credentials, settle
from betelgeuse.identity.declarations import SECRET_KEY, clients
from betelgeuse.identity.realm import REALM, desired
from betelgeuse.identity.reconcile import Reconcile
from betelgeuse.kube import Key, Kube, Obj, key_of, selecting
from betelgeuse.progress import step
from betelgeuse.readiness import judge
from betelgeuse.rotation import forget_previous, value
from betelgeuse.secrets import PREVIOUS
from betelgeuse.settings import Settings
from betelgeuse.wait import observe

NAMESPACE: Final = "auth"
PROVIDER: Final = "keycloak"
ADMIN: Final = Key("", "Secret", NAMESPACE, "keycloak-admin")
"""The administrator's name and password, and after an interrupted rotation the password before it."""
PASSWORD: Final = "password"  # noqa: S105 - the name of a key
_PORT: Final = 8080


def provider(objects: Sequence[Obj]) -> Obj | None:
    """Return the workload that runs Keycloak; None in a tree without one."""
    kinds = {"Deployment", "StatefulSet"}
    return next((obj for obj in objects if obj["kind"] in kinds and key_of(obj)[2:] == (NAMESPACE, PROVIDER)), None)


def _pod(kube: Kube, workload: Obj) -> str:
    """Return the name of a pod that answers; the newest, for an old one may be about to end."""
    labels = selecting(workload["spec"]["selector"]["matchLabels"])
    found = kube.list("v1", "Pod", NAMESPACE, labels=labels)
    # To who waits, a pod that ended well is ready.
    pods = [pod for pod in found if judge(pod).ready and (pod.get("status") or {}).get("phase") == "Running"]
    if not pods:
        message = f"no pod of {key_of(workload)} is ready; `invoke status` says why"
        raise BetelgeuseError(message)
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return str(newest["metadata"]["name"])


def _port(workload: Obj) -> int:
    containers = workload["spec"]["template"]["spec"]["containers"]
    ports = [port for container in containers for port in container.get("ports") or ()]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == "http"), _PORT)


def _secret(kube: Kube, key: Key) -> Obj | None:
    return kube.get("v1", "Secret", key.name, key.namespace)


def credentials(kube: Kube) -> Credentials:
    """Return the administrator's name and passwords; raise BetelgeuseError where nobody made them yet."""
    live = _secret(kube, ADMIN)
    password = value(live, PASSWORD)
    if not password:
        message = f"{ADMIN} holds no {PASSWORD} yet; `invoke deploy` makes it"
        raise BetelgeuseError(message)
    previous = value(live, PREVIOUS + PASSWORD)
    return Credentials(value(live, "username") or "admin", password, (previous,) if previous else ())


@contextmanager
def session(settings: Settings, kube: Kube, workload: Obj) -> Iterator[tuple[Admin, Credentials]]:
    """Give a way to Keycloak's Admin API, not yet logged in, and the administrator's credentials."""
    known = credentials(kube)
    with (
        forward.to_pod(settings, NAMESPACE, _pod(kube, workload), _port(workload)) as port,
        closing(Admin(f"http://127.0.0.1:{port}", known.username)) as admin,
    ):
        yield admin, known


def reconcile(settings: Settings, kube: Kube, objects: Sequence[Obj], *, dry_run: bool = False) -> list[str]:
    """Bring the realm to what the tree declares and return the changes, a line each; a dry run only tells.

    A tree without Keycloak has no realm: nothing is done. A wrong declaration is a UsageError, also then.
    """
    declared = clients(objects, settings.domain)
    workload = provider(objects)
    if workload is None:
        return []
    live = {client.id: _secret(kube, client.secret) for client in declared}
    secrets = {name: found for name, obj in live.items() if (found := value(obj, SECRET_KEY))}
    doing = "comparing" if dry_run else "reconciling"
    with step(f"{doing} realm {REALM}"), session(settings, kube, workload) as (admin, known):
        changes = settle(admin, known, dry_run=dry_run)
        changes += Reconcile(admin, desired(declared), secrets, dry_run=dry_run).run()
    if known.previous and not dry_run:
        # Keycloak has the new password for certain: the old one has no use any more.
        tree_secret = next(obj for obj in objects if key_of(obj) == ADMIN)
        forget_previous(kube, tree_secret, _secret(kube, ADMIN) or {})
    return changes


class Early:
    """Brings the realm about while a deploy waits: some programs ask Keycloak for it before they are ready."""

    def __init__(self, settings: Settings, kube: Kube, objects: Sequence[Obj]) -> None:
        """Look at nothing yet."""
        self._said = (settings, kube, objects)
        self._workload = provider(objects)
        self._changes: list[str] | None = None

    def look(self) -> None:
        """Reconcile, once, as soon as Keycloak is ready; what fails then is tried again at the next look."""
        if self._changes is not None or self._workload is None:
            return
        _, kube, _ = self._said
        with suppress(BetelgeuseError):
            if not observe(kube, [self._workload]):
                self._changes = reconcile(*self._said)

    def finish(self) -> list[str]:
        """Return all changes, with those of a last look where there were any or none was made."""
        if self._changes == []:
            return []
        return [*(self._changes or []), *reconcile(*self._said)]


def drift(settings: Settings, kube: Kube, objects: Sequence[Obj]) -> list[str]:
    """Return what a deploy would change in the realm; where that cannot be asked, one line that says why."""
    clients(objects, settings.domain)
    workload = provider(objects)
    if workload is not None and kube.get(workload["apiVersion"], workload["kind"], PROVIDER, NAMESPACE) is None:
        return ["+ realm: will be made as soon as Keycloak runs"]
    try:
        return [f"~ {change}" for change in reconcile(settings, kube, objects, dry_run=True)]
    except BetelgeuseError as error:
        return [f"? realm: cannot be compared: {error}"]
