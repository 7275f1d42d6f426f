"""Remedies that work: something is broken, what the message names is done, and the lake is whole."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import repair
from jobs.ingest import IngestConfig
from jobs.ingest import run as ingest
from pipeline.config.repair import RepairConfig
from pipeline.doctor.check import Check
from pipeline.doctor.lake import lake_checks
from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake.paths import Lake
from pipeline.lake.shards import open_shard
from pipeline.lake.table import TokenTable
from pipeline.training.data import open_data
from tests.support.models import save_rnn
from tests.support.reviews import write_corpus

Break = Callable[[Lake], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after two nights, the second from a file outside it."""
    root = tmp_path_factory.mktemp("repair")
    write_corpus(root / "lake" / "raw")
    ingest(IngestConfig(lake=root / "lake", workers=0))
    late = root / "late.csv"
    late.write_text("text,label\n" + "".join(f"late film {number} was good,pos\n" for number in range(5)))
    ingest(IngestConfig(lake=root / "lake", sources=(str(late),), workers=0))
    return root / "lake"


@pytest.fixture
def lake(pristine: Path, tmp_path: Path) -> Lake:
    shutil.copytree(pristine, tmp_path / "lake")
    return Lake(tmp_path / "lake")


def reviews(lake: Lake) -> list[tuple[str, str]]:
    """Ids and contents of the table's reviews."""
    rows = []
    for shard in TokenTable.open(lake.tokens).shards:
        table = pq.read_table(shard.path, columns=["review_id", "content_sha256"])
        rows += [(row["review_id"], row["content_sha256"]) for row in table.to_pylist()]
    # A source in the lake is named relative to it, so a copy of the lake names it alike.
    return sorted(rows)


def biggest_shard(lake: Lake) -> Path:
    return max(lake.tokens.glob("*.parquet"), key=lambda path: path.stat().st_size)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 8
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def newest_entry(lake: Lake) -> Path:
    return max((lake.tokens / "_delta_log").glob("*.json"))


def flip_a_name_in_the_oldest_entry(lake: Lake) -> None:
    path = min((lake.tokens / "_delta_log").glob("*.json"))
    flip(path, path.read_bytes().index(b'"path"') + 12)


def overwrite_by_another(lake: Lake) -> None:
    first, second = sorted(lake.tokens.glob("train-*.parquet"))[:2]
    shutil.copy(first, second)


def all_shards(lake: Lake) -> None:
    for path in lake.tokens.glob("*.parquet"):
        path.unlink()


def the_vocabulary(lake: Lake) -> Path:
    return next(lake.vocabulary.glob("*.parquet"))


BREAKS: dict[str, Break] = {
    "a shard is gone": lambda lake: biggest_shard(lake).unlink(),
    "a shard was cut": lambda lake: cut(biggest_shard(lake)),
    "a bit of a page": lambda lake: flip(biggest_shard(lake), 300),
    "a bit of a footer": lambda lake: flip(biggest_shard(lake), -60),
    "a shard is empty": lambda lake: biggest_shard(lake).write_bytes(b""),
    "a shard was overwritten by another": overwrite_by_another,
    "every shard is gone": all_shards,
    "the vocabulary is gone": lambda lake: the_vocabulary(lake).unlink(),
    "the vocabulary is empty": lambda lake: the_vocabulary(lake).write_bytes(b""),
    "a bit of the vocabulary": lambda lake: flip(the_vocabulary(lake), 200),
    "a bit of the newest log entry": lambda lake: flip(newest_entry(lake), 30),
    "a bit of the oldest log entry": flip_a_name_in_the_oldest_entry,
    "a run record was cut": lambda lake: cut(max(lake.runs.glob("*.json"))),
}


def worst(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.state == "FAIL"]


@pytest.mark.parametrize("what", BREAKS)
def test_what_doctor_names_is_mended_by_what_doctor_says(what: str, lake: Lake) -> None:
    before = reviews(lake)
    BREAKS[what](lake)
    findings = worst(list(lake_checks(lake, verify=True)))
    assert findings and all(re.search(r"pipeline repair", check.remedy) for check in findings), findings
    receipt = repair.run(RepairConfig(lake=lake.root, workers=0))
    assert receipt.exit_code == 0
    assert worst(list(lake_checks(lake, verify=True))) == []
    assert reviews(lake) == before
    assert repair.run(RepairConfig(lake=lake.root, workers=0)).exit_code == 99
    assert ingest(IngestConfig(lake=lake.root, workers=0)).exit_code == 99
    open_data(lake)


@pytest.mark.parametrize("what", [what for what in BREAKS if not re.search("record|vocabulary|page", what)])
def test_commands_refuse_what_was_not_committed_and_name_the_remedy(what: str, lake: Lake) -> None:
    BREAKS[what](lake)
    with pytest.raises((DataError, InputNotFoundError), match="Run 'pipeline repair'"):
        ingest(IngestConfig(lake=lake.root, workers=0))


def test_training_refuses_a_page_with_another_bit(lake: Lake) -> None:
    flip(biggest_shard(lake), 300)
    data = open_data(lake)  # the footers are whole
    with pytest.raises(DataError, match="Run 'pipeline repair'"):
        for shard in data.shards:
            with open_shard(shard.path) as file:
                file.read()


def test_old_versions_stay_readable_after_a_repair(lake: Lake) -> None:
    rows = TokenTable.open(lake.tokens, 0).rows
    the_vocabulary(lake).unlink()
    repair.run(RepairConfig(lake=lake.root, workers=0))
    assert TokenTable.open(lake.tokens, 0).rows == rows


def test_a_lost_vocabulary_is_taken_from_a_bundle_where_there_is_one(lake: Lake) -> None:
    data = open_data(lake)
    save_rnn(lake.models / "first", data.vocabulary)
    version = data.table_version
    the_vocabulary(lake).unlink()
    assert repair.run(RepairConfig(lake=lake.root, workers=0)).exit_code == 0
    again = open_data(lake)
    assert (again.table_version, again.vocabulary.fingerprint) == (version, data.vocabulary.fingerprint)


@pytest.mark.parametrize("content", [b"", b'{"add":{"path":"tra', b"\0" * 4096])
def test_a_torn_newest_entry_counts_as_absent(content: bytes, lake: Lake) -> None:
    before = reviews(lake)
    version = TokenTable.open(lake.tokens).version
    torn = lake.tokens / "_delta_log" / f"{version + 1:020d}.json"
    torn.write_bytes(content)
    assert TokenTable.open(lake.tokens).version == version
    assert worst(list(lake_checks(lake))) == []
    more = lake.root / "more.csv"
    more.write_text("text,label\none more,pos\n")
    assert ingest(IngestConfig(lake=lake.root, sources=(str(more),), workers=0)).outputs["table_version"] == version + 1
    assert len(reviews(lake)) == len(before) + 1
    (lake.tokens / "_delta_log" / f"{version + 2:020d}.json").write_bytes(content)
    assert repair.run(RepairConfig(lake=lake.root, workers=0)).metrics["torn_entries"] == 1


def test_reviews_that_no_source_holds_are_given_up_only_when_told_to(lake: Lake) -> None:
    shutil.rmtree(lake.root / "raw" / "aclImdb" / "train" / "pos")
    total = len(reviews(lake))
    biggest_shard(lake).unlink()
    version = newest_entry(lake).name
    with pytest.raises(
        DataError, match=r"contained 65|contained \d+ reviews, but only \d+ of them are in the sources.*--accept-loss"
    ):
        repair.run(RepairConfig(lake=lake.root, workers=0))
    assert newest_entry(lake).name == version
    assert repair.run(RepairConfig(lake=lake.root, workers=0, accept_loss=True)).exit_code == 0
    assert worst(list(lake_checks(lake, verify=True))) == []
    assert len(reviews(lake)) == total - 30


def test_latest_that_names_nothing_is_pointed_to_the_newest_whole_bundle(lake: Lake) -> None:
    data = open_data(lake)
    for name in ("first", "second"):
        save_rnn(lake.models / name, data.vocabulary)
    for content in (b"gone\n", b"\xff\xfe", b""):
        lake.latest.write_bytes(content)
        assert worst(list(lake_checks(lake)))[0].name == "models"
        repair.run(RepairConfig(lake=lake.root, workers=0))
        assert lake.latest.read_text() == "second\n"
    (lake.models / "second" / "model.safetensors").unlink()
    lake.latest.write_text("nothing\n")
    repair.run(RepairConfig(lake=lake.root, workers=0))
    assert lake.latest.read_text() == "first\n"


def test_a_commit_without_a_record_gets_one(lake: Lake) -> None:
    records = sorted(lake.runs.glob("*-ingest-*.json"))
    before = json.loads(records[-1].read_text())
    records[-1].unlink()
    assert ingest(IngestConfig(lake=lake.root, workers=0)).exit_code == 99
    after = json.loads(records[-1].read_text())
    assert after["recovered"] is True and not before["recovered"]
    for name in ("read", "written", "rejected", "known"):
        assert after["receipt"][name] == before["receipt"][name]
    assert (after["config"], after["outcome"], after["started"]) == (before["config"], "done", before["started"])
    assert after["receipt"]["outputs"]["table_version"] == before["receipt"]["outputs"]["table_version"]


def test_no_lake_no_repair(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no lake at"):
        repair.run(RepairConfig(lake=tmp_path / "none"))
