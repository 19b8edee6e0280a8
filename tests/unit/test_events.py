"""Events as lines: what is said of one, and that each is told once, whatever ends the program or the watch."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast

import pytest
from events.follow import EVENTS, Follower
from events.lines import fresh, line
from prometheus_client import REGISTRY
from serving.cluster import ClusterError

Obj = dict[str, Any]


def event(version: int, **said: object) -> Obj:
    """An event of the core API."""
    return {
        "metadata": {
            "name": f"llm-0.{version}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-28T09:00:00Z",
        },
        "involvedObject": {"kind": "Pod", "namespace": "ai", "name": "llm-0"},
        "reason": "Started",
        "message": f"number {version}",
        "type": "Normal",
        **said,
    }


class Api:
    """An API server that keeps events, and ends a watch after what there is."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.events: list[Obj] = []
        self.version = 0
        self.later: list[Obj] = []
        self.asked: list[str] = []

    def add(self, *events: Obj) -> None:
        """Let something happen."""
        self.events += events
        self.version = max(self.version, *(int(item["metadata"]["resourceVersion"]) for item in events))

    @contextmanager
    def ask(self, path: str, *, seconds: float = 0) -> Iterator[HTTPResponse]:
        """Answer a list or a watch; `seconds` is how long it may be silent."""
        assert seconds > 0
        self.asked.append(path)
        if path == EVENTS:
            body = json.dumps({"metadata": {"resourceVersion": str(self.version)}, "items": self.events})
        else:
            body = "\n".join(json.dumps(change) for change in self.later)
        yield cast("HTTPResponse", io.BytesIO(body.encode()))


@pytest.fixture
def api() -> Api:
    """An API server without events."""
    return Api()


def told(out: io.StringIO) -> list[str]:
    """Return the messages that were written."""
    return [json.loads(text)["message"] for text in out.getvalue().splitlines()]


def test_a_line_says_what_the_event_is_about() -> None:
    """With a level, and without what the event does not say."""
    said = line(
        event(7, type="Warning", count=3, source={"component": "kubelet"}, lastTimestamp="2026-11-28T09:05:00Z")
    )

    assert said == {
        "level": "warn",
        "message": "number 7",
        "reason": "Started",
        "event": "llm-0.7",
        "object": {"kind": "Pod", "namespace": "ai", "name": "llm-0"},
        "component": "kubelet",
        "count": 3,
        "time": "2026-11-28T09:05:00Z",
    }


def test_an_event_of_a_series_has_its_count() -> None:
    """The newer form of the API."""
    said = line(event(7, series={"count": 9}, reportingComponent="scheduler", eventTime="2026-11-28T09:06:00Z"))

    assert (said["count"], said["component"], said["time"]) == (9, "scheduler", "2026-11-28T09:06:00Z")


def test_versions_are_numbers() -> None:
    """10 is later than 9, and the oldest is told first."""
    assert [item["message"] for item in fresh([event(10), event(9), event(8)], 8)] == ["number 9", "number 10"]


def test_each_is_told_once_across_restarts(api: Api, tmp_path: Path) -> None:
    """What happened while the program was away is told when it comes back, and nothing again."""
    out = io.StringIO()
    api.add(event(3), event(5))
    Follower(tmp_path / "cursor", api.ask, out).once()
    api.add(event(8))

    Follower(tmp_path / "cursor", api.ask, out).once()

    assert told(out) == ["number 3", "number 5", "number 8"]


def test_the_watch_goes_on_where_the_list_ended(api: Api, tmp_path: Path) -> None:
    """New and changed events are told, forgotten ones are not, and a bookmark is remembered."""
    out = io.StringIO()
    api.add(event(3))
    api.later = [
        {"type": "ADDED", "object": event(4)},
        {"type": "MODIFIED", "object": event(6, type="Warning")},
        {"type": "DELETED", "object": event(7)},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}},
    ]

    def warnings() -> float:
        return REGISTRY.get_sample_value("events_told_total", {"type": "Warning"}) or 0

    before = warnings()
    Follower(tmp_path / "cursor", api.ask, out).once()

    assert api.asked[-1].endswith("&resourceVersion=3")
    assert told(out) == ["number 3", "number 4", "number 6"]
    assert (tmp_path / "cursor").read_text() == "11"
    assert warnings() == before + 1


def test_a_watch_that_is_too_old_is_begun_anew(api: Api, tmp_path: Path) -> None:
    """The API server ends it with an error, and the next list tells what was missed."""
    out = io.StringIO()
    api.add(event(3))
    api.later = [{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}]
    follower = Follower(tmp_path / "cursor", api.ask, out)
    with pytest.raises(ClusterError, match="too old resource version"):
        follower.once()
    api.add(event(9))
    api.later = []
    follower.once()

    assert told(out) == ["number 3", "number 9"]


def test_a_cluster_put_back_from_a_backup_counts_from_there(api: Api, tmp_path: Path) -> None:
    """A cursor from the future would be silence."""
    out = io.StringIO()
    (tmp_path / "cursor").write_text("1000")
    api.add(event(20))
    follower = Follower(tmp_path / "cursor", api.ask, out)
    follower.once()
    api.add(event(21))
    follower.once()

    assert told(out) == ["number 21"]


def test_an_api_server_that_is_away_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until it answers; the reason is told."""
    tries = []

    @contextmanager
    def ask(path: str, *, seconds: float = 0) -> Iterator[HTTPResponse]:
        tries.append((path, seconds))
        if len(tries) == 3:
            raise KeyboardInterrupt
        if tries:
            message = "the API server does not answer (TimeoutError)"
            raise ClusterError(message)
        yield cast("HTTPResponse", io.BytesIO())

    with pytest.raises(KeyboardInterrupt):
        Follower(tmp_path / "cursor", ask).forever(pause=0)

    assert len(tries) == 3
    assert "the API server does not answer" in capsys.readouterr().err
