"""The pytest side: who is skipped and why, what ran, and the reports at the end."""

import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from conformance import page, versions
from conformance.coverage import HERE, SELF, Ran, gaps, promises, subjects
from conformance.recorder import FAILED, PASSED, SKIPPED, Result, Run, worst
from conformance.secrecy import MASKER
from conformance.site import Site
from conformance.subjects import SUBJECTS
from conformance.verdict import PromiseBrokenError

_SELECTING: Final = (
    "-k",
    "-m",
    "--deselect",
    "--ignore",
    "--ignore-glob",
    "--lf",
    "--ff",
    "--last-failed",
    "--sw",
)


def asks_for_part(config: pytest.Config) -> bool:
    """Whether the command line itself narrows the run.

    Settings elsewhere (PYTEST_ADDOPTS, ini) do not count: what they hide is hidden from the one who reads the report,
    so it is held against the run.
    """
    words = [str(word) for word in config.invocation_params.args]
    if any(word.split("=")[0] in _SELECTING or (word[:2] in {"-k", "-m"} and word[2:3] != "-") for word in words):
        return True
    paths = [Path(str(config.invocation_params.dir), arg.split("::")[0]) for arg in config.args]
    return any("::" in arg for arg in config.args) or not any(HERE.is_relative_to(path.resolve()) for path in paths)


# pytest keeps plugins in sets.
@dataclass(eq=False)
class Suite:
    """One session: its site, what ran, what came of it."""

    config: pytest.Config
    site: Site
    reports: Path
    ran: Ran = field(default_factory=Ran)
    results: dict[str, Result] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)
    _counted: int = 0

    def __post_init__(self) -> None:
        """Prepare the run's record."""
        settings = self.site.settings
        self.run = Run(settings.env, settings.domain, features=self.site.features)
        self.run.complete = not asks_for_part(self.config)

    def find_gaps(self) -> list[str]:
        """Return what a full run has left out so far."""
        site = self.site
        return gaps(
            self.ran,
            promised=promises(),
            expected=subjects(site.tree.objects, site.settings),
            features=site.features,
            env=site.settings.env,
            exemptions=site.exemptions,
        )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrise by what the tree declares."""
        for name in metafunc.fixturenames:
            if name in SUBJECTS:
                values = SUBJECTS[name](self.site)
                metafunc.parametrize(name, values, ids=[str(value) for value in values])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put what starts a clock first, what waits for it near the end, and what looks back on the run last."""

        def place(item: pytest.Item) -> tuple[bool, ...]:
            early, late, last = (item.get_closest_marker(name) is not None for name in ("early", "late", "last"))
            return item.nodeid.endswith(SELF), last, late, not early

        items.sort(key=place)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember what was taken out of the run."""
        self.ran.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a check whose feature this environment does not have."""
        for mark in item.iter_markers("feature"):
            for name in mark.args:
                if not self.site.features[name]:
                    pytest.skip(f"feature {name} is absent in {self.site.settings.env}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the result, with every secret masked before anything is printed or written."""
        report = yield
        if report.failed and report.longrepr is not None:
            report.longrepr = MASKER.clean(str(report.longrepr))
        if isinstance(report.longrepr, tuple):
            path, line, reason = report.longrepr
            report.longrepr = (path, line, MASKER.clean(reason))
        report.sections = [(name, MASKER.clean(text)) for name, text in report.sections]
        if report.when == "call" or not report.passed:
            self._keep(item, call, report)
        return report

    def _keep(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        promise = promise_id(item)
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        reason = ""
        if report.skipped:
            reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            self.ran.skipped[f"{promise}{item.name.partition('[')[1]}{item.name.partition('[')[2]}"] = reason
        else:
            self.ran.note(promise, {name: str(value) for name, value in params.items()})
        fault = call.excinfo.value if call.excinfo is not None else None
        broken = fault if isinstance(fault, PromiseBrokenError) else None
        again = f"python -m pytest --env={self.site.settings.env} '{report.nodeid}'"
        parts = (broken.where, broken.want, broken.got, broken.reproduce) if broken else ("", "", "", again)
        where, want, got, reproduce = (MASKER.clean(text) for text in parts)
        self.results[report.nodeid] = Result(
            id=report.nodeid,
            promise=promise,
            family=promise.partition("/")[0] if "/" in promise else "completeness",
            claim=(getattr(item, "function", None).__doc__ or "").partition("\n")[0],
            subject=item.name.partition("[")[2].removesuffix("]"),
            outcome=SKIPPED if report.skipped else (FAILED if report.failed else PASSED),
            seconds=report.duration,
            reason=reason.removeprefix("Skipped: "),
            where=where,
            want=want,
            got=got,
            reproduce=reproduce if report.failed else "",
            detail=str(report.longrepr) if report.failed else "",
            probes=self.site.sent - self._counted,
        )
        self._counted = self.site.sent

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the reports; a full run with gaps fails even where the completeness check itself did not run."""
        if self.config.option.collectonly:
            return
        run = self.run
        run.results = list(self.results.values())
        run.seconds = time.monotonic() - self.begin
        run.gaps = [MASKER.clean(gap) for gap in self.find_gaps()] if run.complete else []
        run.versions = {name: MASKER.clean(text) for name, text in versions.collect(self.site).items()}
        run.pictures = self.site.pictures
        run.facts = {name: MASKER.clean(text) for name, text in self.site.facts.items()}
        if run.gaps and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self.reports.mkdir(parents=True, exist_ok=True)
        stem = self.reports / f"{self.config.option.report}-{run.env}"
        for picture in run.pictures:
            stem.with_name(f"{stem.name}-{picture.name}.png").write_bytes(picture.png)
        stem.with_suffix(".json").write_text(MASKER.clean(json.dumps(run.as_json(), indent=1)), "utf-8")
        stem.with_suffix(".html").write_text(MASKER.clean(page.render(run)), "utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the promises, one line each, and where the reports are."""
        if self.config.option.collectonly:
            return
        terminalreporter.section(f"promises of {self.run.env}: {self.run.verdict}")
        for promise, results in self.run.promises().items():
            outcome = worst(results)
            colour = {PASSED: "green", FAILED: "red", SKIPPED: "yellow"}[outcome]
            good = sum(result.outcome == PASSED for result in results)
            terminalreporter.write(f"{outcome:8}", **{colour: True})
            terminalreporter.write_line(f"{good:4}/{len(results):<4} {results[0].claim}  ({promise})")
        for name, fact in self.run.facts.items():
            terminalreporter.write_line(f"{name}: {fact}")
        probes = ", ".join(f"{family} {number}" for family, number in self.run.probes().items() if number)
        terminalreporter.write_line(f"requests to the gateway: {sum(self.run.probes().values())} ({probes})")
        for gap in self.run.gaps:
            terminalreporter.write_line(f"NOT CHECKED  {gap}", red=True)
        terminalreporter.write_line(
            f"reports: {self.reports}/{self.config.option.report}-{self.run.env}.{{html,json,xml}}"
        )


def promise_id(item: pytest.Item) -> str:
    """Return `family/test_file.py::test_name` of an item."""
    function = getattr(item, "originalname", item.name)
    return f"{item.path.relative_to(HERE).as_posix()}::{function}"
