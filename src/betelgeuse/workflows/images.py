"""Build what the embedded cluster runs, without starting it."""

from betelgeuse import render, selection, system
from betelgeuse.clusters.local import target
from betelgeuse.pipeline import run
from betelgeuse.progress import out
from betelgeuse.settings import LOCAL


def build(profile: str = "") -> None:
    """Build every image of a profile that the store lacks, then print what each build took in seconds."""
    selected = selection.select(LOCAL, profile)
    system.install()
    target.prepare_tree()
    run(target.build_tasks(target.needed_images(render.render(LOCAL, selected.name))))
    rows = target.build_report()
    total = sum(seconds for _, seconds in rows)
    for name, seconds in rows:
        out(f"{seconds:8.1f} s  {seconds / total:6.1%}  {name}")
    out(f"{total:8.1f} s  in all, one after the other")
