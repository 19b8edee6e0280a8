"""Run named tasks that need each other, a few side by side: the longest chains are begun first by being listed first."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from betelgeuse import shell
from betelgeuse.errors import UsageError
from betelgeuse.progress import say

WORKERS: Final = 2
"""Compilers use every core by themselves; a second task fills their download and link pauses."""


@dataclass(frozen=True)
class Task:
    """One piece of work and the names of those that must be done before it."""

    name: str
    work: Callable[[], object]
    needs: tuple[str, ...] = ()


def check(tasks: Sequence[Task]) -> None:
    """Refuse unknown needs, double names and cycles before anything runs."""
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        message = f"task {next(name for name in names if names.count(name) > 1)!r} is listed twice"
        raise UsageError(message)
    done: set[str] = set()
    rest = list(tasks)
    while rest:
        ready = [task for task in rest if done.issuperset(task.needs)]
        if not ready:
            stuck = rest[0]
            message = f"task {stuck.name!r} needs {sorted(set(stuck.needs) - done)}: unknown, or they need each other"
            raise UsageError(message)
        done.update(task.name for task in ready)
        rest = [task for task in rest if task not in ready]


def run(tasks: Sequence[Task], workers: int = WORKERS) -> None:
    """Run the tasks; the first failure stops what has not begun, waits for what has, and is raised.

    An interrupt ends the programs the tasks started, so that nothing goes on behind the prompt.
    """
    check(tasks)
    waiting = list(tasks)
    done: set[str] = set()
    running: dict[Future[object], Task] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="task") as pool:
        try:
            while waiting or running:
                for task in [task for task in waiting if done.issuperset(task.needs)]:
                    if failure is not None or len(running) >= workers:
                        break
                    waiting.remove(task)
                    running[pool.submit(task.work)] = task
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    task = running.pop(future)
                    if (error := future.exception()) is None:
                        done.add(task.name)
                    elif failure is None:
                        failure = error
                        if running:
                            say(f"{task.name} failed; waiting for {', '.join(t.name for t in running.values())} to stop")
                            shell.stop_all()
        except BaseException:
            shell.stop_all()
            raise
    if failure is not None:
        raise failure


