"""The Dockerfile of an image: its program's own, or the usual one, written from what program.yaml says."""

import json
from typing import Final

from betelgeuse.programs.model import SCRATCH, Image, Kind

_COMPILE: Final = 'python3 -m compileall -q -x "/tests?/" --invalidation-mode unchecked-hash'
ROOT: Final = "rootfs"
"""The folder of the build context that the usual Dockerfile copies, laid out as in the image."""


def dockerfile(image: Image) -> str:
    """Return the text of an image's Dockerfile; the base comes by the argument BASE."""
    if image.dockerfile is not None:
        return image.dockerfile.read_text("utf-8")
    based = bool(image.suite or image.parent)
    lines = ["ARG BASE", "FROM ${BASE}"] if based else [f"FROM {SCRATCH}"]
    # Python's packages are compiled here, since the root is read-only where they run; by content, since a copy has
    # other times.
    trees = [path for path, file in image.files.items() if file.kind is Kind.PYPI and file.path == "."]
    compiled = [f"RUN {_COMPILE} {path}" for path in trees]
    if image.packages or compiled:
        lines.append("USER 0:0")
    if image.packages:
        lines += [
            "RUN apt-get update -qq \\",
            f" && apt-get install -y -qq --no-install-recommends {' '.join(image.packages)} \\",
            " && rm -rf /var/lib/apt/lists/* /var/cache/apt/*",
        ]
    if image.files:
        lines.append(f"COPY {ROOT}/ /")
    lines += compiled
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in image.env.items()]
    lines += [f"WORKDIR {image.workdir}"] if image.workdir else []
    lines.append(f"USER {image.user}")
    lines += [f"ENTRYPOINT {json.dumps(image.entrypoint)}"] if image.entrypoint else []
    lines += [f"CMD {json.dumps(image.cmd)}"] if image.cmd else []
    return "\n".join([*lines, ""])


def place(image: Image, path: str) -> str:
    """Return where a file of an image stands in its build context."""
    return path if image.dockerfile else f"{ROOT}{path}"
