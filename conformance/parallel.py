"""Many small waits at once: probes spend their time on the network, so threads are enough."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def gather(work: Callable[[_T], _R], items: Iterable[_T], workers: int = 8) -> list[_R]:
    """Do the work for every item and return the results in the items' order."""
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="probe") as pool:
        return list(pool.map(work, items))
