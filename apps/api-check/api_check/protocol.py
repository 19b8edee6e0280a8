"""OpenAI's protocol as llama-server speaks it: what each field may hold, as JSON Schema with words for people.

Fields that nobody here knows are let through, since clients send new ones. `null` means that a field is not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]

INT32: Final = 2**31 - 1
WORD: Final = 1024
"""Characters of a name or a stop word."""
MESSAGES: Final = 4096
TOOLS: Final = 128
TEXTS: Final = 2048
"""Inputs of one request for embeddings, as OpenAI's own limit."""
TOKENS: Final = 65_536
"""Token numbers of one input."""
REPETITIONS: Final = 2000
"""Of one rule of a grammar: llama.cpp's own limit, which it answers with 500."""


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


def whole(low: int, high: int, words: str = "") -> Schema:
    """Return the schema of a whole number."""
    said = words or f"a whole number from {low} to {high}"
    return {"type": ["integer", "null"], "minimum": low, "maximum": high, "description": said}


def number(low: float, high: float) -> Schema:
    """Return the schema of a number."""
    return {
        "type": ["number", "null"],
        "minimum": low,
        "maximum": high,
        "description": f"a number from {low:g} to {high:g}",
    }


def text(longest: int = 0) -> Schema:
    """Return the schema of a text."""
    limit = {"maxLength": longest} if longest else {}
    said = f"text of at most {longest} characters" if longest else "text"
    return {"type": ["string", "null"], **limit, "description": said}


def one_of(*names: str) -> Schema:
    """Return the schema of a word out of a list."""
    return {"enum": [*names, None], "description": f"one of {', '.join(names)}"}


def listed(items: Schema, most: int, words: str, least: int = 0) -> Schema:
    """Return the schema of a list."""
    return {"type": ["array", "null"], "items": items, "minItems": least, "maxItems": most, "description": words}


def fields(words: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    """Return the schema of an object, whose other fields are anything."""
    return {
        "type": ["object", "null"],
        "properties": dict(properties),
        "required": list(required),
        "description": words,
    }


_BOOL: Final[Schema] = {"type": ["boolean", "null"], "description": "true or false"}
_OBJECT: Final[Schema] = {"type": ["object", "null"], "description": "an object"}
_INNER: Final[Schema] = {"not": {}, "description": "left out: it is the server's own"}
_WORD: Final[Schema] = {"type": "string", "maxLength": WORD, "description": f"text of at most {WORD} characters"}
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 256, "description": "a name"}
_TOKEN: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": INT32, "description": "the number of a token"}
_BIAS: Final[Schema] = {"type": ["number", "boolean"], "minimum": -1e6, "maximum": 1e6}
_SCHEMA: Final[Schema] = {"type": ["object", "boolean", "null"], "description": "a JSON schema"}

_STOP: Final[Schema] = {
    "anyOf": [
        # An empty word is found at once, and would end every answer before it begins.
        {"type": ["string", "null"], "minLength": 1, "maxLength": WORD},
        {"type": "array", "items": {**_WORD, "minLength": 1}, "maxItems": 16},
    ],
    "description": f"text, or a list of at most 16 texts, of 1 to {WORD} characters each; leave it out for none",
}
_TOOL_CHOICE: Final[Schema] = {
    "anyOf": [{"enum": ["none", "auto", "required", None]}, {"type": "object"}],
    "description": "none, auto, required, or an object that names a function",
}
_CONTENT: Final[Schema] = {
    "anyOf": [
        {"type": ["string", "null"]},
        {
            "type": "array",
            "maxItems": MESSAGES,
            "items": {
                "type": "object",
                "properties": {"type": _NAME, "text": {"type": "string"}},
                "required": ["type"],
            },
        },
    ],
    "description": "text, or a list of parts that have a type",
}
_CALL: Final = fields(
    "a call that has a function with name and arguments",
    {"function": fields("a function with name and arguments", {"name": _NAME, "arguments": text()}, "name")},
    "function",
)
_MESSAGE: Final[Schema] = {
    "type": "object",
    "properties": {
        "role": {
            "enum": ["system", "developer", "user", "assistant", "tool", "function"],
            "description": "one of system, developer, user, assistant, tool, function",
        },
        "content": _CONTENT,
        "name": text(256),
        "reasoning_content": text(),
        "tool_calls": listed(_CALL, TOOLS, f"a list of at most {TOOLS} calls"),
        "tool_call_id": text(256),
    },
    "required": ["role"],
    "description": "an object with role and content",
}
_FUNCTION: Final[Schema] = {
    "type": "object",
    "properties": {"name": _NAME, "description": text(), "parameters": _SCHEMA, "strict": _BOOL},
    "required": ["name"],
    "description": "an object with a name",
}
_TOOL: Final[Schema] = {
    "type": "object",
    "properties": {"type": {"const": "function", "description": "function"}, "function": _FUNCTION},
    "required": ["type", "function"],
    "description": 'an object with type "function" and a function',
}
_FLAT_TOOL: Final[Schema] = {
    **_FUNCTION,
    "properties": {**_FUNCTION["properties"], "type": _TOOL["properties"]["type"]},
}
_FORMAT: Final = fields(
    "an object with a type",
    {
        "type": one_of("text", "json_object", "json_schema"),
        "json_schema": fields("an object with a schema", {"schema": _SCHEMA, "name": text(256)}),
        "schema": _SCHEMA,
    },
)
_PROMPT: Final[Schema] = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": _TOKEN},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": TEXTS,
            "items": {"anyOf": [{"type": "string"}, {"type": "array", "maxItems": TOKENS, "items": _TOKEN}]},
        },
    ],
    "description": f"text, a list of at most {TEXTS} texts, or a list of token numbers",
}
_INPUT: Final[Schema] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": _TOKEN},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": TEXTS,
            "items": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": _TOKEN},
                ]
            },
        },
    ],
    "description": f"a text that is not empty, a list of 1 to {TEXTS} of them, or lists of token numbers",
}
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
        **dict.fromkeys(_INNERS, _INNER),
        "model": text(256),
        "stream": _BOOL,
        "stream_options": fields("an object", {"include_usage": _BOOL}),
        "max_tokens": limit,
        "max_completion_tokens": limit,
        "n_predict": limit,
        "n": whole(1, api.slots, f"a whole number from 1 to {api.slots}, the answers written at a time"),
        "n_cmpl": whole(1, api.slots, f"a whole number from 1 to {api.slots}, the answers written at a time"),
        "stop": _STOP,
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
        "dry_sequence_breakers": listed(_WORD, 64, f"a list of 1 to 64 texts of at most {WORD} characters", 1),
        "mirostat": whole(0, 2),
        "mirostat_tau": number(0, 1000),
        "mirostat_eta": number(0, 1000),
        "samplers": {
            "anyOf": [
                {"type": ["string", "null"], "maxLength": 32},
                {"type": "array", "items": _WORD, "maxItems": 32},
            ],
            "description": "text of at most 32 characters, or a list of at most 32 names",
        },
        "logit_bias": {
            "anyOf": [
                {"type": ["object", "null"], "additionalProperties": _BIAS, "maxProperties": 1024},
                {
                    "type": "array",
                    "maxItems": 1024,
                    "items": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "prefixItems": [{"anyOf": [_WORD, _TOKEN]}, _BIAS],
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
        "json_schema": _SCHEMA,
        "lora": listed(_OBJECT, 16, "a list of at most 16 objects"),
        "response_fields": listed(_WORD, 64, "a list of at most 64 texts"),
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
            _BOOL,
        ),
    }


def _chat(api: Api) -> Schema:
    return {
        **_writing(api),
        "messages": {
            "type": "array",
            "items": _MESSAGE,
            "minItems": 1,
            "maxItems": MESSAGES,
            "description": f"a list of 1 to {MESSAGES} messages",
        },
        "tools": listed(_TOOL, TOOLS, f"a list of at most {TOOLS} tools"),
        "tool_choice": _TOOL_CHOICE,
        "parallel_tool_calls": _BOOL,
        "response_format": _FORMAT,
        "logprobs": _BOOL,
        "top_logprobs": whole(0, 20),
        "reasoning_effort": text(32),
        "reasoning_format": one_of("none", "auto", "deepseek", "deepseek-legacy"),
        "chat_template_kwargs": _OBJECT,
        "add_generation_prompt": _BOOL,
    }


def _completion(api: Api) -> Schema:
    return {
        **_writing(api),
        "prompt": _PROMPT,
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
        "tools": listed(_FLAT_TOOL, TOOLS, f"a list of at most {TOOLS} tools of type function with a name"),
        "tool_choice": _TOOL_CHOICE,
        "parallel_tool_calls": _BOOL,
        "reasoning": _OBJECT,
        "text": _OBJECT,
    }


def _embedding(api: Api) -> Schema:
    return {
        "model": text(256),
        "input": _INPUT,
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
