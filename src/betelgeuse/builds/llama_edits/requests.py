"""What a request may be, and in which order and batches prompts and texts are read."""

from typing import Final

from betelgeuse.builds.llama_edits.edit import Edit

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
)
