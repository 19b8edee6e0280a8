"""The report as one HTML file: no script, no outside asset, readable on a phone and by a screen reader."""

import base64
from html import escape
from itertools import groupby
from typing import Final

from conformance.recorder import FAILED, PASSED, SKIPPED, Result, Run, worst

_STYLE: Final = """
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --dim: #6e7781; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 70rem; }
h1 { margin: 0 } h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line) }
.verdict { border-left: .5rem solid var(--dim); padding: .5rem 1rem; margin: 1rem 0 }
.verdict.conformant { border-color: var(--good) } .verdict.broken, .verdict.incomplete { border-color: var(--bad) }
.passed { color: var(--good) } .failed { color: var(--bad) } .skipped { color: var(--dim) }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; white-space: nowrap }
pre { background: #8881; padding: .6rem; margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere }
article { border: 1px solid var(--bad); border-radius: .4rem; padding: .5rem 1rem; margin: .8rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0 } dt { color: var(--dim) }
dd { margin: 0; overflow-wrap: anywhere } summary { cursor: pointer }
figure { margin: 1rem 0 } img { max-width: 100%; border: 1px solid var(--line) }
"""
_WORDS: Final = {
    "conformant": "Every declared promise was checked and holds.",
    "broken": "At least one promise does not hold.",
    "incomplete": "No check failed, but checks are missing: this run proves less than the tree declares.",
    "partial": "Only a part was asked for: nothing is proved about the rest.",
}


def _pairs(pairs: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def _failure(result: Result) -> str:
    parts = {"want": result.want, "got": result.got} if result.want else {"error": result.detail.strip()[-2000:]}
    return (
        f"<article><h3>{escape(result.where or result.subject or result.promise)}</h3><p>{escape(result.claim)}</p>"
        f"{_pairs(parts)}<p>Reproduce:</p><pre>{escape(result.reproduce)}</pre>"
        f"<details><summary>{escape(result.id)}</summary><pre>{escape(result.detail)}</pre></details></article>"
    )


def _row(result: Result) -> str:
    text = f"{escape(result.subject or '—')}{': ' + escape(result.reason) if result.reason else ''}"
    return (
        f'<tr><td class="{result.outcome}">{result.outcome}</td><td>{text}</td>'
        f'<td class="number">{result.seconds:.2f} s</td></tr>'
    )


def _promise(name: str, results: list[Result]) -> str:
    outcome = worst(results)
    good = sum(result.outcome == PASSED for result in results)
    rows = "".join(_row(result) for result in results)
    is_open = " open" if outcome == FAILED else ""
    return (
        f'<details{is_open}><summary><b class="{outcome}">{outcome}</b> {escape(results[0].claim)} '
        f"<small>({good} of {len(results)})</small></summary><p><code>{escape(name)}</code></p>"
        f'<table><tr><th>outcome</th><th>subject</th><th class="number">took</th></tr>{rows}</table></details>'
    )


def _families(run: Run) -> str:
    promises = run.promises().items()
    sections = []
    for family, group in groupby(promises, key=lambda item: item[1][0].family):
        sections.append(f"<h3>{escape(family)}</h3>" + "".join(_promise(name, results) for name, results in group))
    return "".join(sections)


def _picture(name: str, caption: str, png: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<figure id="{escape(name)}"><img alt="{escape(caption)}" src="{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _pictures(run: Run) -> str:
    shown = "".join(_picture(each.name, each.caption, each.png) for each in run.pictures)
    return f"<h2>What a browser showed</h2>{shown}" if shown else ""


def _probes(run: Run) -> str:
    """Return how many requests each family of checks made."""
    return _pairs({family: str(number) for family, number in run.probes().items() if number})


def render(run: Run) -> str:
    """Return the page."""
    failures = [result for result in run.results if result.outcome == FAILED]
    counts = f"{run.count(PASSED)} passed, {run.count(FAILED)} failed, {run.count(SKIPPED)} skipped"
    gaps = f"<h2>Not checked</h2><ul>{''.join(f'<li>{escape(gap)}</li>' for gap in run.gaps)}</ul>" if run.gaps else ""
    broken = f"<h2>Broken promises</h2>{''.join(_failure(result) for result in failures)}" if failures else ""
    features = {name: "present" if there else "absent" for name, there in run.features.items()}
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conformance of {escape(run.env)}: {run.verdict}</title><style>{_STYLE}</style></head><body>
<h1>Conformance of {escape(run.env)}</h1>
<div class="verdict {run.verdict}"><b>{run.verdict.upper()}</b> · {counts}<br>{_WORDS[run.verdict]}</div>
<p>{escape(run.domain)}, {run.started:%Y-%m-%d %H:%M} UTC, {run.seconds:.0f} s</p>
{broken}{gaps}<h2>Promises</h2>{_families(run)}
{_pictures(run)}<h2>Requests to the gateway</h2>{_probes(run)}
<h2>Features</h2>{_pairs(features)}<h2>Versions</h2>{_pairs(run.versions)}
<h2>Looked at</h2>{_pairs(run.facts)}
</body></html>
"""
