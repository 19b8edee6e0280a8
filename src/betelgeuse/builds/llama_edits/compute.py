"""How the next token is found, and where the model's threads meet."""

from typing import Final

from betelgeuse.builds.llama_edits.edit import Edit

EDITS: Final = (
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
