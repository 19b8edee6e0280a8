"""What stands between the gate and the models of the model platform: the real check of requests, and its refusals."""

import json
from typing import Final

from api_check.body import InvalidError
from api_check.check import Checker
from api_check.protocol import Api

from tests.conformance_suite import gate
from tests.conformance_suite.idp import Page
from tests.conformance_suite.models import EmbeddingModel, LanguageModel, Reply, serve

BODY: Final = 4 * 1024 * 1024
_CHECKERS: Final = {
    "llm": Checker(Api(("/v1/chat/completions",), "")),
    "embeddings": Checker(Api(("/v1/embeddings",), "", dimensions=96)),
}


def refusal(  # noqa: PLR0913 - a request, and what is known of its path
    app: str, method: str, path: str, body: bytes, *, known: bool, faults: set[str]
) -> Page | None:
    """Return the answer to what the model does not get; None for what it does."""
    status = 413 if len(body) > BODY else 200 if known else 404
    if path == f"/v1/models/model-{app}" and method == "GET" and "no-model" not in faults:
        return Page(200, json.dumps({"id": f"model-{app}"}).encode(), "application/json")
    if status != 200:
        return Page(status) if "silent-refusals" in faults else gate.refused(status, "invalid_request_error")
    if method != "POST" or "unchecked" in faults:
        return None
    try:
        _CHECKERS[app].check(path, body)
    except InvalidError as error:
        if _blamed_on_the_server(app, body, error, faults):
            return Page(500)
        kind = "invalid_request_error"
        told = {"message": str(error), "type": kind, "param": error.param or None, "code": error.code}
        return Page(400, json.dumps({"error": told}).encode(), "application/json")
    return None


def _blamed_on_the_server(app: str, body: bytes, error: InvalidError, faults: set[str]) -> bool:
    """Whether a fault makes 500 of a client's mistake: a chat that is no JSON, an empty text to embed."""
    if app == "llm":
        return "llm-500" in faults and str(error).startswith("the body is not")
    return "embed-empty-500" in faults and body == b'{"input": ""}'


def mistaken(model: LanguageModel | EmbeddingModel, name: str, path: str, method: str, body: bytes) -> Reply | None:
    """Answer as a model server that nobody guards: what it does not understand is a fault of its own."""
    try:
        reply = serve(model, name, path, method, body)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        reply = None
    return (500, "text/plain", b"") if reply is None or reply[0] == 400 else reply
