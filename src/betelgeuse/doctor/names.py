"""Checks that the names of an environment's hosts lead to its gateway, as this machine's resolver sees them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from betelgeuse import dns, overlays, render
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, skip, warn
from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Tree

_SERVERS: Final = frozenset({Shape.SERVERS})
PUBLIC: Final = "../../components/acme-letsencrypt"
"""Its authority asks each host by name before it signs."""
_MAKER: Final = "../../components/external-dns"
"""Makes the records, once it runs."""
_SHOWN: Final = 3
_THREADS: Final = 16
"""A resolver that is away costs seconds for each name."""
_RENDERING: Final = threading.Lock()
"""Whoever comes second finds the tree that the first has rendered."""

_FIX: Final = "invoke dns --env=<env> prints the records, for your DNS provider to import"


def _answers(context: Context) -> Mapping[str, Sequence[str]]:
    """Return the addresses of each host of the tree; raises BetelgeuseError where the tree cannot be rendered."""
    with _RENDERING:
        objects = render.render(context.settings.env, context.profile.name)
    names = dns.hosts(Tree(objects, context.settings.domain))
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(context.probe.resolves, names), strict=True))


def _worded(texts: Sequence[str], between: str) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more


def _wrong(context: Context, text: str) -> Finding:
    """Grade a difference: certificates that need the names never come, anything else works by other ways."""
    env, listed = context.settings.env, overlays.components(context.settings.env)
    fix = _FIX.replace("<env>", env)
    if _MAKER in listed:
        return warn(text, f"components/external-dns makes them once it runs (docs/how-to/dns.md); {fix}")
    return fail(text, fix) if PUBLIC in listed else warn(text, fix)


def _looked(judge: Callable[[Context, Mapping[str, Sequence[str]]], Finding]) -> Callable[[Context], Finding]:
    """Let a judge see the answers, where there is a tree that says whom to ask for."""

    def look(context: Context) -> Finding:
        try:
            answers = _answers(context)
        except BetelgeuseError as error:
            return skip(f"the tree, which names the hosts, is not to be had: {' '.join(str(error).split())}")
        return judge(context, answers)

    return look


def _there(context: Context, answers: Mapping[str, Sequence[str]]) -> Finding:
    if lacking := dns.unanswered(answers):
        return _wrong(context, f"{len(lacking)} of {len(answers)} names have no address: {_worded(lacking, ', ')}")
    return ok(f"{len(answers)} names have an address")


def _here(context: Context, answers: Mapping[str, Sequence[str]]) -> Finding:
    if not (wanted := dns.gateways(context.settings, context.servers)):
        return skip("nobody says where the gateway is: see `environment`")
    all_of_it = ", ".join(wanted)
    if astray := dns.elsewhere(answers, wanted):
        each = [f"{name}: got {', '.join(answers[name])}, wanted {all_of_it}" for name in astray]
        return _wrong(context, _worded(each, "; "))
    answered = len(answers) - len(dns.unanswered(answers))
    text = f"{answered} names lead to {all_of_it}"
    # They work, as long as that part does.
    if part := dns.partly(answers, wanted):
        text = f"{text}; to a part of them alone: {_worded(part, ', ')}"
    return ok(text) if answered else skip("no name has an address: see `names`")


CHECKS: Final = (
    Check(
        "names",
        "clients and the certificate authority find the Gateway by name",
        _FIX,
        _looked(_there),
        _SERVERS,
        quick=False,
    ),
    Check(
        "names-elsewhere",
        "who follows such a name comes to another machine",
        _FIX,
        _looked(_here),
        _SERVERS,
        quick=False,
    ),
)
