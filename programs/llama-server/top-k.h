// Added to llama.cpp's common/ by betelgeuse.builds.llama: the tokens that a top-k sampler can keep, found in one pass
// over the logits. Upstream writes a candidate for every token of the vocabulary (3 MiB for 262,144 tokens) and sorts
// them, on one thread, while the others wait.
#pragma once

#include "common.h"
#include "llama.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

// Whether top-k is the first sampler that does anything: the tokens it drops then matter to nobody.
static bool top_k_is_first(const common_params_sampling & params, const llama_vocab * vocab) {
    int32_t n_suppressed = 0;
    llama_vocab_get_suppress_tokens(vocab, &n_suppressed);
    if (params.mirostat != 0 || !params.logit_bias.empty() || n_suppressed > 0) {
        return false;
    }
    for (const auto sampler : params.samplers) {
        switch (sampler) {
            case COMMON_SAMPLER_TYPE_PENALTIES:
                if (params.penalty_repeat != 1.0f || params.penalty_freq != 0.0f || params.penalty_present != 0.0f) {
                    return false;
                }
                break;
            case COMMON_SAMPLER_TYPE_DRY:
                if (params.dry_multiplier != 0.0f) {
                    return false;
                }
                break;
            case COMMON_SAMPLER_TYPE_TOP_N_SIGMA:
                if (params.top_n_sigma > 0.0f) {
                    return false;
                }
                break;
            default:
                return sampler == COMMON_SAMPLER_TYPE_TOP_K;
        }
    }
    return false;
}

// Fill `found` with every token whose logit is among the `k` highest, and a few more, in the order of their ids. False
// when that would take as long as sorting all of them, or when there are logits that are no numbers: then `found` says nothing.
//
// The highest logit of each block of 64: the k-th highest of these is a bound that at least k tokens reach.
static bool top_k_candidates(const float * logits, int n_vocab, int k, std::vector<llama_token_data> & found) {
    typedef float vec __attribute__((vector_size(16))); // GCC's and Clang's, on any processor
    constexpr int block = 64;
    constexpr int lanes = 4; // four vectors at a time, independent of each other
    constexpr int step = lanes * sizeof(vec) / sizeof(float);
    const int n_blocks = n_vocab / block;
    if (k <= 0 || n_blocks < 8 * k) {
        return false;
    }

    std::vector<float> highest(n_blocks);
    for (int b = 0; b < n_blocks; ++b) {
        vec most[lanes];
        std::memcpy(most, logits + b * block, sizeof(most));
        for (int i = step; i < block; i += step) {
            vec next[lanes];
            std::memcpy(next, logits + b * block + i, sizeof(next));
            for (int lane = 0; lane < lanes; ++lane) {
                most[lane] = most[lane] < next[lane] ? next[lane] : most[lane];
            }
        }
        for (int lane = 1; lane < lanes; ++lane) {
            most[0] = most[0] < most[lane] ? most[lane] : most[0];
        }
        highest[b] = std::max({ most[0][0], most[0][1], most[0][2], most[0][3] });
        if (std::isnan(highest[b])) {
            return false;
        }
    }
    std::vector<float> sorted(highest);
    std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<float>());
    const float bound = sorted[k - 1];

    found.clear();
    const auto add = [&](int begin, int end) {
        for (int id = begin; id < end; ++id) {
            if (logits[id] >= bound) {
                found.push_back({ id, logits[id], 0.0f });
            }
        }
    };
    for (int b = 0; b < n_blocks; ++b) {
        if (highest[b] >= bound) {
            add(b * block, (b + 1) * block);
        }
    }
    add(n_blocks * block, n_vocab);
    return true;
}
