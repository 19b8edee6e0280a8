"""What only kubectl speaks: streams into a cluster (exec). Never a secret in its arguments, other users see those."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from betelgeuse.kube.connect import kubeconfig
from betelgeuse.settings import Settings
from betelgeuse.shell import run

_SECONDS: Final = 30.0


def exec_in(  # noqa: PLR0913 - where, what, and two options by keyword
    settings: Settings, namespace: str, pod: str, argv: Sequence[str], *, container: str = "", timeout: float = _SECONDS
) -> str:
    """Run a program inside a pod and return its output; raise BetelgeuseError with its last words when it fails."""
    # The wheel puts it beside our interpreter.
    program = Path(sys.executable).parent / "kubectl"
    where = ["--kubeconfig", str(kubeconfig(settings)), "--context", settings.kube_context, "--namespace", namespace]
    chosen = ["--container", container] if container else []
    return run([str(program), *where, "exec", pod, *chosen, "--", *argv], timeout=timeout)
