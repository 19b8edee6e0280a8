"""Runs Kubernetes' conformance tests by ginkgo, and reads what it reports."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import yaml

from betelgeuse import paths
from betelgeuse.builds import golang, images
from betelgeuse.clusters.local import cluster, target
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.command import kubectl
from betelgeuse.programs import table
from betelgeuse.progress import say
from betelgeuse.shell import run

PROGRAM: Final = "kubernetes-e2e"
REPORTS: Final = paths.ROOT / "reports" / "kubernetes-local"
_HOURS: Final = 4
_ALIASES: Final = {
    # Roll-outs go from one version to another: two names of one program do for that.
    "registry.k8s.io/e2e-test-images/agnhost:2.55": "agnhost",
    "registry.k8s.io/e2e-test-images/nginx:1.27.0-2": "nginx",
    # Kubernetes' own, of the versions that run here.
    "registry.k8s.io/etcd:3.7.0-0": "etcd",
    "registry.k8s.io/pause:3.10.2": "pause",
}
"""What tests ask for by a name that no image of ours replaces, and the image that stands in."""


@dataclass(frozen=True)
class Outcome:
    """What became of the tests of one run, by their full names."""

    passed: frozenset[str]
    failed: dict[str, str]
    """With the first line of what was wrong."""


def load() -> None:
    """Build the images that tests run and give them to every node, under the names that the tests ask for."""
    own = {each.replaces: each.name for each in table.images().values() if each.program == PROGRAM}
    for upstream, name in (own | _ALIASES).items():
        reference = target.provide(images.named(name))
        for node in cluster.recorded():
            ctr = ["ctr", "-n", "k8s.io", "images"]
            cluster.inside(node, [*ctr, "tag", "--force", reference, upstream])
            cluster.inside(node, [*ctr, "label", upstream, cluster.PINNED])


def everything() -> frozenset[str]:
    """Return the names of all tests that a conformant Kubernetes passes, as the release lists them."""
    listed = yaml.safe_load(run([str(golang.commands(PROGRAM) / "e2e.test"), "--list-conformance-tests"]))
    return frozenset(" ".join(each["codename"].split()) for each in listed)


def go(part: str, names: Collection[str], *, processes: int, kubeconfig: Path) -> Outcome:
    """Run the tests of these names, so many at a time; ginkgo's log and JUnit report stay in `reports/`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report, log = REPORTS / f"junit_{part}.xml", REPORTS / f"e2e_{part}.log"
    for earlier in (report, log):
        earlier.unlink(missing_ok=True)
    programs = golang.commands(PROGRAM)
    # Ginkgo takes an expression, and matches it with the suite's name before a test's.
    patterns = (" +".join(map(re.escape, name.split())) for name in sorted(names))
    focus = f"({'|'.join(patterns)})$"
    argv = [str(programs / "ginkgo"), f"--procs={processes}", f"--timeout={_HOURS}h", "--no-color", "--keep-going"]
    argv += [f"--focus={focus}", f"--junit-report={report.name}", f"--output-dir={REPORTS}", "--poll-progress-after=5m"]
    argv += [str(programs / "e2e.test"), "--", f"--kubeconfig={kubeconfig}", f"--kubectl-path={kubectl()}"]
    argv += ["--provider=skeleton", "--disable-log-dump"]
    say(f"{len(names)} tests of Kubernetes, {processes} at a time: {paths.shown(log)}")
    # A test that failed is in the report, and ginkgo's exit code says no more of it.
    with suppress(BetelgeuseError):
        run(argv, log=log, timeout=_HOURS * 3600, internet=False)
    return read(report)


def read(report: Path) -> Outcome:
    """Return what a JUnit report of ginkgo says; what was not run is in neither part."""
    passed, failed = set[str](), dict[str, str]()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the program we started
        name = " ".join(case.attrib["name"].removeprefix("[It] ").split())
        wrong = [each for each in case if each.tag in {"failure", "error"}]
        if wrong:
            failed[name] = (wrong[0].attrib.get("message") or wrong[0].text or "").partition("\n")[0]
        elif case.find("skipped") is None and case.attrib["name"].startswith("[It]"):
            passed.add(name)
    return Outcome(frozenset(passed), failed)
