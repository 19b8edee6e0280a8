"""A copy that is damaged, foreign or cut short is refused, and the store keeps what it has."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run
from betelgeuse.tree.backups import backups
from conformance import stores
from conformance.drills.canaries import READ, WRITE, store_keys
from conformance.drills.verbs import checkout, invoke
from conformance.inside import Inside
from conformance.site import Site
from conformance.verdict import require

pytestmark = pytest.mark.feature("store-accounts")

_STORES: Final = ("postgres", "valkey")
"""One of each way of loading: the server's own tool, and a client."""


@dataclass(frozen=True)
class Copies:
    """A repository that may be spoilt, beside a place for what that takes, and of which store a copy is to be bad."""

    repository: Path
    env: str
    store: str

    def _restic(self, *arguments: str, key: Path | None = None) -> None:
        """Run the restic that the platform built, as whoever has the key of its copies can."""
        built = sorted((paths.CACHE / "store").glob("go-restic-*/restic"))
        require(
            bool(built), where=str(paths.CACHE), want="restic, built by a backup", got="none", reproduce="invoke backup"
        )
        ours = paths.STATE / "backups" / f"{self.env}.key"
        env = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD_FILE": str(key or ours)}
        run([str(built[-1]), "--no-cache", "--quiet", *arguments], env=env)

    def damaged(self) -> None:
        """Lose the second half of every file with data, as a full disk or a broken transfer does."""
        for pack in (self.repository / "data").rglob("*"):
            if pack.is_file():
                pack.chmod(0o600)
                with pack.open("r+b") as file:
                    file.truncate(pack.stat().st_size // 2)

    def foreign(self) -> None:
        """Have another repository in its place, which another key opens."""
        shutil.rmtree(self.repository)
        other = self.repository.with_name("other.key")
        other.write_text("the key of another environment\n", "utf-8")
        self._restic("init", key=other)

    def cut_short(self) -> None:
        """Keep half of the newest stream as a newer one, as a tool that died without a word leaves it."""
        stream = self.repository.with_name("stream")
        self._restic("dump", "--tag", self.store, "--target", str(stream), "latest", f"/{self.store}")
        os.truncate(stream, stream.stat().st_size // 2)
        named = ("--host", self.env, "--tag", self.store, "--stdin-filename", self.store)
        self._restic("backup", *named, "--stdin-from-command", "--", "cat", str(stream))


BAD: Final[dict[str, Callable[[Copies], None]]] = {
    "damaged": Copies.damaged,
    "foreign": Copies.foreign,
    "cut short": Copies.cut_short,
}


def _declared(site: Site) -> list[str]:
    return [name for name in backups(site.tree.objects) if name in WRITE]


CASES: Final = (
    *((kind, store) for kind in ("damaged", "foreign") for store in _STORES),
    # Restic cannot know of it: it is for each store's way to see.
    *(("cut short", store) for store in WRITE),
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Path]:
    """Give a checkout whose copies go to a folder of its own, and that folder: the operator's copies stay out of it."""
    folder = tmp_path_factory.mktemp("copies")
    tree = checkout(folder)
    with (tree / "overlays" / site.settings.env / "environment.env").open("a", encoding="utf-8") as file:
        file.write(f"BACKUP_TARGET={folder / 'repository'}\n")
    for store in _declared(site):
        invoke(site, "backup", f"--store={store}", tree=tree)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("kind", "store"), CASES)
def test_a_bad_copy_is_refused(site: Site, inside: Inside, elsewhere: Path, store: str, kind: str) -> None:
    """The restore ends with a word, and what was written after the copy is still in the store."""
    if store not in _declared(site):
        pytest.skip(f"{store} does not run here")
    here, kept = elsewhere / "repository", elsewhere / "kept"
    here.rename(kept)
    shutil.copytree(kept, here)
    mark = f"drill{uuid.uuid4().hex[:10]}"
    try:
        BAD[kind](Copies(here, site.settings.env, store))
        with stores.client(site, inside) as client:
            keys = store_keys(site, store)
            client.run(WRITE[store], keys=keys, mark=mark, timeout=120)
            before = client.run(READ[store], keys=keys, mark=mark, timeout=120)
            with pytest.raises(BetelgeuseError) as refused:
                invoke(site, "restore", f"--store={store}", tree=elsewhere / "tree")
            after = client.run(READ[store], keys=keys, mark=mark, timeout=120)
    finally:
        shutil.rmtree(here)
        kept.rename(here)

    site.facts[f"{store}, a copy that is {kind}"] = str(refused.value)[-160:]
    require(
        bool(before) and after == before,
        where=f"{store}, after a restore from a copy that is {kind}",
        want=f"what was there before: {str(before)[:100]}",
        got=str(after)[:200],
        reproduce="nox -s drill -- -k bad_copy",
    )
