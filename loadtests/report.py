"""The result of a run as plain data, its summary for a terminal, and the files it is written to."""

import json
import math
import os
import platform
import time
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from loadtests import page
from loadtests.limits import broken
from loadtests.memory import GROWTH, Memory
from loadtests.pacing import Sweep
from loadtests.plan import UNITS
from loadtests.recorder import SHARES, Span, figures, waits
from loadtests.run import Run

ROOT: Final = Path(__file__).resolve().parents[1]
REPORTS: Final = ROOT / "reports"
CALIBRATION: Final = "loadtest-calibration.json"

_POINTS: Final = 60
"""Of the timeline."""
_CURVE: Final = (*(step / 100 for step in range(0, 100, 5)), 0.98, 0.99, 0.995, 0.999, 0.9999, 1.0)
_BUSY: Final = 0.8
"""Of a core: a generator that is busier may measure itself."""


def machine() -> dict[str, Any]:
    """Return what a calibration depends on."""
    return {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}


def _versions() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = {"betelgeuse": str(project["version"]), "python": platform.python_version()}
    try:
        return found | {"locust": metadata.version("locust")}
    except metadata.PackageNotFoundError:
        return found


def calibration(folder: Path = REPORTS) -> dict[str, Any] | None:
    """Return the last calibration of this machine, None when there is none."""
    try:
        found = json.loads((folder / CALIBRATION).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("machine") == machine() else None


def _point(begin: float, width: float, span: Span, unit: str) -> dict[str, float]:
    known = figures(span, width, unit)
    rates = {name: known[name] for name in (f"{unit} per second", "requests per second", "failure ratio")}
    return {
        "begin": begin,
        **rates,
        "dropped": float(span.dropped),
        **waits(span),
    }


def result(  # noqa: PLR0913, PLR0917 - what a report is made of
    run: Run,
    host: str,
    cpu: Sequence[float],
    sweep: Sweep | None,
    problems: Sequence[str],
    folder: Path = REPORTS,
    memory: Memory | None = None,
) -> dict[str, Any]:
    """Return everything about a run.

    `cpu`: shares of a core that generators used; `problems`: why it is no proof; `memory`: the server's. Where nobody
    was asked for that, there is no promise on it.
    """
    order, unit = run.order, UNITS[run.order.target]
    span, seconds = run.measured()
    found = figures(span, seconds, unit) | (sweep.figures() if sweep else {})
    watched = memory is not None and bool(memory.command)
    found |= memory.figures() if memory else {}
    # A sweep goes on to where the SLO breaks: its promises are on what it found.
    limits = [limit for limit in order.profile.limits[order.target] if watched or limit.figure != GROWTH]
    wrong = [*problems, *broken(limits, found)]
    notes = []
    if max(cpu) > _BUSY:
        notes.append(f"a generator used {max(cpu):.0%} of a core: some of these times may be its own")
    if memory and memory.trouble:
        notes.append(f"memory: {memory.trouble}")
    if sweep and not sweep.complete:
        notes.append("time ran out before the sweep had bracketed what it looked for")
    return {
        "label": order.label,
        "target": order.target,
        "host": host,
        "profile": order.profile.name,
        "loop": order.loop,
        "load": {"value": order.load, "unit": order.unit, "arrival": order.arrival if order.loop == "open" else None},
        "start bound": order.start_bound if order.loop == "open" else None,
        "scenario": {"name": order.scenario.name, "about": order.scenario.about},
        "seed": order.seed,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - run.elapsed())),
        "seconds": run.elapsed(),
        "warm-up": order.warm_up,
        "unit": unit,
        "slo": {"limits": dict(order.scenario.slo.limits), "share": order.scenario.slo.share},
        "limits": [{"figure": limit.figure, "least": limit.least, "most": limit.most} for limit in limits],
        "broken": wrong,
        "notes": notes,
        "figures": found,
        "failures": dict(sorted(span.causes.items(), key=lambda item: -item[1])),
        "curves": {
            name: list(zip(_CURVE, histogram.percentiles(_CURVE), strict=True))
            for name, histogram in sorted(span.series.items())
        },
        "timeline": [_point(*part, unit) for part in run.recorder.timeline(run.elapsed(), _POINTS)],
        "steps": [vars(step) for step in sorted(sweep.steps, key=lambda step: step.load)] if sweep else [],
        "generator": {"cores used": list(cpu), "calibration": calibration(folder)},
        "machine": machine(),
        "versions": _versions(),
    }


def summary(found: dict[str, Any]) -> str:
    """Return the result, as `result` makes it or as it is read from its file, for a terminal."""
    load = found["load"]
    known = {name: math.nan if value is None else value for name, value in found["figures"].items()}
    lines = [
        (
            f"{found['label']}: {found['loop']} loop, {load['value']:g} {load['unit']}, "
            f"scenario {found['scenario']['name']}, {found['seconds']:.0f} s (times in seconds)"
        )
    ]
    series = found["curves"]
    plain = {name: value for name, value in known.items() if not name.startswith(tuple(f"{each} " for each in series))}
    lines += [f"  {name:32} {value:12.4g}" for name, value in plain.items()]
    heads = ("mean", *SHARES, "max")
    lines.append(f"  {'':32} " + " ".join(f"{head:>9}" for head in heads))
    lines += [f"  {name:32} " + " ".join(f"{known[f'{name} {head}']:9.4g}" for head in heads) for name in series]
    lines += [f"  failed: {count} x {cause}" for cause, count in found["failures"].items()]
    lines += [f"NOTE    {words}" for words in found["notes"]]
    lines += [f"FAILED  {words}" for words in found["broken"]] or ["all limits hold"]
    return "\n".join(lines)


def shown(text: str) -> str:
    """Return others' words fit to be shown: what could drive a terminal, or does not encode, as an escape."""
    kept = {"\n", "\t"}
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode() for sign in text
    )


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as a report has it.

    Without NaN and infinities, which JSON does not have: what was not observed is null. Every word is fit to be shown.
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {shown(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def write(found: dict[str, Any], folder: Path = REPORTS) -> Path:
    """Write the result as JSON and as a page; return the page."""
    folder.mkdir(exist_ok=True)
    path = folder / f"loadtest-{found['label']}.html"
    plain = finite(found)
    path.with_suffix(".json").write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", "utf-8")
    path.write_text(page.page(plain), "utf-8")
    return path
