"""What only kubectl speaks: streams into a cluster (exec, port-forward).

Never a secret in its arguments, other users see those.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from betelgeuse.kube.connect import context_of, kubeconfigs
from betelgeuse.settings import Settings
from betelgeuse.shell import run

_SECONDS: Final = 30.0


def kubectl() -> str:
    """Return the pinned kubectl: the wheel puts it beside our interpreter."""
    return str(Path(sys.executable).with_name("kubectl"))


def in_namespace(settings: Settings, namespace: str) -> list[str]:
    """Return the beginning of a kubectl command that works in a namespace of the cluster that `connect` opens."""
    files = kubeconfigs(settings)
    # Of several, kubectl hears by KUBECONFIG, which its environment keeps: the option takes one file.
    chosen = ["--kubeconfig", str(files[0])] if len(files) == 1 else []
    return [kubectl(), *chosen, "--context", context_of(settings), "--namespace", namespace]


def exec_command(  # noqa: PLR0913 - where, what, and two options by keyword
    settings: Settings, namespace: str, pod: str, argv: Sequence[str], *, container: str = "", stdin: bool = False
) -> list[str]:
    """Return the command that runs a program inside a pod; with `stdin` the program reads ours."""
    chosen = [*(["--container", container] if container else []), *(["--stdin"] if stdin else [])]
    return [*in_namespace(settings, namespace), "exec", pod, *chosen, "--", *argv]


def exec_in(  # noqa: PLR0913 - where, what, and three options by keyword
    settings: Settings,
    namespace: str,
    pod: str,
    argv: Sequence[str],
    *,
    container: str = "",
    stdin: str = "",
    timeout: float = _SECONDS,
) -> str:
    """Run a program inside a pod and return its output; raise BetelgeuseError with its last words when it fails.

    `stdin` is what the program reads, the way for secrets: other users of this machine see arguments.
    """
    command = exec_command(settings, namespace, pod, argv, container=container, stdin=bool(stdin))
    return run(command, input=stdin or None, timeout=timeout)
