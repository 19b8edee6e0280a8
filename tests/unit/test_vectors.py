"""The vector store's parts that need no engine: pieces of requests, and what Prometheus is told."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from vectors import basics
from vectors.errors import RefusedError
from vectors.metrics import Watched, endpoint

_KEY, _READING = "opens-everything", "reads-metrics"


def test_a_map_has_known_keys_only() -> None:
    """What is null counts as not there; what is not known is not spoken, and named."""
    assert basics.only({"a": 1, "b": None}, "the request", ("a",)) == {"a": 1}
    with pytest.raises(RefusedError, match="c in the request") as caught:
        basics.only({"a": 1, "c": 2}, "the request", ("a",))
    assert caught.value.status == 501
    with pytest.raises(RefusedError, match="the request must be a map"):
        basics.only([], "the request", ())


@pytest.mark.parametrize(("value", "good"), [(3, True), (0, False), (True, False), ("3", False), (1.5, False)])
def test_a_number_is_whole_and_large_enough(value: object, *, good: bool) -> None:
    """Anything else is told by the field's name."""
    if good:
        assert basics.number(value, "limit", 1) == value
    else:
        with pytest.raises(RefusedError, match="limit must be a whole number of at least 1"):
            basics.number(value, "limit", 1)


_UUID = "c56a4180-65aa-42ec-a945-5fd21dec0538"


@pytest.mark.parametrize(("value", "known"), [(0, 0), (2**64 - 1, 2**64 - 1), (_UUID, UUID(_UUID))])
def test_a_point_has_a_number_or_a_uuid(value: object, known: object) -> None:
    """Qdrant's two kinds of ids."""
    assert basics.ids([value]) == [known]


@pytest.mark.parametrize("value", [-1, 2**64, True, "seven", 1.0, None])
def test_other_ids_are_refused(value: object) -> None:
    """With the id in the answer."""
    with pytest.raises(RefusedError, match="is no point id"):
        basics.point_id(value)


def test_ids_are_a_list() -> None:
    """Not one alone."""
    with pytest.raises(RefusedError, match="points must be a list"):
        basics.ids(7)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/collections", "/collections"),
        ("/collections/aliases", "/collections/aliases"),
        ("/collections/books/", "/collections/{name}"),
        ("/collections/books/points", "/collections/{name}/points"),
        ("/collections/books/points/17", "/collections/{name}/points/{id}"),
        ("/collections/books/points/search/batch", "/collections/{name}/points/search/batch"),
        ("/collections/books/points/payload/delete", "/collections/{name}/points/payload/delete"),
        ("/collections/books/index/title", "/collections/{name}/index/{field_name}"),
        ("/aliases", "/aliases"),
    ],
)
def test_names_are_left_out_of_paths(path: str, shape: str) -> None:
    """Collections, points and fields are as many as people make them; series must not be."""
    assert endpoint(path) == shape


def _watched(status: str = "200 OK") -> Watched:
    def application(_: object, start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's own
        start(status, [])
        return [b"{}"]

    shard = SimpleNamespace(info=lambda: SimpleNamespace(points_count=5))
    store = SimpleNamespace(names=lambda: ["books"], get=lambda _: SimpleNamespace(shard=shard))
    return Watched(application, cast("Any", store), "1.19.0", (_KEY, _READING, ""))


def _asked(watched: Watched, path: str, method: str = "GET", **headers: str) -> tuple[str, str]:
    told = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, **headers}
    body = b"".join(watched(environ, lambda status, _: told.append(status)))
    return told[0], body.decode()


@pytest.mark.parametrize(
    "headers",
    [{"HTTP_API_KEY": _KEY}, {"HTTP_API_KEY": _READING}, {"HTTP_AUTHORIZATION": f"Bearer {_READING}"}],
)
def test_who_has_a_key_reads_the_metrics(headers: dict[str, str]) -> None:
    """What the store holds, and how it answered, by Qdrant's names."""
    watched = _watched()
    _asked(watched, "/collections/books/points/search", "POST")

    status, body = _asked(watched, "/metrics", **headers)

    assert status == "200 OK"
    assert 'app_info{name="qdrant",version="1.19.0"} 1.0' in body
    assert "collections_total 1.0" in body
    assert 'collection_points{id="books"} 5.0' in body
    of = 'endpoint="/collections/{name}/points/search",method="POST"'
    assert f'rest_responses_total{{{of},status="200"}} 1.0' in body
    assert f"rest_responses_duration_seconds_count{{{of}}} 1.0" in body


@pytest.mark.parametrize(
    "headers", [{}, {"HTTP_API_KEY": ""}, {"HTTP_API_KEY": "wrong"}, {"HTTP_AUTHORIZATION": f"Basic {_KEY}"}]
)
def test_nobody_else_does(headers: dict[str, str]) -> None:
    """An empty key is none, although one of those that open may be empty."""
    assert _asked(_watched(), "/metrics", **headers) == ("401 Unauthorized", "")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/collections/a", "404 Not Found"), ("/collections/a/b/c", "501 Not Implemented"), ("/", "200 OK")],
)
def test_strange_paths_make_no_series(path: str, status: str) -> None:
    """Whoever asks for what is not there could make as many as they like."""
    watched = _watched(status)
    assert _asked(watched, path)[0] == status

    assert "rest_responses_total{" not in _asked(watched, "/metrics", HTTP_API_KEY=_KEY)[1]
