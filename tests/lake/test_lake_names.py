"""Lakes whose names deltalake would decode: each is a lake by itself."""

from pathlib import Path

import pytest

from jobs.ingest import IngestConfig
from jobs.ingest import run as ingest
from jobs.vacuum import run as vacuum
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import InputNotFoundError
from pipeline.lake.paths import Lake
from pipeline.lake.table import TokenTable

NAMES = [
    "my%20lake",
    "a%2520b",
    "100%",
    "back\\slash",
    "tab\there",
    "del\x7f",
    "question?x",
    "hash#x",
    "b\u00fccher",
    "a[1]*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_lake_of_any_name_is_written_read_and_vacuumed(name: str, tmp_path: Path) -> None:
    decoy = tmp_path / "my lake"
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("text,label\none good,pos\none bad,neg\n")
    second.write_text("text,label\ntwo good,pos\ntwo bad,neg\nthree,pos\n")
    ingest(IngestConfig(lake=decoy, sources=(str(first),), workers=0))
    lake = tmp_path / name
    assert ingest(IngestConfig(lake=lake, sources=(str(second),), workers=0)).written == 3
    assert ingest(IngestConfig(lake=lake, sources=(str(second),), workers=0)).exit_code == 99
    second.write_text("text,label\ntwo good,pos\ntwo worse,neg\nthree,pos\n")
    assert ingest(IngestConfig(lake=lake, sources=(str(second),), workers=0)).written == 1
    assert TokenTable.open(lake / "tokens").rows == 3
    assert TokenTable.open(lake / "tokens", 0).rows == 3
    before = set((lake / "tokens").glob("*.parquet"))
    assert vacuum(VacuumConfig(lake=lake, keep_hours=0)).metrics["deleted"] > 0
    kept = {shard.path for shard in TokenTable.open(lake / "tokens").shards}
    assert set((lake / "tokens").glob("*.parquet")) == kept < before
    assert TokenTable.open(decoy / "tokens").rows == 2


@pytest.mark.parametrize("name", ["link", "link/lake"])
def test_links_in_a_circle_are_no_place_for_a_lake(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to("link")
    with pytest.raises(InputNotFoundError, match=r"--lake .*: symbolic links on its way lead in a circle\. Fix the link"):
        Lake.find(tmp_path / name)
