"""Artifacts of Maven repositories: fetched in one run, verified by our lock, unpacked with their executable bits."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds import maven
from betelgeuse.errors import BuildError
from betelgeuse.programs.model import Program, Source

ARTIFACT = "org.example:server-dist:1.2.3:zip"
JAR = "org.example:native:1.2.3:jar:linux-x86_64"


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
    """A cache of its own, and a `mvn` on PATH that reads our pom.xml and serves from a folder."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/server-dist-1.2.3.zip").write_bytes(distribution())
    (tmp_path / "served/native-1.2.3-linux-x86_64.jar").write_bytes(b"jar")
    program = tmp_path / "bin/mvn"
    program.parent.mkdir()
    program.write_text(
        f"""#!/usr/bin/env python3
import pathlib, shutil, sys
from xml.etree import ElementTree
pathlib.Path("{tmp_path}/calls").open("a").write(" ".join(sys.argv[1:]) + "\\n")
space = "{{http://maven.apache.org/POM/4.0.0}}"
pom = ElementTree.parse("pom.xml")
out = pathlib.Path(pom.find(f".//{{space}}outputDirectory").text)
out.mkdir()
for item in pom.iter(f"{{space}}artifactItem"):
    said = {{each.tag.removeprefix(space): each.text for each in item}}
    parts = [said["artifactId"], said["version"], *([said["classifier"]] if "classifier" in said else [])]
    file = pathlib.Path("{tmp_path}/served") / ("-".join(parts) + "." + said["type"])
    if not file.is_file():
        sys.exit(f"[ERROR] Could not find artifact {{file.name}} in central")
    shutil.copy(file, out)
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path


def server(folder: Path, *artifacts: str, sha256: str = "") -> Program:
    """A program of these artifacts, with their lock."""
    served = {ARTIFACT: distribution(), JAR: b"jar"}
    lines = [f"{sha256 or hashlib.sha256(served[each]).hexdigest()}  {each}" for each in artifacts or (ARTIFACT, JAR)]
    home = folder / "server"
    home.mkdir()
    (home / "maven.sha256").write_text("\n".join(lines) + "\n")
    return Program("server", home, "1.2.3", Source(maven=artifacts or (ARTIFACT, JAR)))


def test_all_artifacts_come_in_one_run_and_once(site: Path) -> None:
    """The second call finds the files; Maven's own parts are not kept."""
    program = server(site)
    first = maven.download(program)

    assert maven.download(program) == first
    assert first[ARTIFACT].read_bytes() == distribution()
    assert first[JAR].read_bytes() == b"jar"
    assert len((site / "calls").read_text().splitlines()) == 1
    assert sorted(first[JAR].parent.iterdir()) == sorted(first.values())


def test_what_is_there_is_not_asked_for_again(site: Path) -> None:
    """Another version of one artifact leaves the others alone."""
    maven.download(server(site, JAR))
    (site / "served/native-1.2.3-linux-x86_64.jar").unlink()
    (site / "server/maven.sha256").unlink()
    (site / "server").rmdir()

    assert set(maven.download(server(site))) == {ARTIFACT, JAR}


def test_the_plugin_is_pinned_and_the_repository_is_our_own(site: Path) -> None:
    """No repository of the user's is touched."""
    maven.download(server(site))

    call = (site / "calls").read_text()
    assert "maven-dependency-plugin:3.6.1:copy" in call
    assert f"-Dmaven.repo.local={site}/cache/" in call


def test_archives_are_unpacked_and_jars_are_not(site: Path) -> None:
    """Scripts can be run, other files cannot."""
    files = maven.files(server(site))
    folder = files / "server-dist" / "server-1.2.3"

    assert os.access(folder / "bin/start.sh", os.X_OK)
    assert (folder / "conf/server.conf").stat().st_mode & 0o777 == 0o644
    assert (files / "native-1.2.3-linux-x86_64.jar").read_bytes() == b"jar"


def test_other_content_is_refused(site: Path) -> None:
    """A file that is not the reviewed one is named with both digests, and nothing of it stays."""
    program = server(site, ARTIFACT, sha256="0" * 64)

    with pytest.raises(BuildError, match=r"server-dist:1\.2\.3:zip: expected sha256 0{64}, got [0-9a-f]{64}"):
        maven.download(program)

    assert list((site / "cache/downloads").iterdir()) == []


def test_absent_artifact_names_the_program(site: Path) -> None:
    """A version the repository does not give is a line that says where to name another."""
    program = server(site, "org.example:server-dist:9.9.9:zip", sha256="0" * 64)

    with pytest.raises(BuildError, match=r"name another version in .*server/program\.yaml: .*9\.9\.9"):
        maven.download(program)

    assert list((site / "cache/downloads").iterdir()) == []


def test_broken_maven_names_its_log(site: Path) -> None:
    """Any other failure says where Maven's words are."""
    (site / "bin/mvn").write_text("#!/bin/sh\necho no java here; exit 2\n")

    with pytest.raises(BuildError, match=r"run it again.*no java here.*maven\.log"):
        maven.download(server(site))
