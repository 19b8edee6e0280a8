"""OpenAI's protocol as llama-server speaks it: what each field may hold, as JSON Schema with words for people.

Fields that nobody here knows are let through, since clients send new ones. `null` means that a field is not there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .parts import (
    BIAS,
    BOOL,
    FLAT_TOOL,
    FORMAT,
    INNER,
    INPUT,
    INT32,
    JSON_SCHEMA,
    MESSAGE,
    MESSAGES,
    OBJECT,
    PROMPT,
    SHORT_TEXT,
    STOP,
    TOKEN,
    TOOL,
    TOOL_CHOICE,
    TOOLS,
    WORD,
    Schema,
    fields,
    listed,
    number,
    one_of,
    text,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Api:
    """What one host serves: paths, and what its model server was started with."""

    paths: tuple[str, ...]
    server: str
    """Where all pods of the model server are found, ready or not: http://HOST:PORT."""
    slots: int = 1
    """Answers that are written at a time."""
    context: int = 4096
    """Tokens of one conversation."""
    dimensions: int = 0
    """Numbers of a vector."""
    places: int = 0
    """Requests that the gateway lets through at a time, shared among clients; 0: not shared."""
    sessions: str = ""
    """Where to ask whether a session lives, http://HOST[:PORT], for a host that people sign in at; empty: an API."""


_INNERS: Final = (
    "chat_format",
    "chat_parser",
    "generation_prompt",
    "grammar_lazy",
    "grammar_triggers",
    "grammar_type",
    "message_delimiters",
    "parse_tool_calls",
    "preserved_tokens",
)
_UNIT: Final = number(0, 1)
_WIDE: Final = number(-1e4, 1e4)


def _writing(api: Api) -> dict[str, Schema]:
    """Return what every way to have text written knows: how tokens are chosen, and when they end."""
    memory = whole(-1, api.context, f"a whole number from -1 to {api.context}, the tokens of a conversation")
    limit = whole(-1, INT32)
    return {
        **dict.fromkeys(_INNERS, INNER),
        "model": text(256),
        "stream": BOOL,
        "stream_options": fields("an object", {"include_usage": BOOL}),
        "max_tokens": limit,
        "max_completion_tokens": limit,
        "n_predict": limit,
        "n": whole(1, api.slots, f"a whole number from 1 to {api.slots}, the answers written at a time"),
        "n_cmpl": whole(1, api.slots, f"a whole number from 1 to {api.slots}, the answers written at a time"),
        "stop": STOP,
        "temperature": number(0, 1000),
        "dynatemp_range": _WIDE,
        "dynatemp_exponent": _WIDE,
        "top_p": _UNIT,
        "min_p": _UNIT,
        "typical_p": _UNIT,
        "top_n_sigma": _WIDE,
        "xtc_probability": _UNIT,
        "xtc_threshold": _UNIT,
        "adaptive_target": number(-1e6, 1),
        "adaptive_decay": number(0, 0.99),
        "top_k": whole(-1, INT32),
        "min_keep": whole(0, api.context),
        "seed": whole(-1, 2**32 - 1),
        "frequency_penalty": number(-2, 2),
        "presence_penalty": number(-2, 2),
        "repeat_penalty": number(0, 100),
        "repeat_last_n": memory,
        "dry_multiplier": number(0, 100),
        "dry_base": number(0, 100),
        "dry_allowed_length": whole(0, api.context),
        "dry_penalty_last_n": memory,
        "dry_sequence_breakers": listed(SHORT_TEXT, 64, f"a list of 1 to 64 texts of at most {WORD} characters", 1),
        "mirostat": whole(0, 2),
        "mirostat_tau": number(0, 1000),
        "mirostat_eta": number(0, 1000),
        "samplers": {
            "anyOf": [
                {"type": ["string", "null"], "maxLength": 32},
                {"type": "array", "items": SHORT_TEXT, "maxItems": 32},
            ],
            "description": "text of at most 32 characters, or a list of at most 32 names",
        },
        "logit_bias": {
            "anyOf": [
                {"type": ["object", "null"], "additionalProperties": BIAS, "maxProperties": 1024},
                {
                    "type": "array",
                    "maxItems": 1024,
                    "items": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "prefixItems": [{"anyOf": [SHORT_TEXT, TOKEN]}, BIAS],
                    },
                },
            ],
            "description": "at most 1024 tokens, each with a number or false",
        },
        "n_probs": whole(0, 100),
        "n_keep": whole(-1, INT32),
        "n_discard": whole(0, INT32),
        "n_indent": whole(0, WORD),
        "n_cache_reuse": whole(0, INT32),
        "id_slot": whole(-1, api.slots - 1),
        "t_max_predict_ms": whole(-1, INT32),
        "sse_ping_interval": whole(-1, INT32),
        "grammar": text(65_536),
        "json_schema": JSON_SCHEMA,
        "lora": listed(OBJECT, 16, "a list of at most 16 objects"),
        "response_fields": listed(SHORT_TEXT, 64, "a list of at most 64 texts"),
        "reasoning_budget_tokens": whole(-1, INT32),
        "thinking_budget_tokens": whole(-1, INT32),
        "reasoning_budget_message": text(WORD),
        **dict.fromkeys(
            (
                "backend_sampling",
                "cache_prompt",
                "echo",
                "ignore_eos",
                "post_sampling_probs",
                "reasoning_control",
                "return_progress",
                "return_tokens",
                "timings_per_token",
                "verbose",
            ),
            BOOL,
        ),
    }


def _chat(api: Api) -> Schema:
    return {
        **_writing(api),
        "messages": {
            "type": "array",
            "items": MESSAGE,
            "minItems": 1,
            "maxItems": MESSAGES,
            "description": f"a list of 1 to {MESSAGES} messages",
        },
        "tools": listed(TOOL, TOOLS, f"a list of at most {TOOLS} tools"),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": BOOL,
        "response_format": FORMAT,
        "logprobs": BOOL,
        "top_logprobs": whole(0, 20),
        "reasoning_effort": text(32),
        "reasoning_format": one_of("none", "auto", "deepseek", "deepseek-legacy"),
        "chat_template_kwargs": OBJECT,
        "add_generation_prompt": BOOL,
    }


def _completion(api: Api) -> Schema:
    return {
        **_writing(api),
        "prompt": PROMPT,
        "logprobs": whole(0, 100),
        "suffix": {"not": {}, "description": "left out: nothing is inserted"},
        "best_of": {"not": {}, "description": "left out: of several answers none is chosen"},
        "echo": {"enum": [False, None], "description": "false: the prompt is not repeated"},
    }


def _response(api: Api) -> Schema:
    return {
        **_writing(api),
        "input": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MESSAGES},
            ],
            "description": f"text, or a list of 1 to {MESSAGES} objects",
        },
        "instructions": text(),
        "max_output_tokens": whole(-1, INT32),
        "previous_response_id": {"type": "null", "description": "left out: no answer is kept"},
        "tools": listed(FLAT_TOOL, TOOLS, f"a list of at most {TOOLS} tools of type function with a name"),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": BOOL,
        "reasoning": OBJECT,
        "text": OBJECT,
    }


def _embedding(api: Api) -> Schema:
    return {
        "model": text(256),
        "input": INPUT,
        "encoding_format": one_of("float", "base64"),
        "embd_normalize": whole(-1, 32),
        "dimensions": whole(api.dimensions, api.dimensions, f"{api.dimensions}, which all vectors of this model have"),
    }


def schemas(api: Api) -> dict[str, Schema]:
    """Return the schemas of an API's requests, by path."""
    known: dict[str, tuple[Schema, Sequence[str]]] = {
        "/v1/chat/completions": (_chat(api), ["messages"]),
        "/v1/completions": (_completion(api), ["prompt"]),
        "/v1/responses": (_response(api), ["input"]),
        "/v1/embeddings": (_embedding(api), ["input"]),
    }
    return {
        path: {"type": "object", "properties": known[path][0], "required": known[path][1], "description": "an object"}
        for path in api.paths
    }
