"""The hardware's limit: llama.cpp's own benchmarks, run in the pods that serve."""

import json
from typing import Any, Final

from betelgeuse.kube.command import exec_in
from betelgeuse.settings import Settings
from loadtests.capacity import READ, STREAMS, TEXT, TEXTS, WRITTEN
from loadtests.plan import NAMESPACE

_BENCH: Final = "/usr/local/bin/llama-bench"
_BATCHED: Final = "/usr/local/bin/llama-batched-bench"
_LLM: Final = "/models/llm.gguf"
_EMBEDDINGS: Final = "/models/embeddings.gguf"
_SECONDS: Final = 300.0
_FACTS: Final = ("/proc/cpuinfo", "/proc/meminfo", "/proc/1/status")
"""Of the node, and of the server: the pod's first process."""
_KIB: Final = 1024


def fields(text: str) -> dict[str, list[str]]:
    """Return the values of each name in lines of `name: value`, as /proc has them."""
    found: dict[str, list[str]] = {}
    for name, _, value in (line.partition(":") for line in text.splitlines()):
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _kib(value: str) -> int:
    """Return the number of a value in kB (which are KiB)."""
    return int(value.split(maxsplit=1)[0])


class Benchmarks:
    """Tokens per second of each measure, without the edge."""

    def __init__(self, chosen: Settings) -> None:
        """Measure the models of an environment."""
        self._settings = chosen
        self._served: dict[str, tuple[str, str]] = {}
        """Threads of each server, and how its weights are loaded."""
        self._models: dict[str, str] = {}

    def _exec(self, app: str, *argv: str) -> str:
        return exec_in(self._settings, NAMESPACE, f"deployment/{app}", argv, timeout=_SECONDS)

    def _as_served(self, app: str) -> list[str]:
        """Return the flags for as many threads as the server has, and for weights in the same kind of memory."""
        if app not in self._served:
            threads, loading = self._exec(app, "printenv", "LLAMA_ARG_THREADS", "LLAMA_ARG_LOAD_MODE").split()
            self._served[app] = threads, loading
        threads, loading = self._served[app]
        return ["-t", threads, "-lm", loading]

    def _bench(self, app: str, model: str, *flags: str, times: int = 1) -> float:
        """Return the tokens per second of so many turns together: its own average is one of their rates."""
        argv = [_BENCH, "-m", model, *self._as_served(app), "-r", str(times), "-o", "json", *flags]
        found = json.loads(self._exec(app, *argv))[0]
        self._models[app] = found["model_type"]
        return float((found["n_prompt"] + found["n_gen"]) * 1e9 / found["avg_ns"])

    def facts(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return the node, and of each model that was measured its name, threads and memory at most."""
        node: dict[str, Any] = {}
        models = {}
        for app, model in self._models.items():
            found = fields(self._exec(app, "cat", *_FACTS))
            # The first is the llm's: models may be on nodes of several kinds.
            node = node or {
                "processors": len(found["processor"]),
                "processor": found["model name"][0],
                "memory GiB": _kib(found["MemTotal"][0]) / _KIB**2,
            }
            models[app] = {
                "model": model,
                "threads": int(self._served[app][0]),
                "memory MiB": _kib(found["VmHWM"][0]) / _KIB,
            }
        return node, models

    def decode(self, depth: int) -> float:
        """Return tg128 after as many tokens as a request has: attention to 130 of them costs a fourteenth."""
        return self._bench("llm", _LLM, "-p", "0", "-n", str(WRITTEN), "-d", str(depth))

    def prefill(self) -> float:
        """Return pp512."""
        return self._bench("llm", _LLM, "-p", str(READ), "-n", "0")

    def streams(self) -> float:
        """Return what llama-batched-bench writes for four sequences together."""
        sizes = ["-npp", "128", "-ntg", str(WRITTEN), "-npl", str(STREAMS), "-c", "2048", "--output-format", "jsonl"]
        said = self._exec("llm", _BATCHED, "-m", _LLM, *self._as_served("llm"), *sizes)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return float(rows[-1]["speed_tg"])

    def embeddings(self) -> float:
        """Return how fast the embedding model reads as many texts of 256 tokens in a process of its own."""
        return self._bench("embeddings", _EMBEDDINGS, "-p", str(TEXT), "-n", "0", "-embd", "1", times=TEXTS)
