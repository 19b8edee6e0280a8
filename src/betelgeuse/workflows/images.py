"""Build what the embedded cluster runs, without starting it."""

from betelgeuse import system
from betelgeuse.builds import images
from betelgeuse.clusters.local import target
from betelgeuse.pipeline import run
from betelgeuse.progress import out


def build() -> None:
    """Build every image the store lacks, then print what each build took in seconds."""
    system.install()
    run(target.build_tasks(target.needed_images()))
    rows = target.build_report()
    total = sum(seconds for _, seconds in rows)
    for name, seconds in rows:
        out(f"{seconds:8.1f} s  {seconds / total:6.1%}  {name}")
    out(f"{total:8.1f} s  in all, one after the other")


def build_one(name: str) -> None:
    """Build one image and print where its archive is, and what the embedded cluster calls it."""
    image = images.named(name)
    system.install()
    run(target.build_tasks([image]))
    out(f"{images.archive(image)}  {images.reference(image)}")
