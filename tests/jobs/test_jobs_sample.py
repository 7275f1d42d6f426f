"""`pipeline sample` on real folders: what it writes, leaves alone and refuses."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.sample import SampleConfig, run
from pipeline.errors import CannotWriteError, UsageError
from pipeline.text.synthetic.corpus import Corpus

CORPUS = Corpus(reviews=20, test_reviews=10, unsup=5)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def config(tmp_path: Path) -> SampleConfig:
    return SampleConfig(
        lake=tmp_path / "lake",
        folder=tmp_path / "out",
        corpus=CORPUS,
        score_input=tmp_path / "new.parquet",
        score_reviews=30,
    )


def test_corpus_lands_in_the_folder_and_nothing_else(config: SampleConfig, tmp_path: Path) -> None:
    receipt = run(config)
    assert receipt.exit_code == 0 and receipt.written == 35 + 30
    assert receipt.outputs == {"corpus": str(tmp_path / "out/aclImdb"), "score_input": str(tmp_path / "new.parquet")}
    assert contents(tmp_path / "out/aclImdb") == dict(CORPUS.files())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["aclImdb"]
    assert not (tmp_path / "lake").exists()


def test_default_folder_is_the_lakes_raw(tmp_path: Path) -> None:
    run(SampleConfig(lake=tmp_path, corpus=CORPUS))
    assert (tmp_path / "raw/aclImdb/train/urls_pos.txt").is_file()


def test_second_run_has_nothing_to_do_and_touches_nothing(config: SampleConfig, tmp_path: Path) -> None:
    run(config)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/**/*")}
    parquet = (tmp_path / "new.parquet").read_bytes()
    receipt = run(config)
    assert (receipt.exit_code, receipt.written, receipt.known) == (99, 0, 65)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/**/*")} == before
    assert (tmp_path / "new.parquet").read_bytes() == parquet


@pytest.mark.parametrize("change", ["edited", "missing", "extra"])
def test_folder_that_holds_something_else_is_refused_and_kept(config: SampleConfig, tmp_path: Path, change: str) -> None:
    run(config)
    victim = next((tmp_path / "out/aclImdb/test/pos").iterdir())
    if change == "edited":
        victim.write_text("my own words")
    elif change == "missing":
        victim.unlink()
    else:
        (victim.parent / "notes.md").write_text("mine")
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match="never overwritten"):
        run(config)
    assert contents(tmp_path / "out") == before


def test_parquet_that_holds_something_else_is_refused_and_kept(config: SampleConfig, tmp_path: Path) -> None:
    (tmp_path / "new.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match="score-input"):
        run(config)
    assert (tmp_path / "new.parquet").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".tmp-*"))


def test_reviews_to_score_are_new_ones_with_a_shops_columns(config: SampleConfig, tmp_path: Path) -> None:
    run(config)
    table = pq.read_table(tmp_path / "new.parquet")
    assert table.schema.names == ["review_id", "text", "shop", "price", "bought", "title", "stars"]
    assert table.num_rows == 30 and len(set(table["review_id"].to_pylist())) == 30
    known = {content.decode() for content in dict(CORPUS.files()).values()}
    assert not known & set(table["text"].to_pylist())
    assert {star > 5 for star in table["stars"].to_pylist()} == {True, False}


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotWriteError, match="Check the owner"):
        run(SampleConfig(lake=tmp_path / "lake", folder=tmp_path / "out", corpus=CORPUS))


def test_no_reviews_to_score_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--score-reviews 0"):
        SampleConfig(lake=tmp_path, score_reviews=0)
