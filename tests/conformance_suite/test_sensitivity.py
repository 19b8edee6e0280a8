"""The edge checks hold on a good platform, and each fault turns exactly its promises red."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from conformance import timeouts
from tests.conformance_suite.conftest import Build
from tests.conformance_suite.runner import run

_FAST = timeouts.Timeouts(connect=1.0, silence=0.03, renewal=1.0, reaction=0.2, poll=0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less: the model platform is in this process."""
    for name in ("site", "verdict", "probes.k8s", "tls.test_renewal", "workloads.test_ready", "ai.test_completions"):
        monkeypatch.setattr(f"conformance.{name}.TIMEOUTS", _FAST)


def test_good_platform_keeps_every_promise(build: Build) -> None:
    """Good platform keeps every promise."""
    outcomes = list(run(build(), "tls", "routing", "auth", "ai"))

    assert [f"{outcome.promise}[{outcome.subject}] {outcome.fault}" for outcome in outcomes if outcome.fault] == []
    assert len({outcome.promise for outcome in outcomes}) > 40


@dataclass(frozen=True)
class Fault:
    """A fault of the model platform, the families run, and the promises that must break: these and no other."""

    id: str
    families: tuple[str, ...]
    promises: frozenset[str]


def _fault(name: str, *promises: str) -> Fault:
    """Read `family/file: test, test` lines."""
    broken = set()
    families = []
    for line in promises:
        file, _, tests = line.partition(": ")
        families.append(file.partition("/")[0])
        folder, _, stem = file.partition("/")
        broken |= {f"{folder}/test_{stem}.py::test_{test}" for test in tests.split(", ")}
    return Fault(name, tuple(dict.fromkeys(families)), frozenset(broken))


_LEAK = "no_sni_gets_no_app_certificate, unknown_sni_gets_no_app_certificate, foreign_sni_gets_no_app_certificate"
_SHUT = "auth/anonymous_is_refused: "
_OPEN = "every_path_and_method_is_refused, anonymous_is_refused, near_miss_is_refused, key_of_another_host_is_refused"
_ANSWERS = "answers_are_sensible, usage_is_counted, same_question_same_answer, tokens_are_streamed"
_MORE = "two_callers_are_served_together, overlong_prompt_is_refused, models_are_listed"
_CROSS = "host_of_another_application_is_not_reached, default_listener_does_not_reach_applications"
_UNKNOWN = "unknown_host_gets_404, unknown_host_on_a_known_connection_gets_404"

FAULTS: Sequence[Fault] = (
    _fault("self-signed", "tls/certificates: chain_verifies_to_the_ca"),
    _fault("expired", "tls/certificates: chain_verifies_to_the_ca, certificate_is_valid_now"),
    _fault("wrong-name", "tls/certificates: certificate_names_the_host"),
    _fault("wildcard", f"tls/certificates: app_certificate_is_its_own, {_LEAK}"),
    _fault(
        "app-certificate-for-all",
        f"tls/certificates: certificate_names_the_host, app_certificate_is_its_own, {_LEAK}",
    ),
    _fault("tls1.0", "tls/protocols: old_protocols_are_refused, weak_ciphers_are_refused"),
    _fault("weak-ciphers", "tls/protocols: weak_ciphers_are_refused"),
    _fault("no-tls1.3", "tls/protocols: tls13_is_spoken"),
    _fault("no-hsts", "tls/redirects: https_sends_hsts"),
    _fault("redirect-301", "tls/redirects: http_redirects_to_https, redirect_keeps_the_method"),
    _fault("redirect-loses-query", "tls/redirects: http_redirects_to_https"),
    _fault("open-redirect", "tls/redirects: http_redirects_to_https"),
    _fault("renewal-never", "tls/renewal: renewed_certificate_is_served"),
    _fault("renewal-outage", "tls/renewal: no_request_fails_during_a_renewal"),
    _fault("renewal-without-redirect", "tls/renewal: redirect_holds_during_a_renewal"),
    _fault(
        "default-app", f"routing/unknown_host: {_UNKNOWN}, {_CROSS}", "routing/smuggling: ambiguous_request_is_refused"
    ),
    _fault("cross-host", f"routing/unknown_host: {_CROSS}"),
    _fault("route-removed", "routing/hosts: host_answers_its_application", f"ai/completions: {_ANSWERS}, {_MORE}"),
    _fault("normalises-after-gate", "routing/paths: path_tricks_do_not_pass_the_gate"),
    _fault("metrics-public", "routing/paths: inner_pages_are_not_public", _SHUT + "every_path_and_method_is_refused"),
    _fault("unknown-path-200", "routing/paths: unknown_path_gets_404", _SHUT + "every_path_and_method_is_refused"),
    _fault("smuggling", "routing/smuggling: ambiguous_request_is_refused"),
    _fault("cr-passes", "routing/smuggling: bare_cr_is_not_passed_on"),
    _fault("no-auth", f"{_SHUT}{_OPEN}, key_in_the_query_is_refused"),
    _fault("post-unguarded", f"{_SHUT}{_OPEN}, key_in_the_query_is_refused"),
    _fault("health-checker-passes", _SHUT + "anonymous_is_refused"),
    _fault("any-apps-key", _SHUT + "key_of_another_host_is_refused"),
    _fault("identity-headers", "auth/identity_headers: identity_header_is_stripped"),
    _fault("underscores-pass", "auth/identity_headers: identity_header_is_stripped"),
    _fault("key-prefix", _SHUT + "near_miss_is_refused"),
    _fault(
        "app-down",
        "routing/hosts: host_answers_its_application",
        f"ai/completions: {_ANSWERS}, {_MORE}, bad_request_is_refused",
    ),
    _fault("llm-nonsense", "ai/completions: answers_are_sensible"),
    _fault("llm-random", "ai/completions: same_question_same_answer"),
    _fault("llm-usage", "ai/completions: usage_is_counted"),
    _fault("llm-no-done", "ai/completions: tokens_are_streamed"),
    _fault("llm-one-piece", "ai/completions: tokens_are_streamed, two_callers_are_served_together"),
    _fault("llm-serial", "ai/completions: two_callers_are_served_together"),
    _fault("llm-500", "ai/completions: bad_request_is_refused"),
    _fault("llm-long-500", "ai/completions: overlong_prompt_is_refused"),
    _fault("embed-empty-500", "ai/embeddings: bad_input_is_refused"),
    _fault(
        "embed-swapped",
        "ai/embeddings: batch_equals_single_requests, related_is_nearer_than_unrelated, order_of_a_large_batch_is_kept",
    ),
    _fault("embed-constant", "ai/embeddings: related_is_nearer_than_unrelated, order_of_a_large_batch_is_kept"),
    _fault(
        "embed-size",
        "ai/embeddings: vectors_have_one_dimension_and_unit_length, related_is_nearer_than_unrelated",
    ),
    _fault("embed-length", "ai/embeddings: vectors_have_one_dimension_and_unit_length"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_fault_breaks_exactly_its_promises(build: Build, fault: Fault) -> None:
    """Fault breaks exactly its promises."""
    outcomes = list(run(build(fault.id), *fault.families))

    broken = {outcome.promise for outcome in outcomes if outcome.fault}
    assert broken == fault.promises
