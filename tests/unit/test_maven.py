"""Artifacts of Maven repositories: fetched once, verified by our lock, unpacked with their executable bits."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest
import yaml

from betelgeuse import paths
from betelgeuse.builds import maven, pins
from betelgeuse.errors import BuildError, UsageError

ARTIFACT = "org.example:server-dist:1.2.3:zip"


def distribution() -> bytes:
    """A zip as projects publish theirs: one folder, a script that may be executed, a file that may not."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, mode in (("server-1.2.3/bin/start.sh", 0o755), ("server-1.2.3/conf/server.conf", 0o644)):
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, f"content of {name}")
    return packed.getvalue()


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a lock of their own, and a `mvn` on PATH that serves one artifact from a folder."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/server-dist-1.2.3.zip").write_bytes(distribution())
    program = tmp_path / "bin/mvn"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
        echo "$@" >> {tmp_path}/calls
        for word; do case "$word" in
            -Dartifact=*) artifact="${{word#*=}}" ;;
            -DoutputDirectory=*) out="${{word#*=}}" ;;
        esac; done
        file="$(echo "$artifact" | sed 's/^[^:]*:\\(.*\\):\\(.*\\):\\(.*\\)$/\\1-\\2.\\3/')"
        mkdir -p "$out"
        cp "{tmp_path}/served/$file" "$out" ||
            {{ echo "[ERROR] Could not find artifact $artifact in central"; exit 1; }}
        """
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    lock(tmp_path, monkeypatch, hashlib.sha256(distribution()).hexdigest())
    return tmp_path


def lock(folder: Path, monkeypatch: pytest.MonkeyPatch, sha256: str, artifact: str = ARTIFACT) -> None:
    """Write a lock with one entry, `server`."""
    file = folder / "maven.lock.yaml"
    file.write_text(yaml.safe_dump({"server": {"artifact": artifact, "sha256": sha256}}))
    monkeypatch.setattr(maven, "LOCK", file)
    pins.pins.cache_clear()


def test_artifact_is_fetched_once(site: Path) -> None:
    """The second call finds the file; Maven's own parts are not kept."""
    first = maven.download("server")
    second = maven.download("server")

    assert first == second
    assert first.read_bytes() == distribution()
    assert len((site / "calls").read_text().splitlines()) == 1
    assert list(first.parent.iterdir()) == [first]


def test_maven_is_asked_for_the_pinned_version(site: Path) -> None:
    """Coordinates come from the lock, the plugin's version is pinned too, and no repository of the user is touched."""
    maven.download("server")

    call = (site / "calls").read_text()
    assert f"-Dartifact={ARTIFACT}" in call
    assert "maven-dependency-plugin:3.6.1:copy" in call
    assert f"-Dmaven.repo.local={site}/cache/" in call


def test_unpacked_keeps_executable_bits(site: Path) -> None:
    """Scripts can be run, other files cannot."""
    folder = maven.unpacked("server") / "server-1.2.3"

    assert folder.is_relative_to(site)
    assert os.access(folder / "bin/start.sh", os.X_OK)
    assert (folder / "conf/server.conf").stat().st_mode & 0o777 == 0o644


def test_other_content_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not the reviewed one is named with both digests, and nothing of it stays."""
    lock(site, monkeypatch, "0" * 64)

    with pytest.raises(BuildError, match=r"server-dist-1\.2\.3\.zip: expected sha256 0{64}, got [0-9a-f]{64}"):
        maven.download("server")

    assert list((site / "cache/downloads").iterdir()) == []


def test_absent_artifact_names_the_lock(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version the repository does not give is a line that says where to pin another."""
    lock(site, monkeypatch, "0" * 64, "org.example:server-dist:9.9.9:zip")

    with pytest.raises(BuildError, match=r"9\.9\.9.*pin another version in .*maven\.lock\.yaml"):
        maven.download("server")

    assert list((site / "cache/downloads").iterdir()) == []


def test_broken_maven_names_its_log(site: Path) -> None:
    """Any other failure says where Maven's words are."""
    (site / "bin/mvn").write_text("#!/bin/sh\necho no java here; exit 2\n")

    with pytest.raises(BuildError, match=r"run it again.*no java here.*maven\.log"):
        maven.download("server")


def test_unknown_entry_is_refused() -> None:
    """A typo names what is known."""
    with pytest.raises(UsageError, match="no entry 'sever'; known: server"):
        maven.sha256("sever")


@pytest.mark.parametrize(
    "text", ["server: {artifact: 'a:b:1:zip'}", "server: {artifact: 'a:b:1', sha256: ''}", "a: [b"]
)
def test_damaged_lock_is_one_line(site: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A lock that lacks something is named."""
    lock(site, monkeypatch, "")
    maven.LOCK.write_text(text)

    with pytest.raises(UsageError, match=r"maven\.lock\.yaml"):
        maven.sha256("server")
