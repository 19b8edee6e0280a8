"""Dashboards that components of the tree describe."""

from collections.abc import Iterable
from typing import Final

from betelgeuse.kube import Obj

LABEL: Final = "betelgeuse.io/dashboard"
"""By which the program beside the server of dashboards finds them (apps/dashboards)."""


def dashboards(objects: Iterable[Obj]) -> list[Obj]:
    """Return the ConfigMaps that describe one."""
    return [obj for obj in objects if obj["kind"] == "ConfigMap" and LABEL in (obj["metadata"].get("labels") or {})]
