"""Run an image as a pod would: root read-only, no network, the image's own user; needs root, as the cluster does.

`python container.py FOLDER` reads from standard input what is run: user, group, folder, environment, command.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def enter(root: str) -> None:
    """Make a folder the root, read-only; the mounts are this process's own."""
    # As container runtimes do where an image has none.
    (Path(root) / "proc").mkdir(exist_ok=True)
    for argv in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", root, root],
        ["mount", "-o", "remount,ro,bind", root],
        ["mount", "-t", "proc", "proc", f"{root}/proc"],
    ):
        subprocess.run(argv, check=True)  # noqa: S603 - our own words
    os.chroot(root)


def read_only() -> bool:
    """Whether not even root may write."""
    try:
        Path("/written").touch()
    except OSError:
        return True
    return False


def interfaces() -> list[str]:
    """Return the names of the network interfaces."""
    lines = Path("/proc/net/dev").read_text("utf-8").splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def main() -> None:
    """Become the container's process."""
    said = json.load(sys.stdin)
    enter(sys.argv[1])
    if not read_only() or interfaces() != ["lo"]:
        sys.exit("the root is writable, or there is a network")
    os.chdir(said["folder"])
    os.setgroups([])
    os.setgid(said["group"])
    os.setuid(said["user"])
    os.execve(said["command"][0], said["command"], said["environment"])  # noqa: S606 - the image's own program


if __name__ == "__main__":
    main()
