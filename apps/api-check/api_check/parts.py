"""Parts of the protocol: schemas with words for people, of which fields and messages are made."""

from collections.abc import Mapping
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


BOOL: Final[Schema] = {"type": ["boolean", "null"], "description": "true or false"}
OBJECT: Final[Schema] = {"type": ["object", "null"], "description": "an object"}
INNER: Final[Schema] = {"not": {}, "description": "left out: it is the server's own"}
SHORT_TEXT: Final[Schema] = {"type": "string", "maxLength": WORD, "description": f"text of at most {WORD} characters"}
NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 256, "description": "a name"}
TOKEN: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": INT32, "description": "the number of a token"}
BIAS: Final[Schema] = {"type": ["number", "boolean"], "minimum": -1e6, "maximum": 1e6}
JSON_SCHEMA: Final[Schema] = {"type": ["object", "boolean", "null"], "description": "a JSON schema"}

STOP: Final[Schema] = {
    "anyOf": [
        # An empty word is found at once, and would end every answer before it begins.
        {"type": ["string", "null"], "minLength": 1, "maxLength": WORD},
        {"type": "array", "items": {**SHORT_TEXT, "minLength": 1}, "maxItems": 16},
    ],
    "description": f"text, or a list of at most 16 texts, of 1 to {WORD} characters each; leave it out for none",
}
TOOL_CHOICE: Final[Schema] = {
    "anyOf": [{"enum": ["none", "auto", "required", None]}, {"type": "object"}],
    "description": "none, auto, required, or an object that names a function",
}
CONTENT: Final[Schema] = {
    "anyOf": [
        {"type": ["string", "null"]},
        {
            "type": "array",
            "maxItems": MESSAGES,
            "items": {
                "type": "object",
                "properties": {"type": NAME, "text": {"type": "string"}},
                "required": ["type"],
            },
        },
    ],
    "description": "text, or a list of parts that have a type",
}
CALL: Final = fields(
    "a call that has a function with name and arguments",
    {"function": fields("a function with name and arguments", {"name": NAME, "arguments": text()}, "name")},
    "function",
)
MESSAGE: Final[Schema] = {
    "type": "object",
    "properties": {
        "role": {
            "enum": ["system", "developer", "user", "assistant", "tool", "function"],
            "description": "one of system, developer, user, assistant, tool, function",
        },
        "content": CONTENT,
        "name": text(256),
        "reasoning_content": text(),
        "tool_calls": listed(CALL, TOOLS, f"a list of at most {TOOLS} calls"),
        "tool_call_id": text(256),
    },
    "required": ["role"],
    "description": "an object with role and content",
}
FUNCTION: Final[Schema] = {
    "type": "object",
    "properties": {"name": NAME, "description": text(), "parameters": JSON_SCHEMA, "strict": BOOL},
    "required": ["name"],
    "description": "an object with a name",
}
TOOL: Final[Schema] = {
    "type": "object",
    "properties": {"type": {"const": "function", "description": "function"}, "function": FUNCTION},
    "required": ["type", "function"],
    "description": 'an object with type "function" and a function',
}
FLAT_TOOL: Final[Schema] = {
    **FUNCTION,
    "properties": {**FUNCTION["properties"], "type": TOOL["properties"]["type"]},
}
FORMAT: Final = fields(
    "an object with a type",
    {
        "type": one_of("text", "json_object", "json_schema"),
        "json_schema": fields("an object with a schema", {"schema": JSON_SCHEMA, "name": text(256)}),
        "schema": JSON_SCHEMA,
    },
)
PROMPT: Final[Schema] = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": TOKEN},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": TEXTS,
            "items": {"anyOf": [{"type": "string"}, {"type": "array", "maxItems": TOKENS, "items": TOKEN}]},
        },
    ],
    "description": f"text, a list of at most {TEXTS} texts, or a list of token numbers",
}
INPUT: Final[Schema] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": TOKEN},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": TEXTS,
            "items": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "minItems": 1, "maxItems": TOKENS, "items": TOKEN},
                ]
            },
        },
    ],
    "description": f"a text that is not empty, a list of 1 to {TEXTS} of them, or lists of token numbers",
}
