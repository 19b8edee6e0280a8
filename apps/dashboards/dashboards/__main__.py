"""The command line: `watch` is the sidecar, `render` reads ConfigMaps from a file of YAML."""

import argparse
import logging
import os
import sys
from pathlib import Path

import yaml

from .catalogue import LABEL, Catalogue, Format, catalogue, files
from .folder import bring


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboards", description=__doc__)
    parser.add_argument("what", choices=("watch", "render"))
    parser.add_argument("--format", choices=[each.value for each in Format], default=Format.PERSES.value)
    parser.add_argument("--out", type=Path, required=True, help="the folder that is brought about")
    parser.add_argument("--prometheus", default="http://prometheus.observability:9090", help="whom Perses asks")
    parser.add_argument("--domain", default="", help="the platform's; by default what PUBLIC_NAME says behind a dot")
    parser.add_argument("--explore", action="store_true", help="links lead to logs and traces in our Grafana")
    parser.add_argument("--port", type=int, default=9091, help="of metrics")
    parser.add_argument("--from", dest="source", type=Path, help="ConfigMaps as YAML; others are skipped")
    return parser.parse_args()


def _render(said: argparse.Namespace) -> int:
    objects = yaml.safe_load_all(said.source.read_text("utf-8"))
    found = catalogue(each for each in objects if LABEL in (each["metadata"].get("labels") or {}))
    for where, mistakes in found.mistakes.items():
        for mistake in mistakes:
            print(f"ConfigMap {where}: {mistake}", file=sys.stderr)
    said.out.mkdir(parents=True, exist_ok=True)
    bring(said.out, files(found, Format(said.format), said.domain, said.prometheus, explore=said.explore))
    print(f"{len(found.dashboards)} dashboards in {said.out}")
    return 1 if found.mistakes else 0


def main() -> int:
    """Do what is asked."""
    said = _arguments()
    if said.what == "render":
        return _render(said)
    # In the image alone.
    from serving import begin  # noqa: PLC0415

    from .watch import run  # noqa: PLC0415

    begin(logging.INFO)
    domain = said.domain or os.environ.get("PUBLIC_NAME", "").partition(".")[2]

    def render(found: Catalogue) -> dict[str, str]:
        return files(found, Format(said.format), domain, said.prometheus, explore=said.explore)

    run(said.out, render, said.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
