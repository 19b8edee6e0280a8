"""The key by which machines that are made for tests are reached."""

from pathlib import Path

from betelgeuse.shell import run


def kept(folder: Path) -> Path:
    """Return the private key in a folder, made on first use; the public one lies beside it."""
    file = folder / "key"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)])
    return file
