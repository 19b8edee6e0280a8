"""The API server of Kubernetes, asked for templates and told of new workflows, by the pod's own token."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Final

from serving.cluster import ACCOUNT, ClusterError, asked

from .messages import MessageError, Obj

LABEL: Final = "betelgeuse.io/started-by-messages"
"""Of a template that messages may start."""
_SECONDS: Final = 10.0
_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


class Workflows:
    """Templates and workflows of one namespace."""

    def __init__(self, namespace: str, account: Path = ACCOUNT) -> None:
        """Ask as the account whose token is in that folder."""
        self._base, self._account = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}", account

    def check(self, template: str) -> None:
        """MessageError where messages may not start a template."""
        status, said = self._ask("GET", f"/workflowtemplates/{template}")
        if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            message = f"the API server answered {status} to template {template}"
            raise ClusterError(message)
        if status == HTTPStatus.NOT_FOUND or (said["metadata"].get("labels") or {}).get(LABEL) != "true":
            message = f"asks for {template}, which is no template with the label {LABEL}"
            raise MessageError(message)

    def start(self, workflow: Obj) -> bool:
        """Start a workflow; False where it is there already."""
        status, said = self._ask("POST", "/workflows", workflow)
        if status in _REFUSED:
            message = f"asks for what the API server refuses: {said.get('message')}"
            raise MessageError(message)
        if status not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            message = f"the API server answered {status} to a new workflow"
            raise ClusterError(message)
        return status == HTTPStatus.CREATED

    def _ask(self, method: str, path: str, body: Obj | None = None) -> tuple[int, Obj]:
        with asked(method, self._base + path, body, self._account, _SECONDS) as answer:
            return answer.status, json.loads(answer.read())
