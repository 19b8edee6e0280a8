"""Nobody tells an application who he is, but the gateway."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from conformance.inside import CONTROL, IDENTITY, Inside, underscored
from conformance.probes.http import Answer, Request
from conformance.probes.inside import saw
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("prober")

_NOTHING: Final = {None, "", "-"}
SPELLINGS: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "dashes": lambda name: (name,),
    "underscores": lambda name: (underscored(name),),
    "odd-case": lambda name: (name.swapcase(),),
    "twice": lambda name: (name, name.lower()),
}


def _echoed(site: Site, request: Request) -> Answer:
    """Return the prober's echo through the gateway; its route needs a moment to be programmed."""
    answer, _ = poll(
        lambda: site.send(request), lambda answer: answer.header(saw(CONTROL)) == "seen", TIMEOUTS.reaction
    )
    require(
        answer.header(saw(CONTROL)) == "seen",
        where=f"http://{request.host}/",
        want=f"an echo of {CONTROL}: seen, through the gateway",
        got=answer,
        reproduce=site.curl(request),
    )
    return answer


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
@pytest.mark.parametrize("header", IDENTITY)
def test_identity_header_is_stripped(site: Site, inside: Inside, header: str, spelling: str) -> None:
    """A header by which a client claims an identity does not reach the application, however it is spelled."""
    claims = tuple((name, "admin") for name in SPELLINGS[spelling](header))
    request = Request(inside.host, headers=((CONTROL, "seen"), *claims), tls=False)

    answer = _echoed(site, request)

    names = (header, underscored(header))
    seen = [f"{name}: {answer.header(saw(name))}" for name in names if answer.header(saw(name)) not in _NOTHING]
    require(
        not seen,
        where=f"{header} ({spelling})",
        want="an application that sees nothing of it",
        got=f"it saw {', '.join(seen)}",
        reproduce=site.curl(request),
    )
