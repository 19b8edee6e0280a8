// What programs/llama-server/top-k.h uses of llama.cpp's common/common.h, with its defaults, as of b11434.
#pragma once

#include <cstdint>
#include <vector>

enum common_sampler_type {
    COMMON_SAMPLER_TYPE_DRY,
    COMMON_SAMPLER_TYPE_TOP_K,
    COMMON_SAMPLER_TYPE_TOP_N_SIGMA,
    COMMON_SAMPLER_TYPE_TEMPERATURE,
    COMMON_SAMPLER_TYPE_PENALTIES,
};
struct common_params_sampling {
    int32_t mirostat = 0;
    float penalty_repeat = 1.0f;
    float penalty_freq = 0.0f;
    float penalty_present = 0.0f;
    float dry_multiplier = 0.0f;
    float top_n_sigma = -1.0f;
    std::vector<int> logit_bias;
    std::vector<common_sampler_type> samplers = {
        COMMON_SAMPLER_TYPE_PENALTIES, COMMON_SAMPLER_TYPE_DRY, COMMON_SAMPLER_TYPE_TOP_N_SIGMA,
        COMMON_SAMPLER_TYPE_TOP_K, COMMON_SAMPLER_TYPE_TEMPERATURE,
    };
};
