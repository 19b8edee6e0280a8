"""Scenarios are data: read strictly, and the same seed asks the same."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from loadtests import scenario
from loadtests.scenario import FOLDER, InputError, Lengths, Scenario, load, parse
from loadtests.words import WORDS

CHAT: dict[str, Any] = json.loads((FOLDER / "chat.json").read_text("utf-8"))
BATCH: dict[str, Any] = json.loads((FOLDER / "batch.json").read_text("utf-8"))
LENGTHS = {"distribution": "uniform", "least": 2, "most": 9}


def read(table: object) -> Scenario:
    """A scenario of a table."""
    return parse("x", "scenarios/x.json", json.dumps(table))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_scenario_reads(path: Path) -> None:
    """And says what it is about."""
    assert parse(path.stem, path.name, path.read_text("utf-8")).about


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "file: expected an object, got []"),
        (CHAT | {"promt_words": 1}, "promt_words: unknown key; did you mean 'prompt_words'?"),
        (CHAT | {"batch_texts": LENGTHS}, "batch_texts: unknown key"),
        (CHAT | {"kind": "speech"}, "kind: expected one of chat, embeddings, got 'speech'"),
        (CHAT | {"kind": ["chat"]}, "kind: expected one of chat, embeddings, got ['chat']"),
        (CHAT | {"cache": "hot"}, "cache: expected one of warm, cold, got 'hot'"),
        (CHAT | {"prefix_words": 0}, "prefix_words: expected at least 1 where the cache is warm, got 0"),
        (CHAT | {"prefix_words": True}, "prefix_words: expected a number at least 0, got True"),
        (CHAT | {"whole_answers": 1}, "whole_answers: expected true or false, got 1"),
        (CHAT | {"words_per_token": 9}, "words_per_token: expected a number from 0.1 to 2, got 9"),
        (CHAT | {"prompt_words": 3}, "prompt_words: expected an object, got 3"),
        (CHAT | {"prompt_words": LENGTHS | {"most": 1}}, "prompt_words.most: expected at least prompt_words.least, 2"),
        (CHAT | {"prompt_words": LENGTHS | {"median": 1}}, "prompt_words.median: unknown key"),
        (CHAT | {"prompt_words": {"distribution": "normal"}}, "prompt_words.distribution: expected one of constant,"),
        (CHAT | {"prompt_words": {"distribution": "constant"}}, "prompt_words.value: is missing"),
        (CHAT | {"slo": {"share": 0.9}}, "slo: expected a limit on time to first token or"),
        (CHAT | {"slo": {"end to end": 1}}, "slo.share: is missing"),
        (CHAT | {"slo": {"end to end": "1", "share": 1}}, "slo.end to end: expected a number at least 0, got '1'"),
        (CHAT | {"slo": {"time to first tokn": 1}}, "slo.time to first tokn: unknown key; did you mean"),
        (CHAT | {"slo": {"end to end": 1, "share": 95}}, "slo.share: expected a number from 0 to 1, got 95"),
        (BATCH | {"text_words": LENGTHS | {"least": 0}}, "text_words.least: expected a number at least 1, got 0"),
        ({key: BATCH[key] for key in BATCH if key != "text_words"}, "text_words: is missing"),
    ],
)
def test_a_wrong_scenario_is_told_in_one_line(table: object, words: str) -> None:
    """File, place, what was wanted, what was there."""
    with pytest.raises(InputError) as caught:
        read(table)

    assert str(caught.value).startswith(f"scenarios/x.json: {words}")
    assert "\n" not in str(caught.value)


def test_what_is_not_json_is_told_with_its_line() -> None:
    """An editor can go there."""
    with pytest.raises(InputError, match=r"scenarios/x.json: line 2: not JSON \(Expecting"):
        parse("x", "scenarios/x.json", '{"kind":\n}')


def test_a_scenario_is_found_for_its_target() -> None:
    """By name, or the target's own."""
    assert load("llm").name == "chat"
    assert load("embeddings").kind == "embeddings"
    with pytest.raises(InputError, match=r"no scenario 'chta'; did you mean 'chat'\?"):
        load("llm", "chta")
    with pytest.raises(InputError, match="scenario batch is of kind embeddings, the target llm needs one of kind chat"):
        load("llm", "batch")


@pytest.mark.parametrize("target", ["llm", "embeddings"])
def test_a_seed_asks_the_same(target: str) -> None:
    """Another seed, user or number asks something else."""
    found = load(target)

    assert found.request(1, "0/3", 5) == found.request(1, "0/3", 5)
    others = [found.request(2, "0/3", 5), found.request(1, "1/3", 5), found.request(1, "0/3", 6)]
    assert found.request(1, "0/3", 5) not in others


def prompts(table: dict[str, Any], count: int = 200) -> list[list[str]]:
    """The words that a server's prompt cache would see, request by request."""
    made = [read(table).request(1, "0/0", number)["messages"] for number in range(count)]
    return [" ".join(message["content"] for message in messages).split() for messages in made]


def test_warm_prompts_share_their_prefix() -> None:
    """All of it, and what follows differs."""
    found = prompts(CHAT)

    assert len({tuple(words[:120]) for words in found}) == 1
    assert len({tuple(words[120:124]) for words in found}) == len(found)


@pytest.mark.parametrize("prefix", [0, 120])
def test_cold_prompts_differ_from_their_first_words(prefix: int) -> None:
    """No two share more than a word or three: there is nothing to cache."""
    found = prompts(CHAT | {"cache": "cold", "prefix_words": prefix})

    assert len({tuple(words[:3]) for words in found}) == len(found)


def test_lengths_are_what_was_asked_for() -> None:
    """Words of prompts, tokens of answers, texts of batches."""
    table = CHAT | {"prompt_words": {"distribution": "constant", "value": 17}, "answer_tokens": LENGTHS}
    body = read(table | {"whole_answers": True}).request(1, "0/0", 0)

    assert [len(message["content"].split()) for message in body["messages"]] == [120, 17]
    assert 2 <= body["max_tokens"] <= 9
    assert body["ignore_eos"]
    assert "ignore_eos" not in read(table).request(1, "0/0", 0)
    texts = read(BATCH | {"batch_texts": {"distribution": "constant", "value": 4}}).request(1, "0/0", 0)["input"]
    assert len(texts) == len(set(texts)) == 4


def test_lognormal_has_its_median_and_bounds() -> None:
    """Half are longer; none is outside."""
    lengths = Lengths("lognormal", {"median": 100, "sigma": 0.5, "least": 40, "most": 250})
    draw = random.Random(1)  # noqa: S311 - no secret
    values = sorted(lengths.draw(draw) for _ in range(4000))

    assert values[2000] == pytest.approx(100, rel=0.05)
    assert (values[0], values[-1]) == (40, 250)


def test_prompts_are_ordinary_words() -> None:
    """A tokenizer's usual fare."""
    spoken = {word.strip(".").lower() for words in prompts(CHAT, 5) for word in words}
    assert spoken <= set(WORDS)
    assert len(WORDS) == len(set(WORDS))


def test_help_names_what_there_is() -> None:
    """Where nothing is spelled alike."""
    assert scenario.near("zzz", ["b", "a"]) == "; there are a, b"
