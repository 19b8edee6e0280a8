"""Write the dashboards of an environment's tree for a server that is not part of it."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths, settings, yamls
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.progress import out
from betelgeuse.shell import run
from betelgeuse.tree.dashboards import dashboards as described
from betelgeuse.workflows.session import tree

FORMATS: Final = ("grafana", "perses")


def write(env: str, profile: str, form: str) -> int:
    """Let the sidecar's own program render the tree's ConfigMaps to reports/; return 0."""
    if form not in FORMATS:
        message = f"--format={form}: not one of {', '.join(FORMATS)}"
        raise UsageError(message)
    objects = tree(env, profile)
    chosen = described(objects)
    # Where logs have no page of their own, the platform's Grafana shows them.
    pages = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "HTTPRoute"}
    explore = [] if "logs" in pages else ["--explore"]
    target = paths.REPORTS / f"dashboards-{env}-{form}"
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "configmaps.yaml"
        source.write_text(yamls.dump(chosen), "utf-8")
        said = [f"--format={form}", f"--domain={settings.load(env).domain}", f"--from={source}", *explore]
        argv = [sys.executable, "-m", "dashboards", "render", *said, f"--out={target}"]
        try:
            out(run(argv, cwd=paths.ROOT / "apps" / "dashboards").strip())
        except BetelgeuseError as error:
            message = f"the tree's dashboards are not right: {error}"
            raise UsageError(message) from None
    return 0
