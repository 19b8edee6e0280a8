"""Snippets of the documentation: each is found, has a mark, and says where it is executed."""

from pathlib import Path

import pytest

from betelgeuse import paths
from conformance import snippets, stores
from conformance.snippets import MACHINE, NOTEBOOK, POD, PageError, Snippet, agrees, parse

STORES = [snippets.DOCS / "how-to" / f"{store}.md" for store in stores.ALL]
TUTORIALS = sorted((snippets.DOCS / "tutorials").glob("*.md"))
SECTIONS = ("\n## From a laptop\n", "\n## From a pod\n", "\n## From a notebook\n", "\n## Back up and restore\n")


def page(*blocks: tuple[str, str, str]) -> str:
    """Return a page of blocks (mark, language, text)."""
    return "\n".join(f"<!-- {mark} -->\n```{language}\n{text}```\n" for mark, language, text in blocks)


def test_blocks_come_in_their_order_with_what_they_print() -> None:
    """Marks, languages and lines are told; what is printed belongs to the block above it."""
    text = page((MACHINE, "sh", "echo 1\n"), ("prints", "text", "1\n"), (NOTEBOOK, "python", "x = 1\n"))

    assert parse(text, "a.md") == (
        Snippet("a.md:2", "sh", "echo 1\n", MACHINE, prints="1\n"),
        Snippet("a.md:12", "python", "x = 1\n", NOTEBOOK),
    )


def test_a_mark_may_say_something() -> None:
    """A path, a person, a reason."""
    found = parse(page(("upload: a/b.txt", "text", "b\n"), ("not executed: a click", "", "c\n")), "a.md")

    assert [(snippet.mark, snippet.argument) for snippet in found] == [
        ("upload", "a/b.txt"),
        ("not executed", "a click"),
    ]


def test_a_block_of_a_list_loses_its_indent() -> None:
    """What is pasted begins at the left."""
    text = "1. Do:\n\n   <!-- run: machine -->\n   ```sh\n   if true\n     then :\n   fi\n   ```\n"

    assert parse(text, "a.md") == (Snippet("a.md:4", "sh", "if true\n  then :\nfi\n", MACHINE),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```sh\nls\n```\n", "a.md:1: the block of sh needs a mark above it"),
        ("<!-- run: machine -->\n\n```sh\nls\n```\n", "has 'none'"),
        (page(("run: somewhere", "sh", "ls\n")), "has 'run: somewhere'"),
        (page((NOTEBOOK, "sh", "ls\n")), "which is for python"),
        (page((POD, "sh", "ls\n")), "which is for python or yaml"),
        (page(("not executed: ", "sh", "ls\n")), "says nothing behind its colon"),
        (page(("prints", "text", "1\n")), "stands below no block that is executed"),
        (page((MACHINE, "sh", "ls\n"), ("prints", "text", "1\n"), ("prints", "text", "2\n")), "stands below no block"),
        (page(("not executed: a click", "sh", "ls\n"), ("prints", "text", "1\n")), "stands below no block"),
        ("<!-- run: machine -->\n```sh\nls\n", "a block does not end"),
        ("<!-- run: machine -->\n```sh\nls\n  ```\n", "a block does not end"),
    ],
)
def test_a_block_without_a_good_mark_is_refused(text: str, words: str) -> None:
    """Nothing of a page goes unexecuted in silence."""
    with pytest.raises(PageError, match=r"a\.md") as caught:
        parse(text, "a.md")

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("want", "got", "same"),
    [
        ("6 passages\n", "6 passages", True),
        ("6 passages", "16 passages", False),
        ("6 passages", "6 passages more", False),
        ("…Hansen…\nSource: a.txt", "By Hansen.\nIn autumn.\nSource: a.txt\n", True),
        ("…Hansen…\nSource: a.txt", "Nobody.\nSource: a.txt\n", False),
        ("(1+1)", "(1+1)", True),
        ("1.5", "125", False),
    ],
)
def test_what_is_printed_agrees(want: str, got: str, *, same: bool) -> None:
    """Every character counts, but for what `…` stands for and the space at the ends."""
    assert agrees(want, got) is same


@pytest.mark.parametrize("file", [*TUTORIALS, *STORES], ids=lambda file: file.stem)
def test_every_block_of_a_page_has_a_mark(file: Path) -> None:
    """The pages that the suite follows can be read, and hold something to execute."""
    found = snippets.read(file)

    assert any(snippet.mark != snippets.SKIPPED for snippet in found)
    assert found[0].where.startswith(str(file.relative_to(paths.ROOT)))


@pytest.mark.parametrize("file", STORES, ids=lambda file: file.stem)
def test_a_store_is_told_from_everywhere(file: Path) -> None:
    """From a laptop, a pod, a notebook; backed up and restored."""
    text = file.read_text("utf-8")

    assert [section.strip() for section in SECTIONS if section not in text] == []
    assert {MACHINE, POD} <= {snippet.mark for snippet in snippets.read(file)}
