"""Following a page: what a block leaves to the next one, what it may not touch, and that a wrong page is noticed."""

import os
from pathlib import Path

import pytest

from betelgeuse import paths
from conformance.places import Reader
from conformance.snippets import MACHINE, Snippet, parse
from conformance.verdict import PromiseBrokenError
from tests.conformance_suite.conftest import Build

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a hosts file over the machine's")

HOSTS = Path("/etc/hosts")


def follow(build: Build, *blocks: tuple[str, str, str | None]) -> None:
    """Follow a page of blocks (language, text, what it prints) for the machine."""
    snippets = (Snippet(f"page:{at}", kind, text, MACHINE, prints=out) for at, (kind, text, out) in enumerate(blocks))
    with Reader(build()) as reader:
        reader.follow(tuple(snippets), MACHINE)


def test_a_page_is_one_shell(build: Build) -> None:
    """What a block exports and writes into the hosts file is there for the next, program or shell, in the checkout."""
    before = HOSTS.read_bytes()

    follow(
        build,
        ("sh", "export NAME='a \"b\"'\necho 127.0.0.9 page.invalid >>/etc/hosts\npwd\n", f"{paths.ROOT}\n"),
        ("python", "import os, socket\nprint(os.environ['NAME'], socket.gethostbyname('page.invalid'))\n", None),
        ("sh", "echo $NAME; getent hosts page.invalid\n", 'a "b"\n127.0.0.9…page.invalid\n'),
    )

    assert HOSTS.read_bytes() == before


@pytest.mark.parametrize(
    ("language", "text", "prints", "words"),
    [
        ("sh", "echo so far\nfalse\necho on\n", None, "so far"),
        ("sh", "false | cat\n", None, "exit"),
        ("sh", "echo $UNSET_BY_ALL\n", None, "UNSET_BY_ALL"),
        ("python", "raise SystemExit('no such store')\n", None, "no such store"),
        ("sh", "echo 7 passages\n", "6 passages", "7 passages"),
    ],
)
def test_a_block_that_does_not_work_is_a_broken_promise(
    build: Build, language: str, text: str, prints: str | None, words: str
) -> None:
    """A line that fails, half a pipe, a program that ends, another output: each names the block."""
    with pytest.raises(PromiseBrokenError) as caught:
        follow(build, ("sh", "echo first\n", "first"), (language, text, prints))

    assert caught.value.where == "page:1"
    assert words in caught.value.got


def test_what_a_block_left_running_ends_with_it(build: Build, tmp_path: Path) -> None:
    """A forwarded port that a failing block did not close is closed."""
    pid = tmp_path / "pid"

    with pytest.raises(PromiseBrokenError):
        follow(build, ("sh", f"sleep 300 >/dev/null 2>&1 &\necho $! >{pid}\nfalse\n", None))

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_block_may_end_what_it_started(build: Build) -> None:
    """What a block has just stopped by itself is no fault of it."""
    follow(build, *[("sh", "sleep 300 >/dev/null &\nkill $!\n", "")] * 20)


def test_blocks_of_other_marks_are_left_alone(build: Build) -> None:
    """Who follows the laptop's lines starts no pod and no notebook."""
    page = parse("<!-- run: pod -->\n```python\nraise\n```\n\n<!-- run: machine -->\n```sh\nfalse\n```\n", "page")

    with Reader(build()) as reader, pytest.raises(PromiseBrokenError) as caught:
        reader.follow(page, MACHINE)

    assert caught.value.where == "page:7"
