"""The edge checks hold on a good platform, and each fault turns exactly its promises red."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from conformance import timeouts
from loadtests.measure import FIRST_TOKEN, Slo
from tests.conformance_suite.conftest import Build
from tests.conformance_suite.models import IN_VAIN
from tests.conformance_suite.runner import run

_FAST = timeouts.Timeouts(connect=1.0, silence=0.03, renewal=1.0, session_end=0.3, reaction=0.2, poll=0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less: the model platform is in this process."""
    for name in (
        "site",
        "verdict",
        "probes.k8s",
        "tls.test_renewal",
        "workloads.test_ready",
        "ai.test_completions",
        "ai.test_protocol",
        "auth.test_sessions",
    ):
        monkeypatch.setattr(f"conformance.{name}.TIMEOUTS", _FAST)
    monkeypatch.setattr("conformance.ai.test_overload._STAY", 0.2)
    monkeypatch.setattr("conformance.ai.test_overload._SLO", Slo({FIRST_TOKEN: 0.8}, 0.95))
    monkeypatch.setattr("conformance.ai.test_completions._IN_A_ROW", IN_VAIN)
    monkeypatch.setattr("conformance.ai.test_embeddings._RUSH", 0.1)
    monkeypatch.setattr("conformance.ai.test_protocol._FEW", 12)
    monkeypatch.setattr("conformance.ai.test_protocol._PATIENCE", 0.3)
    monkeypatch.setattr("conformance.auth.test_tokens._SKEW", 0.06)
    monkeypatch.setattr("conformance.auth.test_rate_limit._SECONDS", 0.5)
    monkeypatch.setattr("conformance.auth.test_rate_limit._LAXITY", -0.4)


def test_good_platform_keeps_every_promise(build: Build) -> None:
    """Good platform keeps every promise; test_plugin.py shows the same for the families that are not run here."""
    outcomes = list(run(build(), "tls", "routing", "ai"))

    assert [f"{outcome.promise}[{outcome.subject}] {outcome.fault}" for outcome in outcomes if outcome.fault] == []
    assert len({outcome.promise for outcome in outcomes}) > 35


@dataclass(frozen=True)
class Fault:
    """A fault of the model platform, the families run, and the promises that must break: these and no other."""

    id: str
    families: tuple[str, ...]
    promises: frozenset[str]


_HANDSHAKES: Final = ("tls/certificates", "tls/protocols", "tls/redirects")
_TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(_HANDSHAKES, _HANDSHAKES),
    "ai/protocol": ("ai/protocol",),
}
"""Files run together instead of their whole folder: a renewal takes its time, and is not what they are about."""


def _fault(name: str, *promises: str) -> Fault:
    """Read `family/file: test, test` lines."""
    broken = set()
    families: list[str] = []
    for line in promises:
        file, _, tests = line.partition(": ")
        folder, _, stem = file.partition("/")
        # Of the many files about who may pass, those the fault is about: each of them takes a while, and so does
        # waiting for second answers.
        families += [file] if folder == "auth" or stem == "smuggling" else _TOGETHER.get(file, (folder,))
        broken |= {f"{folder}/test_{stem}.py::test_{test}" for test in tests.split(", ")}
    return Fault(name, tuple(dict.fromkeys(families)), frozenset(broken))


_LEAK = "no_sni_gets_no_app_certificate, unknown_sni_gets_no_app_certificate, foreign_sni_gets_no_app_certificate"
_SHUT = "auth/anonymous_is_refused: "
_OPEN = "every_path_and_method_is_refused, anonymous_is_refused"
_TOKENS = "auth/tokens: "
_FORGED = _TOKENS + "forged_token_is_refused"
_ALL_TOKENS = (
    f"{_FORGED}, token_elsewhere_is_refused, two_credentials_are_refused, token_of_another_realm_is_refused, "
    "expired_token_is_refused, token_of_the_future_is_refused, token_of_a_page_opens_no_api"
)
_LOGIN, _SESSIONS, _ROLES = "auth/login: ", "auth/sessions: ", "auth/roles: "
_PROVIDER, _REALM, _RATE = "auth/identity_provider: ", "auth/realm: ", "auth/rate_limit: "
_BESIDE = "ai/protocol: fatal_requests_harm_nobody"
_PROTOCOL = "ai/protocol: fatal_requests_harm_nobody, made_up_texts_harm_nobody"
_ANSWERS = "answers_are_sensible, usage_is_counted, same_question_same_answer, tokens_are_streamed"
_MORE = (
    "two_callers_are_served_together, one_stream_follows_another, stop_word_is_no_other_end, "
    "overlong_prompt_is_refused, too_wide_a_choice_harms_nobody, models_are_listed"
)
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
    _fault(
        "route-removed",
        "routing/hosts: host_answers_its_application",
        f"ai/completions: {_ANSWERS}, {_MORE}",
        _PROTOCOL,
        "ai/models: one_model_is_shown",
        "ai/overload: overload_is_told, who_leaves_makes_room",
    ),
    _fault("normalises-after-gate", "routing/paths: path_tricks_do_not_pass_the_gate"),
    _fault("metrics-public", "routing/paths: inner_pages_are_not_public"),
    _fault("head-404", "routing/hosts: head_is_get_without_a_body"),
    _fault("no-metrics", "ai/metrics: llm_has_metrics_inside, embeddings_has_metrics_inside"),
    _fault("unknown-path-200", "routing/paths: unknown_path_gets_404", "auth/refusals: refusal_by_a_model_says_why"),
    _fault("silent-refusals", "auth/refusals: refusal_by_a_model_says_why", "ai/models: one_model_is_shown"),
    _fault("no-model", "ai/models: one_model_is_shown"),
    _fault("one-word", "ai/overload: overload_is_told"),
    _fault(
        "unchecked",
        f"{_PROTOCOL}, misfit_is_named, made_up_inputs_harm_nobody",
    ),
    _fault("llm-stop-replaces", "ai/completions: stop_word_is_no_other_end"),
    _fault("bearer-case", _TOKENS + "scheme_s_case_does_not_matter"),
    _fault("smuggling", "routing/smuggling: ambiguous_request_is_refused"),
    _fault("cr-passes", "routing/smuggling: bare_cr_is_not_passed_on"),
    _fault(
        "no-auth",
        f"{_SHUT}{_OPEN}, upgrade_is_refused",
        _ALL_TOKENS,
        f"{_ROLES}anonymous_stays_outside, token_for_another_api_is_refused, session_of_a_page_opens_no_other_host",
    ),
    _fault("post-unguarded", f"{_SHUT}{_OPEN}"),
    _fault("health-checker-passes", _SHUT + "anonymous_is_refused"),
    _fault("websocket-open", _SHUT + "anonymous_is_refused, upgrade_is_refused"),
    _fault("any-password", f"{_SHUT}{_OPEN}, upgrade_is_refused, wrong_password_is_refused"),
    _fault("identity-headers", "auth/identity_headers: identity_header_is_stripped"),
    _fault("underscores-pass", "auth/identity_headers: identity_header_is_stripped"),
    _fault(
        "forged-address",
        "auth/addresses: log_keeps_the_connections_address, application_sees_no_forged_address",
    ),
    _fault("addresses-pass", "auth/addresses: application_sees_no_forged_address"),
    _fault("jwt-none", _FORGED),
    _fault("jwt-hs", _FORGED),
    _fault("jwt-jwk", _FORGED),
    _fault("jwt-unsigned", _FORGED),
    _fault("jwt-500", _FORGED),
    _fault("jwt-redirect", _ALL_TOKENS),
    _fault(
        "jwt-any-audience",
        _TOKENS + "token_of_a_page_opens_no_api",
        _ROLES + "token_for_another_api_is_refused",
    ),
    _fault("jwt-any-issuer", _TOKENS + "token_of_another_realm_is_refused"),
    _fault("jwt-no-expiry", _TOKENS + "expired_token_is_refused"),
    _fault("jwt-no-nbf", _TOKENS + "token_of_the_future_is_refused"),
    _fault("jwt-query", _TOKENS + "token_elsewhere_is_refused"),
    _fault("first-credential", _TOKENS + "two_credentials_are_refused"),
    _fault("any-group", _ROLES + "outsider_is_told_so"),
    _fault("loop", _ROLES + "outsider_is_told_so"),
    _fault(
        "no-oidc",
        f"{_SHUT}{_OPEN}, upgrade_is_refused",
        _ROLES + "anonymous_stays_outside, right_caller_comes_in, outsider_is_told_so",
        f"{_LOGIN}anonymous_is_sent_to_the_login_page, login_page_asks_for_a_password, "
        "program_is_told_instead_of_redirected, session_cookies_are_protected, session_is_short, "
        "every_login_is_a_new_session",
    ),
    _fault("gate-without-pkce pkce-optional", _LOGIN + "anonymous_is_sent_to_the_login_page"),
    _fault("framed-login", _LOGIN + "login_page_asks_for_a_password"),
    _fault("quiet-redirect", _LOGIN + "program_is_told_instead_of_redirected"),
    _fault("loose-cookies", _LOGIN + "session_cookies_are_protected"),
    _fault("plain-cookies", _LOGIN + "session_cookies_tell_nothing"),
    _fault("every-group", _LOGIN + "session_cookies_fit_into_a_browser"),
    _fault("long-session", _LOGIN + "session_is_short"),
    _fault(
        "hmac-unchecked",
        _SESSIONS + "bent_cookie_is_refused, cookies_of_two_people_do_not_mix, longer_session_cannot_be_written",
    ),
    _fault("refresh-lives ended-lives", _SESSIONS + "lost_session_opens_nothing, ended_session_is_not_renewed"),
    _fault("ended-lives", _SESSIONS + "lost_session_opens_nothing"),
    _fault("logout-keeps-session", _SESSIONS + "logout_ends_the_session, lost_session_opens_nothing"),
    _fault("logout-keeps-cookies", _SESSIONS + "logout_ends_the_session"),
    _fault("logout-stays", _SESSIONS + "logout_ends_the_session, lost_session_opens_nothing"),
    _fault("state-unchecked", _SESSIONS + "callback_of_another_browser_is_refused, bent_state_is_refused"),
    _fault("callback-500", _SESSIONS + "callback_out_of_nowhere_is_refused"),
    _fault("code-reuse", _SESSIONS + "code_is_good_once"),
    _fault("master-at-edge", _PROVIDER + "other_realms_stay_inside"),
    _fault("admin-for-all", _PROVIDER + "realm_is_administered_by_its_own_people"),
    _fault("issuer-follows-host", _PROVIDER + "issuer_does_not_follow_the_caller"),
    _fault("password-grant", _REALM + "password_is_no_grant"),
    _fault("redirect-prefix", _REALM + "redirect_must_be_exact"),
    _fault("pkce-optional", _REALM + "improper_login_is_refused"),
    _fault("verifier-unchecked", _REALM + "code_needs_its_verifier"),
    _fault("no-brute-force", _REALM + "guessing_locks_the_account"),
    _fault("tells-users", _REALM + "wrong_password_tells_nothing"),
    _fault(
        "no-limit",
        _RATE + "hasty_client_is_slowed_down, calm_client_goes_on, other_name_does_not_help",
    ),
    _fault("one-limit", _RATE + "calm_client_goes_on"),
    _fault("limit-by-header", _RATE + "other_name_does_not_help"),
    _fault("no-retry-after", _RATE + "hasty_client_is_slowed_down"),
    _fault("grudge", _RATE + "hasty_client_is_forgiven"),
    _fault("portal-forgets", "portal/browser: person_sees_every_service"),
    _fault("no-sign-out", "portal/browser: logout_leads_to_the_login_again"),
    _fault(
        "app-down",
        "routing/hosts: host_answers_its_application",
        f"ai/completions: {_ANSWERS}, {_MORE}, bad_request_is_refused",
        _PROTOCOL,
        "ai/models: one_model_is_shown",
        "ai/overload: overload_is_told, who_leaves_makes_room",
    ),
    _fault("llm-nonsense", "ai/completions: answers_are_sensible"),
    _fault("llm-odd", "ai/completions: answers_are_sensible, models_are_listed"),
    _fault("llm-random", "ai/completions: same_question_same_answer"),
    _fault("llm-usage", "ai/completions: usage_is_counted"),
    # A stream beside other requests has an end to be seen, too.
    _fault("llm-no-done", "ai/completions: tokens_are_streamed", _BESIDE),
    _fault(
        "llm-one-piece",
        "ai/completions: tokens_are_streamed, two_callers_are_served_together",
        "ai/overload: who_leaves_makes_room",  # a hung-up connection shows when something is written to it
        _BESIDE,
    ),
    _fault(
        "llm-serial",
        "ai/completions: two_callers_are_served_together",
        "ai/overload: who_leaves_makes_room",  # for whoever comes beside one that stays
    ),
    _fault("llm-endless", "ai/overload: overload_is_told"),
    _fault("llm-crowded", "ai/overload: overload_is_told"),
    _fault("llm-overload-silent", "ai/overload: overload_is_told"),
    _fault("llm-writes-on", "ai/overload: who_leaves_makes_room", _BESIDE),
    _fault("llm-finishes-for-nobody", "ai/overload: who_leaves_makes_room"),
    _fault("llm-wide-500", "ai/completions: too_wide_a_choice_harms_nobody"),
    _fault("llm-wide-cuts", "ai/completions: too_wide_a_choice_harms_nobody"),
    _fault("llm-wide-restarts", "ai/completions: too_wide_a_choice_harms_nobody"),
    _fault("llm-loses-some", "ai/completions: one_stream_follows_another"),
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
    _fault("embed-forgets", "ai/embeddings: nobody_is_forgotten"),
    _fault("embed-length", "ai/embeddings: vectors_have_one_dimension_and_unit_length"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_fault_breaks_exactly_its_promises(build: Build, fault: Fault) -> None:
    """Fault breaks exactly its promises."""

    def broken() -> set[str]:
        return {outcome.promise for outcome in run(build(*fault.id.split()), *fault.families) if outcome.fault}

    found = broken()
    if others := found - fault.promises:
        # A promise of seconds breaks by a stall of the machine, too: the fault's are those that break again.
        found -= others - broken()
    assert found == fault.promises
