"""The doctor: what could keep a deploy from working, why it matters, and what to do about it."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Final

from betelgeuse import profiles, selection, servers, settings
from betelgeuse.doctor import cluster, kernel, machine, names, network, remote, server, tools
from betelgeuse.doctor.model import Check, Context, Report, Shape, Status, fail, shape, skip
from betelgeuse.doctor.probe import Machine, Probe
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.profiles import Profile
from betelgeuse.progress import out
from betelgeuse.servers import Server
from betelgeuse.settings import Settings

__all__ = ["CHECKS", "diagnose", "preflight", "run"]

CHECKS: Final[tuple[Check, ...]] = (
    machine.CHECKS + kernel.CHECKS + tools.CHECKS + network.CHECKS + names.CHECKS + cluster.CHECKS + server.CHECKS
)
_WORKERS: Final = 8
"""Checks mostly wait for other programs."""


def _look(check: Check, context: Context) -> Report:
    """Run one check; one that cannot look must not keep the others from speaking."""
    try:
        finding = check.look(context)
    except PermissionError as error:
        finding = skip(f"needs root: {error.filename} is not readable")
    except (OSError, ValueError, BetelgeuseError) as error:
        finding = fail(f"could not look: {' '.join(str(error).split())}")
    return Report(check, finding)


def diagnose(
    chosen: Settings,
    profile: Profile,
    *,
    probe: Probe | None = None,
    quick: bool = False,
    reach: Callable[[Server], Probe] | None = None,
) -> list[Report]:
    """Run the checks that matter for an environment; `quick` leaves out those that ask a network.

    `reach` gives the probe of each server that the environment lists; those are asked after this machine.
    """
    listed = servers.load(chosen.env)
    here = probe or Machine()
    reach = reach or remote.Reach(chosen.env)
    context = Context(chosen, here, profile, profiles.smaller(profile), listed, reach)
    where = shape(chosen.env)
    asked = [check for check in CHECKS if where in check.shapes and (check.quick or not quick)]
    with ThreadPoolExecutor(_WORKERS) as pool:
        reports = list(pool.map(lambda check: _look(check, context), asked))
        for each in listed:
            try:
                there = replace(context, probe=reach(each), server=each, here=here)
            except BetelgeuseError:
                # The check of SSH has said why.
                continue
            of_it = [
                replace(check, name=f"{each.name}: {check.name}") for check in CHECKS if Shape.SERVER in check.shapes
            ]
            reports += pool.map(lambda check, there=there: _look(check, there), of_it)
    return reports


def failures(reports: Sequence[Report]) -> list[Report]:
    """Return the reports that make a deploy pointless."""
    return [report for report in reports if report.finding.status is Status.FAIL]


def preflight(chosen: Settings, profile: Profile, *, probe: Probe | None = None) -> None:
    """Refuse, in one line, to start what cannot work: the quick checks, before a deploy."""
    broken = failures(diagnose(chosen, profile, probe=probe, quick=True))
    if broken:
        first, more = broken[0], len(broken) - 1
        others = f" (and {more} more: invoke doctor --env={chosen.env} --profile={profile.name})" if more else ""
        message = f"{first.check.name}: {first.finding.text}: {first.check.why}; {first.fix}{others}"
        raise RefusedError(message)


def _as_text(env: str, profile: Profile, reports: Sequence[Report]) -> str:
    """Return what a person reads: one line per check, with why and what to do below those that are not well."""
    width = max(len(report.check.name) for report in reports)
    lines = [str(profile)]
    for report in reports:
        lines.append(f"{report.finding.status:<5} {report.check.name:<{width}}  {report.finding.text}")
        if report.fix:
            lines += [f"{'':<{width + 8}}why: {report.check.why}", f"{'':<{width + 8}}fix: {report.fix}"]
    counts = {status: sum(report.finding.status is status for report in reports) for status in Status}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return "\n".join([*lines, f"{env}: {len(reports)} checks: {summary}"])


def _as_json(env: str, profile: Profile, reports: Sequence[Report]) -> str:
    """Return what a program reads."""
    needs = {"areas": [area.name for area in profile.areas], **asdict(profile.budget)}
    checks = [report.as_dict() for report in reports]
    answer = {"env": env, "profile": {"name": profile.name, **needs}, "ok": not failures(reports), "checks": checks}
    return json.dumps(answer, indent=2)


def run(env: str, profile: str = "", *, as_json: bool = False, probe: Probe | None = None) -> int:
    """Print the diagnosis of an environment and return the exit code: 1 when something fails."""
    chosen, selected = settings.load(env), selection.select(env, profile)
    reports = diagnose(chosen, selected, probe=probe)
    out((_as_json if as_json else _as_text)(env, selected, reports))
    return 1 if failures(reports) else 0
