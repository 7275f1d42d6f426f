"""Sources in a bucket with the Ray engine: the tasks fetch them, and the rows are those of the local engine."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.lake.object_store import ObjectStore
from tests.support.ingested import files_of, ingest
from tests.support.ray_cluster import synchronous
from tests.support.reviews import write_corpus
from tests.support.s3_server import empty_store, environment, s3_server
from tests.support.tables import write_table

pytestmark = pytest.mark.s3


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty store, and tasks that run in this process."""
    monkeypatch.setattr("pipeline.engines.on_ray.cluster.connecting", synchronous)
    with s3_server() as url, environment(url):
        yield empty_store()


def test_the_same_rows_of_a_bucket(store: ObjectStore, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "raw", reviews_per_label=3)
    write_table(folder / "partner=7" / "d.parquet", text=["great", "long"], label=["pos", "neg"])
    for number in range(3):
        (folder / f"{number}.csv").write_text(f"text,label\ngood film {number},pos\nbad film {number},neg\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "dull", "label": "neg"}\n'))
    (folder / "damaged.parquet").write_bytes(b"PAR1")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write("raw/" + path.relative_to(folder).as_posix(), path)
    for _ in range(2):
        local, ray = (ingest(tmp_path / engine, f"{store.uri}/raw/", engine=engine) for engine in ("local", "ray"))
        assert (ray.read, ray.written, ray.known, ray.quarantined) == (local.read, local.written, local.known, 1)
        files = [
            {name: content for name, content in files_of(tmp_path / engine).items() if not name.startswith("rejects")}
            for engine in ("local", "ray")
        ]
        assert files[0] == files[1]
    assert ray.exit_code == 99


def test_an_object_that_is_gone_when_its_turn_comes(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("raw/a.csv", b"text\ngood\n")
    from pipeline.readers.mirror import Mirror

    remote = Mirror.remote

    def and_gone(self: Mirror, sources: list[object]) -> object:
        found = remote(self, sources)
        store.remove(["raw/a.csv"])
        return found

    monkeypatch.setattr(Mirror, "remote", and_gone)
    with pytest.raises(DataError, match=r"a\.csv"):
        ingest(tmp_path / "lake", f"{store.uri}/raw/a.csv", engine="ray")
