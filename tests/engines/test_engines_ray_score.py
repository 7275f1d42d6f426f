"""Scoring in tasks of a Ray cluster gives what it gives in threads, byte for byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.errors import DataError, UsageError
from pipeline.models.registry import build_model
from tests.support.scoring import MAX_LENGTH, make_bundle, make_texts, make_vocabulary, run_score
from tests.support.tables import write_csv

pytest.importorskip("ray", reason="Ray is not installed: pip install 'review-pipeline[ray]'")

from pipeline.models.bundle import save_bundle
from tests.support.ray_cluster import small_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # warnings of Ray are not ours


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with small_cluster():
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with models of every way to score: packed, padded, by a scan, and by sums."""
    root = tmp_path_factory.mktemp("lake")
    make_bundle(root / "models/bilstm")
    for arch in ("attention-rnn", "mingru"):
        make_bundle(root / "models" / arch, arch=arch)
    vocabulary = make_vocabulary()
    torch.manual_seed(0)
    model = build_model("nbsvm", {"vocab_size": len(vocabulary), "num_classes": 2, "ngrams": 3, "bits": 10})
    for tensor in model.state_dict().values():
        tensor.normal_()
    facts: dict[str, Any] = {"metrics": {}, "training": {}, "created": "2026-01-01T00:00:00Z", "table_version": None}
    save_bundle(
        root / "models/nbsvm",
        model=model,
        arch="nbsvm",
        labels=vocabulary.labels,
        tokenizer="basic_english",
        max_length=MAX_LENGTH,
        vocabulary=vocabulary,
        **facts,
    )
    (root / "models/LATEST").write_text("bilstm\n")
    return root


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Three files of different kinds, more than one window and more than one chunk of them."""
    folder = tmp_path / "reviews"
    folder.mkdir()
    texts = make_texts(21_000)
    table = pa.table({"text": texts, "stars": pa.array(range(len(texts)), pa.int32()), "day": ["monday", None] * 10_500})
    pq.write_table(table, folder / "a.parquet", row_group_size=5000)
    write_csv(folder / "b.csv", "text,number,day", *(f'"{text}",{row},tuesday' for row, text in enumerate(texts[:3000])))
    pq.write_table(table.slice(500, 700), folder / "c.parquet")
    return folder


def outputs(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("model", ["bilstm", "attention-rnn", "mingru", "nbsvm"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_same_predictions_of_several_files(lake: Path, reviews: Path, tmp_path: Path, model: str, suffix: str) -> None:
    files = sorted(reviews.iterdir())
    for engine in ("local", "ray"):
        receipt = run_score(lake, *files, model=model, output=tmp_path / engine / f"out.{suffix}", engine=engine)
        assert (receipt.read, receipt.written, receipt.exit_code) == (24_700, 24_700, 0)
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")


def test_the_same_outputs_of_a_folder_and_nothing_to_do_again(lake: Path, reviews: Path, tmp_path: Path) -> None:
    (reviews / "damaged.parquet").write_bytes(b"PAR1")
    for engine in ("local", "ray"):
        receipt = run_score(lake, reviews, output=f"{tmp_path / engine}/", engine=engine)
        assert (receipt.written, receipt.quarantined) == (24_700, 1)
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")
    assert run_score(lake, reviews, output=f"{tmp_path / 'local'}/", engine="ray").exit_code == 99


def test_the_same_explanations(lake: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": make_texts(300)}), tmp_path / "few.parquet")
    for engine in ("local", "ray"):
        run_score(lake, tmp_path / "few.parquet", output=tmp_path / engine / "out.parquet", engine=engine, explain=True)
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")


def test_a_file_that_is_found_to_be_damaged_is_left_out(lake: Path, reviews: Path, tmp_path: Path) -> None:
    content = bytearray((reviews / "c.parquet").read_bytes())
    content[200:400] = b"\0" * 200
    (reviews / "c.parquet").write_bytes(content)
    for engine in ("local", "ray"):
        files = sorted(reviews.iterdir())
        receipt = run_score(lake, *files, output=tmp_path / engine / "out.parquet", engine=engine)
        assert (receipt.written, receipt.quarantined) == (24_000, 1)
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")


def test_an_error_is_the_same(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.jsonl").write_bytes(b'{"text": "good"}\n{"text": "bad"\n' * 40)
    messages = []
    for engine in ("local", "ray"):
        with pytest.raises(DataError) as raised:
            run_score(lake, tmp_path / "damaged.jsonl", output=tmp_path / "out.parquet", engine=engine)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_a_gpu_that_the_cluster_lacks(lake: Path, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the Ray cluster has no GPU\. Use --device cpu"):
        run_score(lake, reviews / "c.parquet", output=tmp_path / "out.parquet", engine="ray", device="cuda")
    assert run_score(lake, reviews / "c.parquet", output=tmp_path / "out.parquet", engine="ray", device="cpu").written == 700
