"""The accounts of the stores: who declares them, and how one that nobody declares is removed."""

from typing import Final

from betelgeuse import settings
from betelgeuse.errors import UsageError
from betelgeuse.kube.command import exec_in
from betelgeuse.progress import out

_SECONDS: Final = 120.0
_PLACE: Final = ("db", "deployment/store-accounts")


def accounts(env: str, delete: str = "") -> None:
    """Print every account, or delete one (`store/user`) with all it owns; a declared one is refused."""
    chosen = settings.load(env)
    words = ["list"]
    if delete:
        store, slash, user = delete.partition("/")
        if not (slash and store and user):
            message = f"--delete must be STORE/USER, got {delete[:60]!r}"
            raise UsageError(message)
        words = ["delete", store, user]
    command = ["/usr/bin/python3", "-m", "store_accounts", *words]
    for line in exec_in(chosen, *_PLACE, command, timeout=_SECONDS).splitlines():
        out(line)
