"""Backups: what the tree declares, what restic is asked, and which copy a restore takes."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths, settings
from betelgeuse.backups import repository
from betelgeuse.backups.repository import Copy, Repository
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import Key, Obj
from betelgeuse.tree import backups as declarations
from betelgeuse.workflows import backup, restore
from tests.unit.fakes import obj

_GOOD = "name: wiki\nmethod: postgres\npods: app=wiki-db\n"


def _declared(text: str | None = _GOOD, name: str = "wiki-db") -> Obj:
    annotations = {} if text is None else {declarations.ANNOTATION: text}
    meta = {"name": name, "namespace": "apps", "annotations": annotations}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta}


def test_a_server_of_its_own_is_copied_by_its_own_tools() -> None:
    """A declaration names pods, and its scripts come with the method."""
    (one,) = declarations.chosen([_declared(), _declared(None, "other")], "")

    assert (one.name, one.namespace, one.home, one.pods) == ("wiki", "apps", "apps", "app=wiki-db")
    assert one.dump[:2] == one.load[:2] == ("sh", "-c")
    assert "pg_dump" in one.dump[2]


def test_a_store_with_a_client_is_copied_by_it() -> None:
    """Where the client library makes the copy, the pod is the one that has every library."""
    one = declarations.backups([_declared("name: kafka\nmethod: client")])["kafka"]

    assert (one.namespace, one.home) == ("db", "apps")
    assert one.dump == ("/usr/bin/python3", "-m", "store_accounts", "dump", "kafka")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: wiki\nmethod: postgres", "pods is missing"),
        ("name: wiki\nmethod: mysql", "method must be one of postgres, client, volume, claims, secrets, got 'mysql'"),
        ("name: wiki\nmethod: [a]", "method must be one of"),
        ("method: client", "name is missing"),
        ("[]", "name is missing"),
        (_GOOD + "pod: a", "unknown field 'pod'; did you mean 'pods'?"),
        (_GOOD + "path: /data", "path is no field of the method postgres"),
        (_GOOD.replace("wiki", "wiki:a", 1), "name is missing"),
        ("name: homes\nmethod: claims\npath: /home", "the method claims is for a PodTemplate"),
        ("name: keys\nmethod: secrets", "the method secrets is for a Secret"),
    ],
)
def test_a_wrong_declaration_is_told(text: str, said: str) -> None:
    """One line names the object and the field."""
    with pytest.raises(UsageError) as caught:
        declarations.backups([_declared(text)])

    assert said in str(caught.value)
    assert "StatefulSet apps/wiki-db" in str(caught.value)


def test_a_name_is_one_store() -> None:
    """Two declarations of one name are refused, and an unknown name gets a suggestion."""
    with pytest.raises(UsageError, match="wiki is declared twice"):
        declarations.backups([_declared(), _declared(name="other")])
    with pytest.raises(UsageError, match="no store 'wik' to back up; did you mean 'wiki'"):
        declarations.chosen([_declared()], "wik")


def _following(stores: str, kind: str = "Deployment") -> Obj:
    return obj("apps/v1", kind, "wiki", "web", annotations={declarations.FOLLOWS: stores})


def test_who_remembers_is_started_anew() -> None:
    """A Deployment of any namespace says which stores it follows; a word that is none is told."""
    tree = [_following("wiki, notes"), _declared(), _declared(_GOOD.replace("wiki", "notes"))]
    found = declarations.backups(tree)

    assert found["wiki"].restart == found["notes"].restart == (Key("apps", "Deployment", "web", "wiki"),)
    with pytest.raises(UsageError, match="names 'wik', which nothing declares; did you mean 'wiki'"):
        declarations.backups([_declared(), _following("wik")])
    with pytest.raises(UsageError, match=r"StatefulSet web/wiki: annotation .* is for a Deployment"):
        declarations.backups([_declared(), _following("wiki", "StatefulSet")])


Ask = Callable[[Sequence[str], Mapping[str, str]], str]


@pytest.fixture
def restic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A restic that notes what it is asked; answers are in `answers`."""
    calls: list[list[str]] = []
    monkeypatch.setattr(paths, "STATE", tmp_path)

    def run(argv: Sequence[str], *, env: Mapping[str, str], input: str | None = None) -> str:  # noqa: A002 - as run has it
        key = Path(env["RESTIC_PASSWORD_FILE"])
        assert key.stat().st_mode & 0o077 == 0
        assert key.read_text("utf-8").strip() not in " ".join(argv)
        calls.append(list(argv[3:]))
        GIVEN.extend([] if input is None else [input])
        answer = ANSWERS.get(argv[3], "")
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(repository, "run", run)
    ANSWERS.clear()
    GIVEN.clear()
    return calls


ANSWERS: dict[str, str | Exception] = {}
GIVEN: list[str] = []
"""What it read from its standard input."""


def _opened() -> Repository:
    one = Repository("local", "", Path("/restic"))
    one.open(create=True)
    return one


def test_the_first_copy_makes_key_and_repository(restic: list[list[str]], tmp_path: Path) -> None:
    """Without a repository one is made; the key is for its owner alone, and made once."""
    ANSWERS["cat"] = BetelgeuseError("Fatal: repository does not exist: unable to open config file")
    one = _opened()
    key = repository.key_file("local").read_text("utf-8")
    _opened()

    assert restic == [["cat", "config"], ["init"]] * 2
    assert repository.key_file("local").read_text("utf-8") == key
    assert one.target == str(tmp_path / "backups" / "local")


def test_reading_makes_nothing(restic: list[list[str]]) -> None:
    """Without a key, or without a repository, reading is refused and nothing is made."""
    one = Repository("local", "/elsewhere", Path("/restic"))
    with pytest.raises(BetelgeuseError, match=r"local.key is missing"):
        one.open()
    assert restic == []

    _opened()
    ANSWERS["cat"] = BetelgeuseError("Fatal: repository does not exist")
    with pytest.raises(BetelgeuseError, match="there are no backups in /elsewhere yet"):
        one.open()
    ANSWERS["cat"] = BetelgeuseError("wrong password or no key found")
    with pytest.raises(BetelgeuseError, match="backups in /elsewhere cannot be read: wrong password"):
        one.open()
    assert ["init"] not in restic


def _snapshot(store: str, day: int, size: int = 5) -> dict[str, Any]:
    return {
        "short_id": f"id{day}",
        "tags": [store],
        "time": f"2026-11-{day:02}T12:00:00.123456+01:00",
        "summary": {"total_bytes_processed": size},
    }


def test_copies_are_listed_by_age(restic: list[list[str]]) -> None:
    """What restic knows of each copy: store, time in UTC, size; the newest last."""
    ANSWERS["snapshots"] = json.dumps([_snapshot("wiki", 3), _snapshot("notes", 2)])

    copies = _opened().copies()

    assert [(one.store, one.id, one.size) for one in copies] == [("notes", "id2", 5), ("wiki", "id3", 5)]
    assert copies[0].made == datetime(2026, 11, 2, 11, 0, 0, 123456, UTC)
    assert restic[-1] == ["snapshots", "--json", "--host", "local"]


def test_a_text_goes_by_standard_input(restic: list[list[str]]) -> None:
    """What other users of the machine must not see is in no argument."""
    _opened().save_text("keys", "secret")

    assert restic[-1] == [
        "backup", "--quiet", "--host", "local", "--tag", "keys", "--stdin-filename", "keys", "--stdin"
    ]  # fmt: skip
    assert GIVEN == ["secret"]


def test_a_failed_command_keeps_nothing(restic: list[list[str]]) -> None:
    """Restic runs the command itself: where it fails there is no copy. Tidying keeps what is new."""
    one = _opened()
    one.save("wiki", ["kubectl", "exec"])
    one.forget()

    assert restic[-2][-4:] == ["--stdin-from-command", "--", "kubectl", "exec"]
    assert "--prune" in restic[-1]


def test_a_short_copy_is_refused(restic: list[list[str]], tmp_path: Path) -> None:
    """What comes out of the repository has the size that went in, or is not used."""
    one = _opened()
    with pytest.raises(BetelgeuseError, match="is 0 bytes, 5 were kept"):
        one.extract(Copy("id1", "wiki", datetime.now(UTC), 5), tmp_path / "spool")
    assert restic[-1][:2] == ["dump", "--target"]
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_a_check_is_noted(restic: list[list[str]]) -> None:
    """When the copies were verified is known afterwards."""
    one = _opened()
    assert one.checked() is None
    one.check()

    assert one.checked() is not None
    assert restic[-1] == ["check", "--read-data-subset=5%"]


_COPIES = [
    Copy(f"id{day}", store, datetime(2026, 11, day, 12, tzinfo=UTC), 5) for day in (1, 2, 3) for store in ("a", "b")
]


@pytest.mark.parametrize(
    ("at", "copy"), [("", "id3"), ("2026-11-02T12:00", "id2"), ("2026-11-02T13:00+01:00", "id2"), ("2026-11-03", "id2")]
)
def test_the_newest_copy_of_a_time_is_taken(at: str, copy: str) -> None:
    """The last one made at that time or before; a time without a zone is UTC."""
    assert [one.id for one in restore.select(_COPIES, "a", at)] == [copy]


_PARTS = [
    Copy(f"{name}{day}", f"homes:{name}", datetime(2026, 11, day, 12, tzinfo=UTC), 5)
    for day, name in ((1, "ann"), (2, "bob"), (3, "ann"))
]


@pytest.mark.parametrize(
    ("store", "at", "copies"),
    [
        ("homes", "", ["ann3", "bob2"]),
        ("homes", "2026-11-02T13:00", ["ann1", "bob2"]),
        ("homes", "2026-11-01T13:00", ["ann1"]),
        ("homes:bob", "", ["bob2"]),
    ],
)
def test_a_store_of_parts_has_a_copy_of_each(store: str, at: str, copies: list[str]) -> None:
    """All parts are restored, each from its newest copy of that time, or the one that was named."""
    assert [one.id for one in restore.select([*_COPIES, *_PARTS], store, at)] == copies


def test_a_part_of_a_store_without_parts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked of cluster or copies."""
    chosen = settings.parse("local", "environment.env", "DOMAIN=betelgeuse.test\n")
    for module in (backup, restore):
        monkeypatch.setattr(module, "opened", lambda _: (chosen, None, [_declared()]))

    for verb in (backup.backup, restore.restore):
        with pytest.raises(UsageError, match="wiki has no parts: --store=wiki"):
            verb("local", "wiki:page")


@pytest.mark.parametrize(
    ("store", "at", "said"),
    [
        ("a", "2026-10-01", "no copy of a from 2026-10-01 or before; the first is of 2026-11-01 12:00:00Z"),
        ("c", "", "no copy of c"),
        ("a", "yesterday", "--at must be a time such as"),
    ],
)
def test_no_copy_is_told(store: str, at: str, said: str) -> None:
    """What there is instead, in one line."""
    with pytest.raises(UsageError) as caught:
        restore.select(_COPIES, store, at)

    assert str(caught.value).startswith(said)


def test_a_good_copy_is_told_to_the_cluster() -> None:
    """Beside the store a rule says when it was made, by the store's name."""
    (one,) = declarations.chosen([_declared()], "")

    told = backup.note(one, 1764403200.7)

    assert (told["metadata"]["namespace"], told["metadata"]["name"]) == ("apps", "backup-wiki")
    assert told["spec"]["groups"][0]["rules"] == [
        {"record": "backup_made_timestamp_seconds", "expr": "vector(1764403201)", "labels": {"store": "wiki"}}
    ]


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("", False),
        ("/srv/backups", False),
        ("s3:https://s3.betelgeuse.test/backups/x", True),
        ("s3:https://s3.betelgeuse.test:443/backups", True),
        ("s3:https://s3.example.org/backups", False),
        ("s3:https://notbetelgeuse.test/backups", False),
    ],
)
def test_a_copy_inside_the_cluster_is_none(monkeypatch: pytest.MonkeyPatch, target: str, *, same: bool) -> None:
    """A target that would be lost with the store is refused before anything is asked."""
    text = f"DOMAIN=betelgeuse.test\n{f'BACKUP_TARGET={target}' if target else ''}\n"
    chosen = settings.parse("local", "environment.env", text)
    monkeypatch.setattr(backup, "opened", lambda _: (chosen, None, [_declared()]))
    monkeypatch.setattr(backup, "repository_of", lambda _: (_ for _ in ()).throw(BetelgeuseError("asked")))

    with pytest.raises(BetelgeuseError) as caught:
        backup.backup("local")

    assert isinstance(caught.value, RefusedError) is same


@pytest.mark.parametrize("target", ["backups", "s3:host/bucket", "s3:https://host", "ftp://host/x"])
def test_a_wrong_target_is_told(target: str) -> None:
    """BACKUP_TARGET is a folder or an S3 bucket."""
    with pytest.raises(UsageError, match="BACKUP_TARGET must be a folder"):
        settings.parse("local", "environment.env", f"DOMAIN=betelgeuse.test\nBACKUP_TARGET={target}\n")
