"""Where the documentation's snippets are executed: the operator's machine, a pod, a person's notebook."""

import re
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

import yaml

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.shell import run
from conformance.jupyter import Cell, CellError, Workplace, working
from conformance.probes.keycloak import PREFIX, Person, fresh_password
from conformance.probes.oidc import Browser, forms, told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.snippets import ACCOUNT, MACHINE, NOTEBOOK, POD, UPLOAD, Snippet, agrees
from conformance.stores import Client
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, require

_CHOSEN: Final = "password-new"
"""The field of Keycloak's page on which somebody chooses a password."""
_LAST: Final = 400
"""Characters of what a block printed before it failed."""
_SHELL: Final = """
set -euo pipefail
mount --bind "$PWD/hosts" /etc/hosts
trap 'set +e; jobs -p | xargs --no-run-if-empty kill; wait' EXIT
state="$PWD/state"
source "$state"
cd {checkout}
{program} >{printed}
declare -px >"$state"
"""
"""Goes on with the variables of the snippet before; its hosts file is a copy, which goes with the page."""


def welcomed(site: Site, name: str, once: Secret) -> tuple[Person, Browser]:
    """Sign a person on at the portal for the first time: the password works once, and another is chosen.

    The account goes with the run.
    """
    (found,) = site.identity.keycloak.admin("GET", f"/users?username={name}&exact=true").json()
    chosen = Secret(fresh_password(), "$PASSWORD")
    MASKER.learn(chosen.reveal())
    person = Person(name, found["id"], chosen, ())
    site.identity.made.append(person)
    portal, browser = site.host("portal"), site.identity.browser()
    trail = browser.login(f"https://{portal}/", name, once)
    form = next((form for form in forms(trail[-1].answer) if _CHOSEN in form.fields), None)
    if form is not None:
        filled = {**form.fields, _CHOSEN: chosen.reveal(), "password-confirm": chosen.reveal()}
        trail += browser.follow(browser.go(urljoin(trail[-1].url, form.action), filled))
    require(
        form is not None and trail[-1].answer.status == HTTPStatus.OK and trail[-1].host == portal.name,
        where=f"https://{portal}/",
        want="another password asked for, and then the portal's page",
        got=told(trail),
        reproduce=f"a browser at https://{portal}/, with a password that works once",
    )
    return person, browser


@dataclass
class Reader:
    """Somebody who does what a page says; what its blocks need is made when it gets there, and goes with it."""

    site: Site
    workplace: Workplace | None = None
    """Whose notebooks the page's cells are; a page with an `account` makes its own."""
    pods: Callable[[Obj], AbstractContextManager[Client]] | None = None
    """Makes a pod of a page's template."""
    _client: Client | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take away what was made."""
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def _folder(self) -> Path:
        folder = Path(self._stack.enter_context(TemporaryDirectory()))
        (folder / "hosts").write_bytes(Path("/etc/hosts").read_bytes())
        (folder / "state").touch()
        return folder

    @cached_property
    def _desk(self) -> Workplace:
        return demand(self.workplace, where="cells", want="a person", got="nobody", reproduce="the mark `account`")

    @cached_property
    def _cell(self) -> Cell:
        return self._stack.enter_context(self._desk.kernel())

    def _on_machine(self, snippet: Snippet) -> str:
        file = self._folder / "snippet"
        file.write_text(snippet.text, "utf-8")
        printed = self._folder / "printed"
        printed.write_text("", "utf-8")
        script = _SHELL.format(
            checkout=shlex.quote(str(paths.ROOT)),
            program=f"{'source' if snippet.language == 'sh' else shlex.quote(sys.executable)} {file}",
            printed=printed,
        )
        try:
            run(["unshare", "--mount", "bash", "-c", script], cwd=self._folder, timeout=TIMEOUTS.snippet)
        except BetelgeuseError as error:
            message = f"{printed.read_text('utf-8')[-_LAST:]}{error}"
            raise BetelgeuseError(message) from None
        return printed.read_text("utf-8")

    def _in_pod(self, snippet: Snippet) -> str:
        if snippet.language == "yaml":
            make = demand(self.pods, where=snippet.where, want="a way to make pods", got="none", reproduce="")
            self._client = self._stack.enter_context(make(yaml.safe_load(snippet.text)["spec"]["template"]))
            return ""
        client = demand(self._client, where=snippet.where, want="a pod's yaml above", got="none", reproduce="")
        return client.execute(snippet.text, TIMEOUTS.snippet)

    def _in_notebook(self, snippet: Snippet) -> str:
        return self._cell(snippet.text, TIMEOUTS.notebook)

    def _upload(self, snippet: Snippet) -> str:
        self._desk.upload(snippet.argument, snippet.text)
        return ""

    def _account(self, snippet: Snippet) -> str:
        """Make the page's person, under a name of the run's own, and sign on."""
        name = f"{PREFIX}{self.site.identity.run}-{snippet.argument}"
        own = re.sub(rf"\b{re.escape(snippet.argument)}\b", name, snippet.text)
        once = self._on_machine(Snippet(snippet.where, snippet.language, own, MACHINE)).strip()
        MASKER.learn(once)
        person, browser = welcomed(self.site, name, Secret(once, "$PASSWORD"))
        self.workplace = self._stack.enter_context(working(self.site, person=person, browser=browser))
        return ""

    def follow(self, snippets: tuple[Snippet, ...], *marks: str) -> None:
        """Execute the blocks of these marks in their order, and compare what each prints with what the page says."""
        ways: Mapping[str, Callable[[Snippet], str]] = {
            MACHINE: self._on_machine,
            POD: self._in_pod,
            NOTEBOOK: self._in_notebook,
            ACCOUNT: self._account,
            UPLOAD: self._upload,
        }
        for snippet in snippets:
            if snippet.mark in marks:
                try:
                    printed, fault = ways[snippet.mark](snippet), ""
                except (BetelgeuseError, CellError) as error:
                    printed, fault = "", str(error)
                require(
                    not fault and (snippet.prints is None or agrees(snippet.prints, printed)),
                    where=snippet.where,
                    want=snippet.prints or "a block that runs to its end",
                    got=fault or printed,
                    reproduce=f"paste the block ({snippet.mark})",
                )
