"""A model can be looked up by its name."""

import pytest

from betelgeuse.tree import Host
from conformance.probes import openai
from conformance.probes.http import Request
from conformance.site import Site, random_label
from conformance.verdict import require

pytestmark = pytest.mark.feature("llm")


def test_one_model_is_shown(site: Site, llm: Host) -> None:
    """/v1/models/NAME is the model of that name in the list; any other name is 404."""
    headers = site.credentials(llm)
    listed = openai.parse(site.send(Request(llm.name, "/v1/models", headers=headers))).get("data", [{}])
    request = Request(llm.name, f"/v1/models/{listed[0].get('id')}", headers=headers)

    answer = site.send(request)

    require(
        answer.status == 200 and openai.parse(answer).get("id") == listed[0].get("id"),
        where=f"https://{llm}{request.path}",
        want=f"200 with {listed[0].get('id')}",
        got=answer,
        reproduce=site.curl(request),
    )
    other = Request(llm.name, f"/v1/models/{random_label()}", headers=headers)
    answer = site.send(other)
    require(
        answer.status == 404 and not openai.refusal_fault(answer),
        where=f"https://{llm}{other.path}",
        want="404 in JSON",
        got=answer,
        reproduce=site.curl(other),
    )
