"""What is changed in llama.cpp's source, and why; images/llama-server/README.md tells what it brought."""

from dataclasses import dataclass
from typing import Final


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
        old="        std::cv_status cr_res = condition_results.wait_for(lock, std::chrono::seconds(timeout));\n",
        new="""        // all of a reader's tasks were given the same
        const auto none = waiting_task_ids.end();
        const auto found = id_tasks.empty() ? none : waiting_task_ids.find(*id_tasks.begin());
        const auto reader = found == none ? nullptr : found->second;
        std::cv_status cr_res = (reader ? reader->news : condition_results).wait_until(lock, deadline);
""",
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
        old="""worker.stop || !worker.yielding) {
                break;
            }
            if (!queue_tasks.empty()) {
                continue; // a new task arrived in the meantime
            }
            condition_tasks.wait(lock, [&]{
                return worker.stop || !running || !worker.yielding || !queue_tasks.empty();
            });
""",
        new="""worker.stop || !worker.yielding || queue_tasks.empty()) {
                break;
            }
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="        worker.yielding = false;\n        condition_tasks.notify_all();\n",
        new="        worker.yielding = false;\n",
    ),
    # A result is told to its reader alone, once the lock is free: upstream wakes all readers, each of which then waits
    # for the lock that the teller still holds.
    Edit(
        file="tools/server/server-queue.h",
        old="    std::unordered_set<int> waiting_task_ids;\n",
        new="""    struct reader_t {
        std::condition_variable news;
        std::chrono::steady_clock::time_point told;
    };
    std::unordered_map<int, std::shared_ptr<reader_t>> waiting_task_ids;
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="    waiting_task_ids.insert(id_task);\n}",
        new="    waiting_task_ids[id_task] = std::make_shared<reader_t>();\n}",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""    std::unique_lock<std::mutex> lock(mutex_results);

    for (const auto & id_task : id_tasks) {
        RES_DBG("add""",
        new="""    const auto reader = std::make_shared<reader_t>();
    std::unique_lock<std::mutex> lock(mutex_results);

    for (const auto & id_task : id_tasks) {
        RES_DBG("add""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="        waiting_task_ids.insert(id_task);\n    }",
        new="        waiting_task_ids[id_task] = reader;\n    }",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""    for (const auto & id_task : waiting_task_ids) {
        if (result->id == id_task) {
            RES_DBG("task id = %d pushed to result queue\\n", result->id);

            queue_results.emplace_back(std::move(result));
            condition_results.notify_all();
            return;
        }
    }
""",
        new="""    const auto found = waiting_task_ids.find(result->id);
    if (found != waiting_task_ids.end()) {
        const auto reader = found->second;
        const auto now = std::chrono::steady_clock::now();
        const auto * piece = dynamic_cast<server_task_result_cmpl_partial *>(result.get());
        const bool urgent = !piece || piece->n_decoded <= 1 || now - reader->told >= stream_interval();
        queue_results.emplace_back(std::move(result));
        if (urgent) {
            reader->told = now;
            lock.unlock();
            reader->news.notify_all();
            condition_results.notify_all();
        }
    }
""",
    ),
    Edit(
        file="tools/server/server-queue.cpp",
        old="""    for (const auto & id_task : waiting_task_ids) {
        RES_DBG("task id = %d pushed""",
        new="""    for (const auto & [id_task, reader] : waiting_task_ids) {
        reader->news.notify_all();
        RES_DBG("task id = %d pushed""",
    ),
    # A streamed answer's reader is told of the first token and of the end at once, and of what lies between only every
    # so many ms: a message stops the cores on its whole way (docs/performance.md). What has come by then is one message.
    Edit(
        file="tools/server/server-queue.cpp",
        old="void server_response::send(server_task_result_ptr && result) {\n",
        new="""static std::chrono::milliseconds stream_interval() {
    static const char * said = std::getenv("LLAMA_STREAM_INTERVAL_MS");
    static const std::chrono::milliseconds interval(said ? std::atoi(said) : 0);
    return interval;
}

bool server_response::has(const std::unordered_set<int> & id_tasks) {
    std::unique_lock<std::mutex> lock(mutex_results);
    return std::any_of(queue_results.begin(), queue_results.end(), [&](const server_task_result_ptr & result) {
        return id_tasks.count(result->id) > 0;
    });
}

void server_response::send(server_task_result_ptr && result) {
""",
    ),
    Edit(
        file="tools/server/server-queue.h",
        old="    // Send a new result to a waiting id_task\n",
        new="""    // Whether there is a result of one of the tasks
    bool has(const std::unordered_set<int> & id_tasks);

    // Send a new result to a waiting id_task
""",
    ),
    Edit(
        file="tools/server/server-context.cpp",
        old="        res->set_next([res_this = res.get(), res_type, sse_ping_interval](std::string & output) -> bool {\n",
        new="        auto next = [res_this = res.get(), res_type, sse_ping_interval](std::string & output) -> bool {\n",
    ),
    Edit(
        file="tools/server/server-context.cpp",
        old="""                output = format_error(res_type, error_json);

                // terminate on exception
                return false;
            }
        });
""",
        new="""                output = format_error(res_type, error_json);

                // terminate on exception
                return false;
            }
        };
        res->set_next([res_this = res.get(), next](std::string & output) {
            bool more = next(output);
            for (auto & rd = res_this->rd; more && (!rd.has_next() || rd.queue_results.has(rd.id_tasks));) {
                std::string piece;
                more = next(piece);
                output += piece;
            }
            return more;
        });
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
