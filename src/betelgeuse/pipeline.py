"""Run named tasks that need each other, a few side by side; what is listed first begins first."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from betelgeuse import shell
from betelgeuse.errors import UsageError
from betelgeuse.progress import say

WORKERS: Final = 3
"""Compilers use every core by themselves; the others fill their download and link pauses: with two workers a core was
idle a seventh of the time."""


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


class _Run:
    """One run over a checked plan."""

    def __init__(self, tasks: Sequence[Task], workers: int) -> None:
        self.waiting = list(tasks)
        self.workers = workers
        self.done: set[str] = set()
        self.running: dict[Future[object], Task] = {}
        self.failure: BaseException | None = None

    def start(self, pool: ThreadPoolExecutor) -> None:
        """Begin what is ready, as far as workers are free and nothing has failed."""
        for task in [task for task in self.waiting if self.done.issuperset(task.needs)]:
            if self.failure is not None or len(self.running) >= self.workers:
                return
            self.waiting.remove(task)
            self.running[pool.submit(task.work)] = task

    def collect(self) -> None:
        """Wait for the next end; the first failure stops the programs of the others."""
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        for future in finished:
            task = self.running.pop(future)
            error = future.exception()
            if error is None:
                self.done.add(task.name)
            elif self.failure is None:
                self.failure = error
                if self.running:
                    others = ", ".join(other.name for other in self.running.values())
                    say(f"{task.name} failed; stopping {others}")
                    shell.stop_all()


def run(tasks: Sequence[Task], workers: int = WORKERS) -> None:
    """Run the tasks; the first failure stops the others and is raised.

    An interrupt ends the programs the tasks started, so that nothing goes on behind the prompt.
    """
    check(tasks)
    state = _Run(tasks, workers)
    with ThreadPoolExecutor(workers, thread_name_prefix="task") as pool:
        try:
            state.start(pool)
            while state.running:
                state.collect()
                state.start(pool)
        except BaseException:
            shell.stop_all()
            raise
    if state.failure is not None:
        raise state.failure
