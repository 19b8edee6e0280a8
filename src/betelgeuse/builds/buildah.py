"""buildah with a storage of ours: images without a registry, a daemon, a user namespace or a cgroup."""

from pathlib import Path

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run


def tmp() -> Path:
    """Return a folder for large temporary files, on the disk of the cache."""
    folder = paths.CACHE / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def buildah(*arguments: str, log: Path) -> str:
    """Run buildah and return what it says."""
    root = paths.CACHE / "containers"
    storage = ["--root", str(root / "storage"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]
    # Isolation by chroot needs no user namespace, no runc and no cgroup.
    environment = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(tmp())}
    return run(["buildah", *storage, *arguments], env=environment, log=log, timeout=1800)


def has(name: str, log: Path) -> bool:
    """Whether the storage has an image."""
    try:
        buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name, log=log)
    except BetelgeuseError:
        return False
    return True
