"""Nobody tells an application who he is, but the gateway."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from conformance.inside import CONTROL, IDENTITY, Inside, underscored
from conformance.probes.http import Request
from conformance.probes.inside import saw
from conformance.site import Site
from conformance.verdict import require

pytestmark = pytest.mark.feature("prober")

_NOTHING: Final = {None, "", "-"}
SPELLINGS: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "dashes": lambda name: (name,),
    "underscores": lambda name: (underscored(name),),
    "odd-case": lambda name: (name.swapcase(),),
    "twice": lambda name: (name, name.lower()),
    "dash-then-underscore": lambda name: (name, underscored(name)),
    "underscore-upper": lambda name: (underscored(name).upper(),),
}


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
@pytest.mark.parametrize("header", IDENTITY)
def test_identity_header_is_stripped(site: Site, inside: Inside, header: str, spelling: str) -> None:
    """A header by which a client claims an identity does not reach the application, however it is spelled."""
    claims = tuple((name, "admin") for name in SPELLINGS[spelling](header))
    request = Request(inside.host, headers=((CONTROL, "seen"), *claims), tls=False)

    answer = inside.echo(request)

    names = (header, underscored(header))
    seen = [f"{name}: {answer.header(saw(name))}" for name in names if answer.header(saw(name)) not in _NOTHING]
    require(
        not seen,
        where=f"{header} ({spelling})",
        want="an application that sees nothing of it",
        got=f"it saw {', '.join(seen)}",
        reproduce=site.curl(request),
    )
