"""What an environment's own kustomization lists, read without building it."""

import os
from typing import Final

import yaml

from betelgeuse import paths

KUSTOMIZATION: Final = "kustomization.yaml"


def components(env: str) -> set[str]:
    """Return the components that an overlay lists, as it names them; an unreadable overlay lists none."""
    try:
        content = yaml.safe_load((paths.OVERLAYS / env / KUSTOMIZATION).read_text("utf-8"))
        entries = [str(entry) for entry in content.get("components") or ()]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError):
        # What is wrong with it is the render's to say.
        return set()
    return {os.path.normpath(entry) for entry in entries}
