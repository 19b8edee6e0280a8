// Prints a line for each promise of top-k.h that does not hold; nothing when all do.
#include "top-k.h"

#include <cstdio>
#include <limits>
#include <random>

static void expect(bool holds, const char * promise) {
    if (!holds) {
        std::printf("%s\n", promise);
    }
}

static bool higher(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit;
}

// The k highest of all logits, and of the candidates.
static bool same(const std::vector<float> & logits, int k) {
    std::vector<llama_token_data> all, found;
    for (int id = 0; id < (int) logits.size(); ++id) {
        all.push_back({ id, logits[id], 0.0f });
    }
    if (!top_k_candidates(logits.data(), (int) logits.size(), k, found) || found.size() < (size_t) k) {
        return false;
    }
    for (const auto & one : found) {
        if (logits[one.id] != one.logit) {
            return false;
        }
    }
    std::stable_sort(all.begin(), all.end(), higher);
    std::stable_sort(found.begin(), found.end(), higher);
    return std::equal(all.begin(), all.begin() + k, found.begin(),
        [](const llama_token_data & a, const llama_token_data & b) { return a.id == b.id && a.logit == b.logit; });
}

int main() {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (const int size : { 64 * 320, 64 * 320 + 1, 64 * 400 + 63 }) {
        for (const int k : { 1, 2, 40 }) {
            std::vector<float> logits(size);
            for (auto & logit : logits) {
                logit = normal(random);
            }
            expect(same(logits, k), "random logits");
            logits.back() = 100.0f;
            expect(same(logits, k), "the highest is the last token");
            std::fill_n(logits.begin() + 640, 64, 50.0f);
            expect(same(logits, k), "all that are equal, in one block");
            std::fill(logits.begin(), logits.end(), -infinity);
            logits[size / 2] = 1.0f;
            expect(same(logits, k), "all but one are impossible");
            std::fill(logits.begin(), logits.end(), 2.0f);
            expect(same(logits, k), "all are equal");
        }
    }
    std::vector<llama_token_data> found;
    std::vector<float> logits(64 * 320, 1.0f);
    expect(!top_k_candidates(logits.data(), (int) logits.size(), 0, found), "no top-k");
    expect(!top_k_candidates(logits.data(), (int) logits.size(), 41, found), "too few tokens for such a k");
    std::fill_n(logits.begin(), 64, std::nanf(""));
    expect(!top_k_candidates(logits.data(), (int) logits.size(), 40, found), "a block without a number");

    const llama_vocab plain{ 0 }, suppressing{ 1 };
    const auto first = [&](auto change) {
        common_params_sampling params;
        change(params);
        return top_k_is_first(params, &plain);
    };
    expect(first([](auto &) {}), "the defaults begin with top-k");
    expect(!top_k_is_first(common_params_sampling{}, &suppressing), "suppressed tokens");
    expect(!first([](auto & params) { params.mirostat = 2; }), "mirostat");
    expect(!first([](auto & params) { params.logit_bias = { 1 }; }), "a bias");
    expect(!first([](auto & params) { params.penalty_repeat = 1.1f; }), "a penalty for repeating");
    expect(!first([](auto & params) { params.penalty_freq = 0.1f; }), "a penalty for frequency");
    expect(!first([](auto & params) { params.penalty_present = 0.1f; }), "a penalty for presence");
    expect(!first([](auto & params) { params.dry_multiplier = 0.8f; }), "dry");
    expect(!first([](auto & params) { params.top_n_sigma = 1.0f; }), "top-n-sigma");
    expect(!first([](auto & params) { params.samplers = { COMMON_SAMPLER_TYPE_TEMPERATURE }; }), "no top-k");
    expect(!first([](auto & params) {
        params.samplers = { COMMON_SAMPLER_TYPE_TEMPERATURE, COMMON_SAMPLER_TYPE_TOP_K };
    }), "top-k comes later");
    expect(!first([](auto & params) { params.samplers.clear(); }), "no sampler");
    return 0;
}
