"""How tasks and results reach the threads that wait for them."""

from typing import Final

from betelgeuse.builds.llama_edits.edit import Edit

EDITS: Final = (
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
    # so many ms: a message stops the cores on its whole way (docs/performance.md). What has come by then goes together.
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
        old="        res->set_next([res_this = res.get(), res_type, sse_ping_interval]",
        new="        auto next = [res_this = res.get(), res_type, sse_ping_interval]",
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
)
