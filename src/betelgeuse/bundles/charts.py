"""What a bundle consists of: files of a module, or one of its charts prepared as its release process would."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from betelgeuse import shell
from betelgeuse.errors import BuildError
from betelgeuse.programs.model import Bundle


def wrong(bundle: Bundle, what: str) -> BuildError:
    """Return the error that a bundle is not what its program.yaml says."""
    return BuildError(f"programs/{bundle.program}/program.yaml: bundles.{bundle.name}: {what}")


def _matching(module: Path, pattern: str, bundle: Bundle) -> list[Path]:
    found = sorted(path for path in module.glob(pattern) if path.is_file())
    if not found:
        message = f"no file of the module matches {pattern}"
        raise wrong(bundle, message)
    return found


def concatenated(module: Path, bundle: Bundle) -> bytes:
    """Return a bundle of plain files as one stream of documents."""
    found = _matching(module, bundle.files, bundle)
    return b"".join(b"---\n" + path.read_bytes().strip() + b"\n" for path in found)


def _filled(text: str, bundle: Bundle) -> str:
    def value(found: re.Match[str]) -> str:
        try:
            return bundle.fill[found[1]]
        except KeyError:
            message = f"its values ask for {found[1]}, which `fill` does not give"
            raise wrong(bundle, message) from None

    return re.sub(r"\$\{(\w+)\}", value, text)


def _prepare(module: Path, bundle: Bundle, chart: Path) -> None:
    """Copy a chart: version stamped, values filled, CRD templates added."""
    if not (module / bundle.chart).is_dir():
        message = f"the module has no folder {bundle.chart}"
        raise wrong(bundle, message)
    shutil.copytree(module / bundle.chart, chart)
    for folder, _, names in os.walk(chart):
        # The module cache is read-only.
        Path(folder).chmod(0o755)
        for name in names:
            (Path(folder) / name).chmod(0o644)
    description = chart / "Chart.yaml"
    if not description.exists():
        (chart / "Chart.template.yaml").rename(description)
    stamped = re.sub(r"(?m)^(version|appVersion):.*$", rf"\1: {bundle.version}", description.read_text("utf-8"))
    description.write_text(stamped, encoding="utf-8")
    if (template := chart / "values.tmpl.yaml").exists():
        (chart / "values.yaml").write_text(_filled(template.read_text("utf-8"), bundle), encoding="utf-8")
    if bundle.templates:
        for path in _matching(module, bundle.templates, bundle):
            shutil.copyfile(path, chart / "templates" / path.name)


def rendered(module: Path, bundle: Bundle, kubernetes: str, helm: Path) -> bytes:
    """Render a chart without a cluster and without hooks: what a hook would do is ours to decide."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "chart"
        _prepare(module, bundle, chart)
        argv = [str(helm), "template", bundle.release, str(chart), "--namespace", bundle.namespace]
        argv += ["--kube-version", kubernetes, "--values", str(bundle.values), "--no-hooks", "--skip-crds"]
        # No repositories, plugins or credentials of the user's.
        homes = {f"HELM_{kind}_HOME": f"{folder}/{kind.lower()}" for kind in ("CONFIG", "CACHE", "DATA")}
        return shell.run(argv, env=homes).encode()
