"""The machine loses power: every process of the cluster ends at once, and one deploy brings all of it back."""

import os
import re
import signal
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run
from betelgeuse.tree import gates
from conformance.site import Site
from conformance.verdict import poll, require

_GUARD: Final = b"betelgeuse.clusters.local.guard"
_INIT: Final = b"betelgeuse.clusters.local.nodeinit"
_DEPLOY: Final = 600.0
"""Seconds for a deploy onto what is left: every pod of the platform starts at once, on two cores."""
_SERVED: Final = 60.0
_UNCHANGED: Final = re.compile(r"is up after [\d.]+ s; 0 changes")


def _running(*modules: bytes) -> list[int]:
    """Return the processes that run one of these modules, in this order."""
    found = []
    for module in modules:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if module in file.read_bytes().split(b"\0"):
                    found.append(int(file.parent.name))
            except OSError:
                continue  # it has just ended
    return found


def _cut() -> int:
    """Kill every guard and every node's init at once, and with the inits all that runs in their nodes."""
    victims = _running(_GUARD, _INIT)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return len(victims)


def _deploy(env: str) -> tuple[bool, str]:
    """Return whether a deploy succeeded, and what it said."""
    argv = [sys.executable, "-m", "invoke", "deploy", f"--env={env}"]
    try:
        return True, run(argv, cwd=paths.ROOT, timeout=_DEPLOY, log=paths.REPORTS / "drill-deploy.log")
    except BetelgeuseError as error:
        return False, str(error)


def test_power_cut_loses_nothing(site: Site) -> None:
    """After it, a deploy changes nothing, every host answers, and who was logged in still is."""
    if site.settings.env != "local":
        pytest.skip("only the embedded cluster's processes can be killed from here")
    guarded = [host for host in site.tree.hosts if host.gate.kind == gates.LOGIN]
    browsers = {host: site.identity.session(host) for host in guarded}

    killed = _cut()
    left, _ = poll(lambda: _running(_GUARD, _INIT), lambda pids: not pids, 10.0)
    begin = time.monotonic()
    deployed, output = _deploy(site.settings.env)
    seconds = time.monotonic() - begin
    site.identity.reopen()

    told = f"{killed} processes killed; deploy took {seconds:.0f} s"
    site.facts["power cut"] = told
    require(killed and not left, where="drill", want="every process gone", got=f"{told}, left: {left}", reproduce="ps")
    require(
        deployed and _UNCHANGED.search(output),
        where="invoke deploy after a power cut",
        want="exit code 0 and 0 changes",
        got=output[-600:],
        reproduce="invoke deploy",
    )
    for host, browser in browsers.items():
        request = browser.request(f"https://{host}{host.door.path}")
        answer, waited = poll(lambda asked=request: site.send(asked), lambda got: got.status == HTTPStatus.OK, _SERVED)  # type: ignore[misc] # a lambda's default has no type
        require(
            answer.status == HTTPStatus.OK,
            where=f"https://{host}{host.door.path}, with a session from before",
            want=f"200 within {_SERVED:.0f} s",
            got=f"{answer} after {waited:.0f} s",
            reproduce=site.curl(request),
        )
