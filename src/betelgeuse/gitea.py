"""The platform's repository in its own Gitea, as git on this machine and Argo CD reach it."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import requests

from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run
from betelgeuse.signing import Signer

REPOSITORY: Final = "platform"
MAIN: Final = "main"
"""The branch with the tree itself."""
_GIT: Final = 300.0


@dataclass(frozen=True)
class Gitea:
    """The platform's own Gitea: reached from here by a port-forward, by Argo CD as a Service."""

    local: str
    inside: str
    user: str
    header: str
    signer: Signer

    def _environment(self) -> dict[str, str]:
        """Return what tells git the password: not its arguments, others see those."""
        return {
            **self.signer.environment,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": self.header,
            "GIT_TERMINAL_PROMPT": "0",
        }

    def git(self, folder: Path, *words: str) -> str:
        """Run git in a folder; what it commits is signed."""
        identity = ["-c", "user.name=betelgeuse", "-c", "user.email=betelgeuse@localhost"]
        identity += ["-c", "commit.gpgSign=true", "-c", "gpg.format=openpgp"]
        environment = self._environment()
        return run(["git", *identity, *words], cwd=folder, env=environment, timeout=_GIT, internet=False).strip()

    def settle(self) -> None:
        """Make the repository where it is not there yet."""
        address = f"{self.local}/api/v1/user/repos"
        body = {"name": REPOSITORY, "private": True, "default_branch": MAIN}
        headers = dict([self.header.split(": ", 1)])
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(address, json=body, headers=headers, timeout=30)
        if answer.status_code not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            message = f"Gitea does not make the repository: HTTP {answer.status_code} {answer.text[:200]}"
            raise BetelgeuseError(message)

    @property
    def remote(self) -> str:
        """The repository, as git reaches it from here."""
        return f"{self.local}/{self.user}/{REPOSITORY}.git"

    @property
    def repository(self) -> str:
        """The repository, as Argo CD reaches it."""
        return f"{self.inside}/{self.user}/{REPOSITORY}.git"
