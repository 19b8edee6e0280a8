"""Starts a person's server: roots to trust, variables, the examples at the first start; then JupyterLab."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from workbench import accounts

EXAMPLES: Final = Path("/usr/share/workbench/examples")


def give_examples(source: Path, home: Path) -> None:
    """Copy the examples into a home that has none; what somebody made of them, or threw away, stays so."""
    target = home / "examples"
    mark = home / ".examples-given"
    if mark.exists() or target.exists():
        return
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    mark.touch()


def public_roots() -> str:
    """Return the public roots, as the image has them."""
    import certifi  # noqa: PLC0415 - only the image has it

    return Path(certifi.where()).read_text("utf-8")


def main() -> None:
    """Become the server."""
    environment = dict(os.environ)
    edge = environment.pop("EDGE_CERTIFICATES", "")
    text = accounts.bundle([edge, Path(accounts.ca("postgres")).read_text("utf-8"), public_roots()])
    accounts.ROOTS.write_text(text, "utf-8")
    roots = str(accounts.ROOTS)
    environment |= {"SSL_CERT_FILE": roots, "REQUESTS_CA_BUNDLE": roots, **accounts.variables()}
    # There is no line of it in /etc/passwd.
    environment |= dict.fromkeys(("USER", "LOGNAME"), environment["JUPYTERHUB_USER"])
    give_examples(EXAMPLES, Path(environment["HOME"]))
    os.execve(  # noqa: S606 - no shell
        sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *sys.argv[1:]], environment
    )


if __name__ == "__main__":
    main()
