"""Ingest in tasks of a Ray cluster gives what it gives in threads, byte for byte."""

import gzip
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.lake.shards import read_shard
from tests.support.ingested import files_of, ingest, left_out, rejects_of, rows_of
from tests.support.tables import write_csv

pytest.importorskip("ray", reason="Ray is not installed: pip install 'review-pipeline[ray]'")

from tests.support.ray_cluster import small_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # warnings of Ray are not ours

LASTING = ("read", "written", "rejected", "known", "quarantined", "exit_code")
"""What two receipts must have in common, with their metrics."""


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with small_cluster():
        yield


@pytest.fixture
def many(tmp_path: Path, corpus: Path) -> Path:
    """Sources of every kind, sound and unsound, more than one chunk of them."""
    folder = tmp_path / "many"
    folder.mkdir()
    corpus.rename(folder / "corpus")
    for number in range(5):
        rows = [
            f'{number}-{row},"word{row % 97} of file {number} in row {row}",{"neg" if row % 3 else "pos"}'
            for row in range(5000)
        ]
        write_csv(folder / f"table{number}.csv", "id,text,label", *rows)
    lines = [json.dumps({"text": f"line {row} says so", "label": "pos", "id": f"line{row}"}) for row in range(300)]
    with gzip.open(folder / "lines.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    pq.write_table(pa.table({"text": ["without a label", "neither this"], "id": ["a", "b"]}), folder / "bare.parquet")
    (folder / "damaged.parquet").write_bytes((folder / "bare.parquet").read_bytes()[:-20])
    write_csv(
        folder / "bad.csv", "id,text,label", "bad1,,neg", "bad2,nul\0byte,neg", "0-17,other content,neg", "bad3,   ,pos"
    )
    with tarfile.open(folder / "reviews.tar", "w") as tar:
        for path in sorted((folder / "corpus").rglob("*_9.txt"))[:20]:
            tar.add(path, path.relative_to(folder / "corpus").as_posix())
    return folder


def both(tmp_path: Path, *sources: Path, **options: Any) -> tuple[Any, Any]:
    """The receipts of both engines, once the lakes have been compared."""
    receipts = [ingest(tmp_path / engine, *sources, engine=engine, **options) for engine in ("local", "ray")]
    local, ray = receipts
    assert [getattr(ray, name) for name in LASTING] == [getattr(local, name) for name in LASTING]
    assert ray.metrics == local.metrics
    names = ("tokens", "vocabulary")
    ours, theirs = (
        {name: content for name, content in files_of(tmp_path / engine).items() if name.startswith(names)}
        for engine in ("ray", "local")
    )
    assert ours == theirs
    assert ("rejects" in ray.outputs) == ("rejects" in local.outputs)
    if "rejects" in ray.outputs:
        assert pq.read_table(ray.outputs["rejects"]).equals(pq.read_table(local.outputs["rejects"]))
    return local, ray


def test_the_same_table_vocabulary_and_rejects(tmp_path: Path, many: Path) -> None:
    _, receipt = both(tmp_path, many, id_column="id")
    assert left_out(receipt) == [("damaged.parquet", "damaged")]
    assert {reason for _, reason in rejects_of(receipt)} >= {"duplicate_id", "empty_text", "missing_text", "nul_byte"}
    assert receipt.written > 25_000


def test_the_same_on_later_nights(tmp_path: Path, many: Path) -> None:
    both(tmp_path, many, id_column="id")
    write_csv(
        many / "table1.csv", "id,text,label", "1-1,changed,neg", "1-2,word2 of file 1 in row 2,neg", "new,new words,pos"
    )
    _, receipt = both(tmp_path, many, id_column="id", prune=True)
    assert receipt.metrics["replaced"] == 1
    assert receipt.known > 20_000
    _, receipt = both(tmp_path, many, id_column="id")
    assert receipt.exit_code == 99


def test_a_new_vocabulary_and_no_duplicates(tmp_path: Path, many: Path) -> None:
    write_csv(many / "copy.csv", "id,text,label", "c1,word1 of file 0 in row 1,neg", "c2,word1 of file 0 in row 1,neg")
    both(tmp_path, many, id_column="id", dedupe=True)
    (many / "damaged.parquet").unlink()
    both(tmp_path, many, id_column="id", rebuild_vocab=True, max_vocab=50)
    assert len({row["source"] for row in rows_of(tmp_path / "ray")}) > 5


def test_a_folder_without_its_list_of_films_waits_as_without_a_cluster(tmp_path: Path, corpus: Path) -> None:
    (corpus / "aclImdb/train/urls_pos.txt").write_bytes(b"\xff\xfe\x00 damaged")
    local, ray = both(tmp_path, corpus)
    assert ray.quarantined == local.quarantined


def test_a_warning_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        write_csv(tmp_path / f"reviews{number}.csv", "text,sentiment", f"good {number},pos")
    said = []
    for engine in ("local", "ray"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ingest(tmp_path / engine, *tmp_path.glob("*.csv"), engine=engine)
        said.append([record.getMessage() for record in caplog.records if "--label-column" in record.getMessage()])
    assert said[0] == said[1]
    assert len(said[0]) == 1


def test_all_files_damaged_is_the_same_error(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no more")
    messages = []
    for engine in ("local", "ray"):
        with pytest.raises(DataError) as raised:
            ingest(tmp_path / engine, tmp_path / "damaged.parquet", engine=engine)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_shards_verify(tmp_path: Path, many: Path) -> None:
    receipt = ingest(tmp_path / "lake", many, engine="ray", id_column="id", workers=1)
    shards = sorted((tmp_path / "lake/tokens").glob("*.parquet"))
    assert sum(read_shard(path).rows for path in shards) == receipt.written
