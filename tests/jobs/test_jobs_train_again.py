"""`pipeline train` on a lake that has been trained in before: what is nothing new, and what older runs left."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import LockedError
from pipeline.lake.paths import Lake
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.data import open_data
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import train

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("again"), 300)


def test_finding_a_model_that_was_trained_before_moves_latest_only_if_it_names_none(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--epochs", "1")
    first = train(tmp_path, corpus, *options)["outputs"]["model_id"]
    second = train(tmp_path, corpus, *options, "--seed", "1")["outputs"]["model_id"]
    latest = tmp_path / "models" / "LATEST"
    caplog.set_level("INFO")
    assert train(tmp_path, corpus, *options)["code"] == 99
    assert latest.read_text() == f"{second}\n"
    assert f"'pipeline models promote {first}'" in caplog.text
    for content in (b"gone\n", b"", b"\xff", None):
        latest.unlink() if content is None else latest.write_bytes(content)
        assert train(tmp_path, corpus, *options)["code"] == 99
        assert latest.read_text() == f"{first}\n"
    assert f"LATEST is now {first}, no longer gone" in caplog.text
    caplog.clear()
    assert train(tmp_path, corpus, *options)["code"] == 99
    assert "live" not in caplog.text and "LATEST" not in caplog.text


def test_other_content_of_the_same_size_is_another_training(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 200)
    shard = corpus.shards / "train-0000.parquet"
    table = pq.read_table(shard)
    label = table.schema.get_field_index("label")
    first, second = (
        table.set_column(label, table.schema.field("label"), [values])
        for values in (table["label"].combine_chunks(), table["label"].combine_chunks().take(np.arange(200)[::-1]))
    )
    fingerprints, sizes = set(), set()
    for content in (first, second):
        pq.write_table(content, shard, compression="none", use_dictionary=False)
        sizes.add(shard.stat().st_size)
        fingerprints.add(open_data(Lake(tmp_path), tokens=corpus.shards).identity["tokens"])
    assert (len(sizes), len(fingerprints)) == (1, 2)


def test_what_killed_runs_left_goes_when_the_training_is_finished(tmp_path: Path, corpus: Corpus) -> None:
    options = ("--checkpoint-every", "3")
    for more in ((), (), ("--seed", "1")):
        with killed_after(7):
            train(tmp_path, corpus, *options, *more)
    assert len(list(tmp_path.glob("checkpoints/*"))) == 3
    train(tmp_path, corpus, *options)
    (other,) = tmp_path.glob("checkpoints/*")
    assert TrainingFolder(other).identity()["seed"] == 1


def test_a_run_that_another_one_overtakes_trains_nothing(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs import train as job

    answers = iter([None, object()])
    monkeypatch.setattr(job, "_finished", lambda *_: next(answers))
    with pytest.raises(LockedError, match="just finished the same training"):
        train(tmp_path, corpus)
    assert not (tmp_path / "checkpoints").exists()
