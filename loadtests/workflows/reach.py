"""What a load test must know of an environment, and where it tells what it found."""

import shlex
import sys
from pathlib import Path
from typing import Any

from betelgeuse import paths, render, selection, trust
from betelgeuse.errors import UsageError
from betelgeuse.identity.callers import caller
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.kube.command import in_namespace
from betelgeuse.progress import out, say
from betelgeuse.settings import Settings
from betelgeuse.tree import hostnames
from loadtests import plan, report


def reached(chosen: Settings, host: str) -> tuple[Kube, list[Obj], str, Path | None]:
    """Return the cluster, its tree, the client that may call a host, and the roots to trust, where there are any.

    UsageError where the tree has no such host.
    """
    kube = connect(chosen)
    objects = render.render(chosen.env, selection.select(chosen.env, kube=kube).name)
    if host not in hostnames(objects):
        message = f"the tree of {chosen.env} serves no {host}: there is nothing to put load on"
        raise UsageError(message)
    client = caller(objects, chosen, host)
    return kube, objects, client, trust.refresh(chosen.env, kube, trust.present(kube, objects))


def surroundings(chosen: Settings, host: str) -> dict[str, str]:
    """Return the environment variables by which a load test reaches a host and hears of its server's memory.

    UsageError where the tree has no such host.
    """
    _, _, client, roots = reached(chosen, host)
    app = host.partition(".")[0]
    memory = [*in_namespace(chosen, plan.NAMESPACE), "exec", f"deployment/{app}", "--", "cat", "/proc/1/status"]
    return {
        "BETELGEUSE_TOKEN_COMMAND": token_command(chosen, client),
        "BETELGEUSE_MEMORY_COMMAND": shlex.join(memory),
        "BETELGEUSE_CA": str(roots or ""),
        "BETELGEUSE_ADDRESS": address(chosen),
    }


def address(chosen: Settings) -> str:
    """Return the gateway's address, empty where names are asked for it."""
    return chosen.gateway_addresses[0] if chosen.gateway_addresses else ""


def token_command(chosen: Settings, client: str) -> str:
    """Return the command that prints a client's token, empty for no client."""
    argv = [sys.executable, "-m", "invoke", "token", f"--client={client}", f"--env={chosen.env}"]
    return shlex.join(argv) if client else ""


def fresh_log(name: str) -> Path:
    """Return the file for what a run says, without what an earlier one said."""
    log = paths.REPORTS / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    return log


def show(found: dict[str, Any], page: Path) -> None:
    """Print what a run found, and where its report is."""
    out(report.summary(found))
    say(f"report: {paths.shown(page)}")
