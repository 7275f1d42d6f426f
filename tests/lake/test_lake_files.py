"""Atomic files and locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import CannotWriteError, InputNotFoundError, LockedError, UsageError
from pipeline.lake.atomic import atomic_path, write_text
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from tests.support.paths import ROOT


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_in_the_way_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("not a folder")
    with pytest.raises(CannotWriteError, match=r"cannot write .*choose another place"):
        write_text(tmp_path / "lake" / "file", "x")


def test_a_lock_turns_the_second_away_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    code = (
        "import sys,pathlib,time\nfrom pipeline.lake.locks import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'work'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        turned_away = pytest.raises(LockedError, match=rf"work is locked by another run \(process {holder.pid}")
        with turned_away, locked(path, "work"):
            pass
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    with locked(path, "work"):
        pass


def test_the_lake_is_found_by_option_then_environment_then_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_LAKE", raising=False)
    assert Lake.find().root == tmp_path / "data_lake"
    monkeypatch.setenv("PIPELINE_LAKE", str(tmp_path / "other"))
    assert Lake.find().root == tmp_path / "other"
    assert Lake.find("given").root == tmp_path / "given"
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    assert Lake.find("s3://bucket/lake").root.is_relative_to(tmp_path / "cache")
    assert Lake.find("s3://bucket/lake/").root == Lake.find("s3://bucket/lake").root != Lake.find("s3://bucket/late").root
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UsageError, match="ftp://"):
        Lake.find("ftp://host/lake")
    for name in ("two\nlines", os.fsdecode(b"caf\xe9")):
        with pytest.raises(UsageError, match="must be UTF-8 without line breaks"):
            Lake.find(name)


def test_sources_inside_the_lake_are_named_relative_to_it(tmp_path: Path) -> None:
    lake = Lake.find(tmp_path / "lake")
    assert lake.relative(tmp_path / "lake" / "raw" / "a.csv") == "raw/a.csv"
    assert lake.relative(tmp_path / "elsewhere.csv") == (tmp_path / "elsewhere.csv").as_uri()
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        lake.latest_model()
