"""Archives of other projects: verified by digest, unpacked with the executable bits they carry."""

import hashlib
import tarfile
import zipfile
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def extract(archive: Path, out: Path) -> None:
    """Unpack a .tar.gz, or anything that is a zip file (wheels, jars, distributions), into a folder."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(out, filter="data")
        return
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            path = Path(packed.extract(member, out))
            # zipfile forgets the executable bit that archives keep in the upper half of external_attr.
            if (mode := member.external_attr >> 16) and path.is_file():
                path.chmod(mode & 0o777)
