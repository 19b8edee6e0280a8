// What programs/llama-server/top-k.h uses of llama.cpp's interface, as of b11434.
#pragma once

#include <cstdint>

typedef int32_t llama_token;
struct llama_token_data {
    llama_token id;
    float logit;
    float p;
};
struct llama_vocab {
    int32_t n_suppressed;
};

inline const llama_token * llama_vocab_get_suppress_tokens(const llama_vocab * vocab, int32_t * n) {
    *n = vocab->n_suppressed;
    return nullptr;
}
