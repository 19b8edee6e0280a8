"""Scenarios: what is asked, as data in scenarios/*.json, checked when it is read, and the requests made of it."""

import difflib
import hashlib
import json
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from loadtests import words
from loadtests.measure import END_TO_END, FIRST_TOKEN, NORMALIZED, PER_TOKEN, Slo

FOLDER: Final = Path(__file__).resolve().parent / "scenarios"
DEFAULTS: Final = {"llm": "chat", "embeddings": "batch"}
"""The scenario of a target when none is named."""

_KINDS: Final = {"llm": "chat", "embeddings": "embeddings"}
_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    "constant": ("value",),
    "uniform": ("least", "most"),
    "lognormal": ("median", "sigma", "least", "most"),
}
_COMMON: Final = ("kind", "about", "words_per_token", "slo")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": (*_COMMON, "cache", "prefix_words", "prompt_words", "answer_tokens", "whole_answers"),
    "embeddings": (*_COMMON, "batch_texts", "text_words"),
}
_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": (FIRST_TOKEN, PER_TOKEN, NORMALIZED, END_TO_END),
    "embeddings": (END_TO_END,),
}
# Numbers of requests are spread over this many, so that the first words of cold prompts differ.
_NUMBERS: Final = 1 << 48


class InputError(ValueError):
    """The input is wrong; the message says what, where and what to do."""


def near(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` when something known is spelled alike, else what there is."""
    known = sorted(known)
    found = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}"


@dataclass(frozen=True)
class Lengths:
    """How long things are: whole numbers of at least 1."""

    shape: str
    parts: Mapping[str, float]

    def draw(self, draw: random.Random) -> int:
        """Return one length."""
        parts = self.parts
        if self.shape == "constant":
            return int(parts["value"])
        if self.shape == "uniform":
            return draw.randint(int(parts["least"]), int(parts["most"]))
        # A lognormal of this median: exp(mu) is the median. What is outside is cut, not drawn again.
        value = parts["median"] * draw.lognormvariate(0.0, parts["sigma"])
        return round(min(max(value, parts["least"]), parts["most"]))


@dataclass(frozen=True)
class Scenario:
    """What a target is asked."""

    name: str
    kind: str
    about: str
    words_per_token: float
    """Assumed, to state lengths in tokens before a server counts them (English: about 3/4)."""
    slo: Slo
    lengths: Mapping[str, Lengths]
    warm: bool = False
    """Chat: all prompts share a prefix that the server's prompt cache can hold."""
    prefix_words: int = 0
    whole_answers: bool = False
    """Chat: the model is told to go on to the last token asked for (`ignore_eos`, known to llama.cpp and vLLM)."""

    def request(self, seed: int, stream: str, number: int) -> dict[str, Any]:
        """Return the body of one request: the same for the same seed, stream (a user) and number."""
        name = f"{seed}/{self.name}/{stream}/{number}"
        draw = random.Random(name)  # noqa: S311 - no secret
        # A digest and no draw: two requests of a run must not begin alike.
        own = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) % _NUMBERS
        return self._chat(seed, draw, own) if self.kind == "chat" else self._embeddings(draw, own)

    def _chat(self, seed: int, draw: random.Random, own: int) -> dict[str, Any]:
        count = self.lengths["prompt_words"].draw(draw)
        messages = [{"role": "user", "content": words.text(draw, count, words.spelled(own))}]
        if self.prefix_words:
            shared = random.Random(f"{seed}/{self.name}/prefix") if self.warm else draw  # noqa: S311 - no secret
            opening = "" if self.warm else words.spelled(own)
            messages.insert(0, {"role": "system", "content": words.text(shared, self.prefix_words, opening)})
        body: dict[str, Any] = {
            "messages": messages,
            "max_tokens": self.lengths["answer_tokens"].draw(draw),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return body | ({"ignore_eos": True} if self.whole_answers else {})

    def _embeddings(self, draw: random.Random, own: int) -> dict[str, Any]:
        count = self.lengths["batch_texts"].draw(draw)
        lengths = [self.lengths["text_words"].draw(draw) for _ in range(count)]
        return {"input": [words.text(draw, length, words.spelled(own + at)) for at, length in enumerate(lengths)]}


class _Reader:
    """The checks of one file; each failure names the file and the place."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, text: str) -> NoReturn:
        message = f"{self.where}: {text}"
        raise InputError(message) from None

    def table(self, value: object, at: str, known: Collection[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(f"{at or 'file'}: expected an object, got {value!r}")
        for key in value:
            if key not in known:
                self.fail(f"{f'{at}.' if at else ''}{key}: unknown key{near(key, known)}")
        return value

    def number(self, table: Mapping[str, Any], at: str, key: str, least: float, most: float = float("inf")) -> float:
        name = f"{at}.{key}" if at else key
        if key not in table:
            self.fail(f"{name}: is missing")
        value = table[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            bound = f"at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
            self.fail(f"{name}: expected a number {bound}, got {value!r}")
        return value

    def choice(self, table: Mapping[str, Any], key: str, known: Collection[str]) -> str:
        value = table.get(key)
        if not isinstance(value, str) or value not in known:
            self.fail(f"{key}: expected one of {', '.join(known)}, got {value!r}")
        return value

    def lengths(self, table: Mapping[str, Any], key: str) -> Lengths:
        if key not in table:
            self.fail(f"{key}: is missing")
        parts = self.table(table[key], key, {"distribution", *(part for shape in _SHAPES.values() for part in shape)})
        shape = parts.get("distribution")
        if not isinstance(shape, str) or shape not in _SHAPES:
            self.fail(f"{key}.distribution: expected one of {', '.join(_SHAPES)}, got {shape!r}")
        self.table(parts, key, ("distribution", *_SHAPES[shape]))
        found = {part: self.number(parts, key, part, 0 if part == "sigma" else 1) for part in _SHAPES[shape]}
        if found.get("most", 0) < found.get("least", 0):
            self.fail(f"{key}.most: expected at least {key}.least, {found['least']:g}, got {found['most']:g}")
        return Lengths(shape, found)

    def slo(self, table: Mapping[str, Any], kind: str) -> Slo:
        limits = self.table(table.get("slo"), "slo", ("share", *_LIMITS[kind]))
        found = {key: self.number(limits, "slo", key, 0) for key in limits if key != "share"}
        if not found:
            self.fail(f"slo: expected a limit on {' or '.join(_LIMITS[kind])}")
        return Slo(found, self.number(limits, "slo", "share", 0, 1))


def parse(name: str, where: str, text: str) -> Scenario:
    """Return the scenario that a text describes; InputError names the place that is wrong."""
    read = _Reader(where)
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        read.fail(f"line {error.lineno}: not JSON ({error.msg})")
    table = read.table(loaded, "", {key for keys in _KEYS.values() for key in keys})
    kind = read.choice(table, "kind", _KEYS)
    read.table(table, "", _KEYS[kind])
    found = Scenario(
        name=name,
        kind=kind,
        about=str(table.get("about", "")),
        words_per_token=read.number(table, "", "words_per_token", 0.1, 2.0),
        slo=read.slo(table, kind),
        lengths={key: read.lengths(table, key) for key in _KEYS[kind] if key in _MEASURES},
    )
    if kind == "embeddings":
        return found
    prefix = read.number(table, "", "prefix_words", 0)
    warm = read.choice(table, "cache", ("warm", "cold")) == "warm"
    if warm and not prefix:
        read.fail("prefix_words: expected at least 1 where the cache is warm, got 0")
    if not isinstance(whole := table.get("whole_answers", False), bool):
        read.fail(f"whole_answers: expected true or false, got {whole!r}")
    return Scenario(**{**vars(found), "warm": warm, "prefix_words": int(prefix), "whole_answers": whole})


_MEASURES: Final = ("prompt_words", "answer_tokens", "batch_texts", "text_words")


def load(target: str, name: str = "", folder: Path = FOLDER) -> Scenario:
    """Return a scenario of the folder, or a file of one's own (`….json`), that suits the target; else InputError."""
    name = name or DEFAULTS[target]
    own = name.endswith(".json")
    path = Path(name) if own else folder / f"{name}.json"
    if own and not path.is_file():
        message = f"--scenario: there is no file {name}"
        raise InputError(message)
    if not path.is_file():
        message = f"no scenario {name!r}{near(name, (each.stem for each in folder.glob('*.json')))}"
        raise InputError(message)
    found = parse(path.stem, name if own else f"scenarios/{path.name}", path.read_text("utf-8"))
    if found.kind != _KINDS[target]:
        message = f"scenario {name} is of kind {found.kind}, the target {target} needs one of kind {_KINDS[target]}"
        raise InputError(message)
    return found
