"""`pipeline train --embeddings` as people run it: the model starts from the vectors, and they are part of what it is."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.config.train import TrainConfig
from pipeline.errors import PipelineError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.options.render import arguments
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus

pytestmark = pytest.mark.usefixtures("without_pages")
WIDTH = 6
OPTIONS = ("--arch", "lstm", "--hidden-dim", "8", "--epochs", "2", "--batch-size", "32", "--workers", "1", "--no-baseline")
UNMOVED = ("--lr", "1e-12", "--average", "0", "--epochs", "1")
"""With these the trained embedding still is the one that it started from."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("embeddings"), 300)


def vectors(corpus: Corpus, seed: int = 0) -> dict[str, np.ndarray]:
    """A vector for each second token of the vocabulary."""
    tokens = corpus.vocabulary.tokens.to_pylist()[2::2]
    return dict(zip(tokens, np.random.default_rng(seed).normal(size=(len(tokens), WIDTH)).astype(np.float32), strict=True))


def glove(path: Path, corpus: Corpus, seed: int = 0) -> Path:
    lines = [f"{token} {' '.join(map(repr, vector.tolist()))}\n" for token, vector in vectors(corpus, seed).items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def parquet(path: Path, corpus: Corpus) -> Path:
    found = vectors(corpus)
    table = {"token": list(found), "vector": pa.array([row.tolist() for row in found.values()], pa.list_(pa.float32()))}
    pq.write_table(pa.table(table), path)
    return path


def train(lake: Path, corpus: Corpus, *arguments: object) -> Bundle:
    receipt = invoke("train", "--lake", lake, "--tokens", corpus.shards, *OPTIONS, *arguments)
    assert receipt["code"] == 0
    return read_bundle(Path(receipt["outputs"]["model"]))


def test_the_model_starts_from_the_file_in_either_format(tmp_path: Path, corpus: Corpus) -> None:
    files = [glove(tmp_path / "glove.txt", corpus), parquet(tmp_path / "vectors.parquet", corpus)]
    bundles = [train(tmp_path, corpus, "--embeddings", file, *UNMOVED) for file in files]
    for file, bundle in zip(files, bundles, strict=True):
        assert bundle.model_config["embedding_dim"] == WIDTH, "the file's width, not the default"
        assert bundle.training["embeddings"] == hashlib.sha256(file.read_bytes()).hexdigest()
        weight = bundle.load_model().deep.embedding.weight
        ids = dict(zip(corpus.vocabulary.tokens.to_pylist(), weight, strict=True))
        for token, vector in vectors(corpus).items():
            torch.testing.assert_close(ids[token], torch.from_numpy(vector), atol=1e-6, rtol=0)
    assert bundles[0].weights_sha256 == bundles[1].weights_sha256
    assert "embeddings" not in train(tmp_path, corpus, *UNMOVED).training


def test_the_same_content_elsewhere_is_nothing_new_and_another_one_is(tmp_path: Path, corpus: Corpus) -> None:
    file = glove(tmp_path / "glove.txt", corpus)
    first = train(tmp_path, corpus, "--embeddings", file)
    moved = shutil.copy(file, tmp_path / "elsewhere.vec")
    again = invoke("train", "--lake", tmp_path, "--tokens", corpus.shards, *OPTIONS, "--embeddings", moved)
    assert (again["code"], again["outputs"]["model_id"]) == (99, first.model_id)
    assert train(tmp_path, corpus, "--embeddings", glove(file, corpus, seed=1)).model_id != first.model_id


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_same_vectors_only(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    file = glove(tmp_path / "glove.txt", corpus)
    options = ("--checkpoint-every", "3")
    whole = train(tmp_path / "whole", corpus, *options, "--embeddings", file)
    with killed_after(13):
        train(tmp_path / "killed", corpus, *options, "--embeddings", file)
    assert list((tmp_path / "killed").glob("checkpoints/*/epoch-00001-*.safetensors"))
    for more, now in ((("--embeddings", glove(tmp_path / "other.txt", corpus, seed=1)), r"\w+"), ((), "None")):
        caplog.clear()
        train(tmp_path / "killed", corpus, "--resume", *more)
        assert re.search(rf"started with other options: embeddings \w+, now {now}\.", caplog.text)
    moved = shutil.move(file, tmp_path / "moved.txt")
    resumed = train(tmp_path / "killed", corpus, *options, "--resume", "--embeddings", moved)
    assert resumed.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize(
    ("content", "options", "code", "said"),
    [
        (None, (), 66, "--embeddings {file}: no such file"),
        (
            "w2 1.0 2.0\n",
            ("--embedding-dim", "3"),
            2,
            "--embedding-dim 3: the vectors of --embeddings have 2 numbers. Give 2",
        ),
        ("elsewhere 1.0 2.0\n", (), 65, "none of the vocabulary's 198 tokens is in it"),
        ("w2 1.0 2.0\nw3 1.0\n", (), 65, "{file}, line 2: expected a token and 2 numbers, found 2 fields"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    tmp_path: Path, corpus: Corpus, content: str | None, options: tuple[str, ...], code: int, said: str
) -> None:
    file = tmp_path / "vectors.txt"
    if content is not None:
        file.write_text(content)
    for more in ((), ("--nproc", "2")):
        with pytest.raises(PipelineError) as raised:
            train(tmp_path / "lake", corpus, "--embeddings", file, *options, *more)
        assert said.format(file=file) in str(raised.value)
        assert raised.value.exit_code == code
        assert not (tmp_path / "lake" / "checkpoints").exists()


def test_the_workers_get_the_file(tmp_path: Path) -> None:
    config = TrainConfig(lake=Lake(tmp_path), embeddings=tmp_path / "glove.txt")
    assert f"--embeddings={tmp_path / 'glove.txt'}" in arguments(config)
