"""What goes over the wire between servers, seen by tcpdump at this machine's end of each cable; and inside the mesh."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse.clusters.servers.mesh import LINK, PORT
from tests.rehearsal.machines import BRIDGE, Machine

ENCRYPTED: Final = f"(udp port {PORT} or tcp port 22)"
_READY_SECONDS: Final = 10.0
_OPTIONS: Final = ("-n", "-U", "-Z", "root", "-s", "262144")
"""No names, every packet at once and whole, as the user who may."""


def between() -> str:
    """Return what matches packets between servers: neither with this machine, nor what finds neighbours."""
    ours = Path(f"/sys/class/net/{BRIDGE}/address").read_text().strip()
    return f"not ether host {ours} and (ip or ip6) and not ip6 multicast"


@dataclass(frozen=True)
class Tap:
    """A place where packets pass."""

    name: str
    link: str
    netns: Path | None = None

    @property
    def enter(self) -> list[str]:
        """What leads a program there."""
        return [] if self.netns is None else ["nsenter", f"--net={self.netns}"]


def cable(machine: Machine) -> Tap:
    """Return a server's cable, where all that it sends and gets passes as it is on the wire."""
    return Tap(f"{machine.name}-cable", machine.cable)


def inside(machine: Machine) -> Tap:
    """Return a server's end of the mesh, where packets are as yet or again in the clear."""
    return Tap(f"{machine.name}-mesh", LINK, machine.netns)


@contextmanager
def captured(taps: Sequence[Tap], wanted: str, folder: Path) -> Iterator[list[Path]]:
    """Keep the packets that match, of every tap, in files of libpcap's form."""
    files = [folder / f"{tap.name}.pcap" for tap in taps]
    running = []
    try:
        for tap, file in zip(taps, files, strict=True):
            log = file.with_suffix(".log")
            argv = [*tap.enter, "tcpdump", "-i", tap.link, *_OPTIONS, "-w", str(file), wanted]
            with log.open("wb") as said:
                running.append(subprocess.Popen(argv, stdout=said, stderr=said))  # noqa: S603 - our own argv
            begin = time.monotonic()
            while b"listening on" not in log.read_bytes():
                assert time.monotonic() - begin < _READY_SECONDS, log.read_text()
                time.sleep(0.05)
        yield files
    finally:
        for process in running:
            process.terminate()
            process.wait(_READY_SECONDS)
    for file in files:
        # What it could not keep up with would be missed silently.
        assert "\n0 packets dropped by kernel" in file.with_suffix(".log").read_text(), file.with_suffix(".log")


def packets(file: Path, wanted: str = "") -> list[str]:
    """Return one line for each packet of a file, of those that match."""
    argv = ["tcpdump", "-n", "-q", "-r", str(file), *([wanted] if wanted else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)  # noqa: S603 - our own argv
    return done.stdout.splitlines()
