"""A run's result as one HTML page: no script, nothing loaded from elsewhere, every word escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from loadtests import charts
from loadtests.charts import Axis
from loadtests.measure import END_TO_END, FIRST_TOKEN
from loadtests.recorder import SHARES

Result = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d9dee4; --paper: #fff; --good: #00704f;
 --bad: #b3261e; --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #b0507f; --c5: #8a6d00; --c6: #3a9bc8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebef; --soft: #a2abb6; --line: #3a414a; --paper: #16191d;
 --good: #4cc69d; --bad: #ff8a80; --c1: #56b4e9; --c2: #f08a4b; --c3: #2fc79a; --c4: #e39ac1; --c5: #e3c33d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
 margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.about { color: var(--soft); margin-top: .2rem; } .holds { color: var(--good); } .broken { color: var(--bad); }
.verdict { font-weight: 600; } table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; margin: .8rem 0; } svg text { font-family: system-ui, sans-serif; }
.title { font-size: 13px; font-weight: 600; fill: var(--ink); } .tick { font-size: 11px; fill: var(--soft); }
.key { font-size: 11px; } .grid { stroke: var(--line); } .mark { stroke: var(--soft); stroke-dasharray: 4 3; }
"""

_UNCALIBRATED: Final = "none on this machine: nox -s loadtest -- --calibrate"
_TAILS: Final = [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1000.0, "99.9 %"), (10000.0, "99.99 %")]


def _number(value: float | None) -> str:
    return "not observed" if value is None else f"{value:.4g}" if abs(value) < 10000 else f"{value:,.0f}"  # noqa: PLR2004 - digits crowd


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = True) -> str:
    """Return a table; with `numbers`, all but the first column are aligned as such."""

    def cell(tag: str, at: int, value: object) -> str:
        text = _number(value) if value is None or isinstance(value, int | float) else str(value)
        begin = f'<{tag} class="n">' if numbers and at else f"<{tag}>"
        return f"{begin}{escape(text)}</{tag}>"

    def row(tag: str, values: Sequence[object]) -> str:
        return f"<tr>{''.join(cell(tag, at, value) for at, value in enumerate(values))}</tr>"

    body = "".join(row("td", values) for values in rows)
    head = row("th", heads)
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _verdict(result: Result) -> str:
    notes = "".join(f"<p>Note: {escape(words)}</p>" for words in result["notes"])
    if not result["broken"]:
        return f'<p class="verdict holds">All limits hold.</p>{notes}'
    rows = "".join(f"<li>{escape(words)}</li>" for words in result["broken"])
    return f'<p class="verdict broken">Not as promised:</p><ul class="broken">{rows}</ul>{notes}'


def _tail(share: float) -> float:
    """Return where a percentile lies on an axis on which each nine is as wide as the last."""
    return 1 / max(1 - share, 1e-5)


def _curves(result: Result) -> str:
    series = []
    for name, points in result["curves"].items():
        # The last point is the maximum, and not at infinity: it is drawn where one value of all would be.
        series.append((name, [(_tail(share), value) for share, value in points if share < 1]))
    x = Axis("percentile", log=True, ticks=_TAILS)
    return charts.line("Percentiles", series, (x, Axis("seconds", log=True)))


def _timeline(result: Result) -> str:
    points, unit = result["timeline"], result["unit"]
    time = Axis("seconds since the beginning")

    def over(name: str) -> list[tuple[float, float | None]]:
        return [(point["begin"], point[name]) for point in points]

    first = FIRST_TOKEN if any(point[f"{FIRST_TOKEN} p50"] is not None for point in points) else END_TO_END
    waits = [(each, over(f"{first} {each}")) for each in ("p50", "p95")]
    return charts.line(f"{first.capitalize()} over time", waits, (time, Axis("seconds"))) + charts.line(
        f"{unit.capitalize()} per second over time (as answers end)",
        [(unit, over(f"{unit} per second"))],
        (time, Axis(f"{unit} per second")),
    )


def _sweep(result: Result) -> str:
    steps, figures, unit = result["steps"], result["figures"], result["unit"]
    if not steps:
        return ""
    marks = [
        (figures[name], word)
        for name, word in (("knee", "knee"), ("largest load within the SLO", "SLO"))
        if figures.get(name)
    ]
    load = Axis(result["load"]["unit"], log=True)
    speed, wait = (load, Axis(f"{unit} per second")), (load, Axis("seconds"))

    def against(name: str) -> list[tuple[float, float | None]]:
        return [(step["load"], step[name]) for step in steps]

    heads = (result["load"]["unit"], f"{unit} per second", "mean seconds", "SLO", "figures")
    rows = [
        (
            step["load"],
            step["throughput"],
            step["latency"],
            "held" if step["good"] else "broken",
            "settled" if step["steady"] else "still moving",
        )
        for step in steps
    ]
    return (
        "<h2>Throughput over load</h2>"
        + charts.line("Throughput", [(unit, against("throughput"))], speed, marks=marks, dots=True)
        + charts.line("Mean latency, end to end", [("s", against("latency"))], wait, marks=marks, dots=True)
        + table(heads, rows)
    )


def _figures(result: Result) -> str:
    figures, series = result["figures"], result["curves"]
    heads = ("mean", *SHARES, "max")
    times = table(("seconds", *heads), ((name, *(figures[f"{name} {head}"] for head in heads)) for name in series))
    rest = {name: value for name, value in figures.items() if not name.startswith(tuple(f"{each} " for each in series))}
    return times + table(("figure", "value"), rest.items())


def _facts(result: Result) -> str:
    load, slo, generator = result["load"], result["slo"], result["generator"]
    limits = ", ".join(f"{name} ≤ {most:g} s" for name, most in slo["limits"].items())
    calibration = generator["calibration"]
    rows = [
        ("host", result["host"]),
        (
            "loop",
            f"{result['loop']}, {load['value']:g} {load['unit']}" + (f", {load['arrival']}" if load["arrival"] else ""),
        ),
        ("profile", result["profile"]),
        ("scenario", f"{result['scenario']['name']}: {result['scenario']['about']}"),
        ("seed", str(result["seed"])),
        ("begun", result["begun"]),
        ("length", f"{result['seconds']:.1f} s, of which {result['warm-up']:g} s are warm-up that counts for nothing"),
        ("a good request", f"{limits}; at least {slo['share']:.0%} of all must be"),
        ("generator", "cores used: " + ", ".join(f"{share:.2f}" for share in generator["cores used"])),
        (
            "calibration",
            calibration["words"] if calibration else _UNCALIBRATED,
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())),
        ("machine", ", ".join(f"{name} {value}" for name, value in result["machine"].items())),
    ]
    return table(("the run", ""), rows, numbers=False)


def whole(title: str, about: str, parts: Iterable[str]) -> str:
    """Return a page of these parts; a heading is part of it."""
    head = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
    ]
    return "\n".join([*head, *parts, "</body></html>"])


def page(result: Result) -> str:
    """Return the page of a result, of which infinities and NaN were made null."""
    title = f"Load test {result['label']}"
    about = f"{result['loop']} loop, {result['load']['value']:g} {result['load']['unit']}, {result['seconds']:.0f} s"
    parts = [
        _verdict(result),
        _sweep(result),
        "<h2>Figures</h2>",
        _figures(result),
        _curves(result),
        "<h2>Timeline</h2>",
        _timeline(result),
        "<h2>Failures</h2>"
        + (charts.bars("Failed requests by cause", list(result["failures"].items())) or "<p>None.</p>"),
        "<h2>How it was measured</h2>",
        _facts(result),
    ]
    return whole(title, about, parts)
