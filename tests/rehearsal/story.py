"""What a story on servers is told with: commands as a person gives them, and looks at what a server is."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from betelgeuse import paths, settings
from betelgeuse.clusters.local.layout import API_PORT
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import command
from betelgeuse.progress import say
from betelgeuse.shell import run
from betelgeuse.surroundings import environment
from tests.rehearsal.machines import ENV, Machine

PROFILE: Final = "core"
SIGN_ON: Final = "/realms/betelgeuse/.well-known/openid-configuration"
_DEPLOY_SECONDS: Final = 2400.0
_READY_SECONDS: Final = 600.0
_INVOKE: Final = (sys.executable, "-m", "invoke")
_OF_THE_SYSTEM: Final = ("dev", "proc", "run", "sys", "tmp", "var/cache", "var/lib/systemd", "var/log", "var/tmp")
"""Folders whose content is nobody's promise."""


def on(machine: Machine, command: str) -> str:
    """Run a command on the server, as a person would: not by the code that is judged."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=10")
    said = [part for option in options for part in ("-o", option)]
    return run(["ssh", *said, f"root@{machine.address}", command], timeout=120, internet=False)


def invoke(*arguments: str, seconds: float = 120.0, tree: Path = paths.ROOT) -> tuple[int, str]:
    """Run one of the project's verbs, as another checkout has it too; return its exit code and what it said."""
    begin = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own argv
        [*_INVOKE, *arguments],
        cwd=tree,
        env={**environment(), "PYTHONPATH": str(tree / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    say(f"{time.monotonic() - begin:7.1f} s  invoke {' '.join(arguments)}: exit code {done.returncode}")
    return done.returncode, done.stdout + done.stderr


def deploy(tree: Path = paths.ROOT) -> str:
    """Deploy the platform, as another checkout has it too; return what the verb said."""
    code, said = invoke("deploy", f"--env={ENV}", f"--profile={PROFILE}", seconds=_DEPLOY_SECONDS, tree=tree)
    assert code == 0, said[-3000:]
    return said


def kubectl(*arguments: str, data: str | None = None, at: Machine | None = None, seconds: float = 30.0) -> str:
    """Ask the cluster's API as its administrator; `at` names the control plane, `data` is what kubectl reads."""
    where = [f"--server=https://{at.address}:{API_PORT}"] if at else []
    argv = [command.kubectl(), f"--kubeconfig={paths.kubeconfig_path(ENV)}", *where, *arguments]
    return run(argv, input=data, timeout=seconds, internet=False)


def until(what: str, seconds: float, reason: Callable[[], str]) -> float:
    """Wait until nothing is the matter any more; return after how many seconds, and fail with the last reason."""
    begin = time.monotonic()
    while said := _tried(reason):
        assert time.monotonic() - begin < seconds, f"{what}: not within {seconds:.0f} s: {said}"
        time.sleep(0.5)
    took = time.monotonic() - begin
    say(f"{took:7.1f} s  {what}")
    return took


def _tried(reason: Callable[[], str]) -> str:
    try:
        return reason()
    except BetelgeuseError as error:
        return str(error)


def picture(machine: Machine) -> dict[str, str]:
    """Return what is on a server, by kind: files with modes and links, and what the kernel was told."""
    pruned = " -o ".join(f"-path /{name}" for name in _OF_THE_SYSTEM)
    looks = {
        "files": rf"find / \( {pruned} \) -prune -o -printf '%p %y %m %l\n' | sort",
        "links": "ip -o link show | cut -d ' ' -f 2 | cut -d @ -f 1 | sort",
        "rules": "ip rule list; ip -6 rule list",
        # Addresses of IPv6 that an interface gives itself are there some seconds after it.
        "routes": "ip route show table all | grep -v fe80: | sort",
        "nftables": "nft list ruleset",
        "mounts": "cut -d ' ' -f 2,3 /proc/mounts | grep -v ^/run/credentials | sort",
        "bpf": "ls -A /sys/fs/bpf 2>/dev/null || :",
        "forwarding": "sysctl net.ipv4.ip_forward vm.overcommit_memory kernel.panic",
        "units": "systemctl list-units --all --plain --no-legend '*.service' '*.slice' | cut -d ' ' -f 1 | sort",
        "programs": "ps -eo comm= --ppid 2 -p 2 --deselect | grep -vE '^(ps|sh|sort|sshd|bash|cut)$' | sort -u",
    }
    return {kind: on(machine, look) for kind, look in looks.items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what differs between two pictures, by kind."""
    return {
        kind: sorted(set(after[kind].splitlines()) ^ set(text.splitlines()))
        for kind, text in before.items()
        if after[kind] != text
    }


def killed_when(said: str, log: Path) -> None:
    """Start a deploy and kill it, without a chance to clean up, as soon as it says something."""
    process = started(said, log)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def started(said: str, log: Path, *verb: str) -> "subprocess.Popen[bytes]":
    """Start a verb, or a deploy, that goes on behind our back, and return it as soon as it says something."""
    argv = [*_INVOKE, *(verb or ("deploy", f"--env={ENV}", f"--profile={PROFILE}"))]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, cwd=paths.ROOT, env=environment(), stdout=out, stderr=out)  # noqa: S603
    begin = time.monotonic()
    while said not in log.read_text("utf-8"):
        assert process.poll() is None, log.read_text("utf-8")[-3000:]
        assert time.monotonic() - begin < _DEPLOY_SECONDS
        time.sleep(0.1)
    return process


def answers(server: Machine, path: str = SIGN_ON) -> str:
    """Ask Keycloak through the gateway as a browser would; return why it gives no page."""
    name = f"auth.{settings.load(ENV).domain}"
    try:
        with socket.create_connection((server.address, 443), timeout=10) as wire:
            context = ssl.create_default_context(cafile=str(paths.state_dir(ENV) / "ca.pem"))
            with context.wrap_socket(wire, server_hostname=name) as door:
                door.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                line = door.makefile("rb").readline().decode().strip()
    except OSError as error:
        return f"{name}: {error}"
    return "" if line.split()[1:2] == ["200"] else f"{name}: {line}"


def comes_back(server: Machine) -> None:
    """Wait for what a person sees, then for what the cluster says: it may remember the time before."""
    begin = time.monotonic()
    while reason := answers(server):
        assert time.monotonic() - begin < _READY_SECONDS, reason
        time.sleep(0.5)
    say(f"{time.monotonic() - begin:7.1f} s  until people can sign on again")
    code, said = 1, ""
    while code:
        assert time.monotonic() - begin < _READY_SECONDS, said[-3000:]
        code, said = invoke("status", f"--env={ENV}", seconds=300)
    say(f"{time.monotonic() - begin:7.1f} s  until everything is ready again")


def conformance(report: str) -> None:
    """Have the conformance suite say that the platform keeps its promises."""
    argv = [sys.executable, "-m", "pytest", "-q", "conformance", f"--env={ENV}", f"--report={report}"]
    done = subprocess.run(argv, cwd=paths.ROOT, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stdout[-6000:]
