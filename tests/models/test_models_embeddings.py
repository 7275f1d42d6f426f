"""Word vectors from a file: GloVe's text and Parquet give the same matrix; whatever else is refused."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.models.layers.embeddings import load_embeddings
from pipeline.models.registry import build_model

TOKENS = ["<pad>", "<unk>", "good", "bad", "3.5", "rare"]
VECTORS = {"good": [0.5, -1.0, 2.0], "elsewhere": [9.0, 9.0, 9.0], "bad": [1e-3, 0.25, -0.125], "3.5": [1.0, 2.0, 3.0]}


def write_text(path: Path, vectors: dict[str, list[float]], header: str = "") -> Path:
    lines = "".join(f"{token} {' '.join(map(str, vector))}\n" for token, vector in vectors.items())
    path.write_text(header + lines, encoding="utf-8")
    return path


def write_parquet(path: Path, vectors: dict[str, list[float]], kind: pa.DataType) -> Path:
    pq.write_table(pa.table({"token": list(vectors), "vector": pa.array(list(vectors.values()), kind)}), path)
    return path


def test_text_and_parquet_give_the_same(tmp_path: Path) -> None:
    text = load_embeddings(write_text(tmp_path / "glove.txt", VECTORS), TOKENS)
    assert text.dtype == torch.float32 and text.shape == (6, 3)
    for token in ("good", "bad", "3.5"):
        torch.testing.assert_close(text[TOKENS.index(token)], torch.tensor(VECTORS[token]))
    assert not text[0].any(), "<pad> is zero"
    assert text[1].any() and text[5].any(), "tokens that the file lacks are drawn"
    others = [
        write_text(tmp_path / "fast.vec", VECTORS, header="4 3\n"),
        write_parquet(tmp_path / "one.parquet", VECTORS, pa.list_(pa.float64())),
        write_parquet(tmp_path / "two.parquet", VECTORS, pa.list_(pa.float32(), 3)),
        write_text(tmp_path / "twice.txt", {**VECTORS, "good ": [7.0, 7.0, 7.0]}),
    ]
    for path in others:
        assert torch.equal(load_embeddings(path, TOKENS), text), path.name


def test_a_model_starts_from_them(tmp_path: Path) -> None:
    matrix = load_embeddings(write_text(tmp_path / "glove.txt", VECTORS), TOKENS)
    model = build_model("lstm", {"vocab_size": 6, "num_classes": 2, "embedding_dim": 3})
    model.set_embedding(torch.where(torch.arange(6)[:, None] == 0, 1.0, matrix))
    assert torch.equal(model.embedding.weight, matrix), "<pad> stays zero"
    with pytest.raises(UsageError, match=r"--embedding-dim 4: .* have 3 numbers\. Give 3"):
        build_model("lstm", {"vocab_size": 6, "num_classes": 2, "embedding_dim": 4}).set_embedding(matrix)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\x1f\x8bpacked\n", "line 1: expected a token and its numbers, found 1 fields"),
        ("good 1.0 2.0 3.0\nbad 1.0 2.0\n", "line 2: expected a token and 3 numbers, found 3 fields"),
        ("good 1.0 2.0 3.0\nbad 1.0 2.0 3.0 4.0\n", "line 2: expected a token and 3 numbers, found 5 fields"),
        ("good 1.0 two 3.0\n", "line 1: could not convert"),
        ("good 1.0 nan 3.0\n", "the vector of 'good' holds infinite numbers or NaN"),
        ("good 3e38 -3e38\n", r"numbers are too large to train with, up to 3e\+38"),
        ("other 1.0 2.0 3.0\n", "none of the vocabulary's 4 tokens is in it"),
        ("", "none of the vocabulary's 4 tokens is in it"),
    ],
)
def test_text_that_cannot_be(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        load_embeddings(tmp_path / "bad.txt", TOKENS)


def test_parquet_that_cannot_be(tmp_path: Path) -> None:
    ragged = write_parquet(tmp_path / "ragged.parquet", {"good": [1.0], "bad": [1.0, 2.0]}, pa.list_(pa.float32()))
    with pytest.raises(DataError, match="vectors of 1, 2 numbers; all have to be of one length"):
        load_embeddings(ragged, TOKENS)
    pq.write_table(pa.table({"word": ["good"]}), tmp_path / "columns.parquet")
    with pytest.raises(DataError, match=r"lacks the column 'token'.*found word"):
        load_embeddings(tmp_path / "columns.parquet", TOKENS)
    pq.write_table(pa.table({"token": ["good"], "vector": [1.0]}), tmp_path / "flat.parquet")
    with pytest.raises(DataError, match="the column 'vector' is double, expected a list"):
        load_embeddings(tmp_path / "flat.parquet", TOKENS)
    coded = pa.array(["1.0"]).dictionary_encode()
    pq.write_table(pa.table({"token": ["good"], "vector": coded}), tmp_path / "coded.parquet")
    with pytest.raises(DataError, match=r"the column 'vector' is dictionary<.*, expected a list"):
        load_embeddings(tmp_path / "coded.parquet", TOKENS)
    pq.write_table(pa.table({"token": [{"text": "good"}], "vector": [[1.0]]}), tmp_path / "struct.parquet")
    with pytest.raises(DataError, match=r"the column 'token' is struct<.*, expected text"):
        load_embeddings(tmp_path / "struct.parquet", TOKENS)
    (tmp_path / "none.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        load_embeddings(tmp_path / "none.parquet", TOKENS)
    with pytest.raises(InputNotFoundError, match="no such file"):
        load_embeddings(tmp_path / "nowhere.txt", TOKENS)
