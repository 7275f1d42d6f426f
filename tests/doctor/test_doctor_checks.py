"""The doctor on real lakes and environments, healthy and ill."""

import json
import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.ingest import IngestConfig
from jobs.ingest import run as ingest
from jobs.runtime import recorded_run
from jobs.sample import SampleConfig
from jobs.sample import run as sample
from pipeline.cli.doctor import verdict
from pipeline.config.export import ExportConfig
from pipeline.doctor import environment
from pipeline.doctor import lake as lake_module
from pipeline.doctor.check import Check, exit_code, fail, guarded, ok, warn
from pipeline.doctor.environment import environment_checks
from pipeline.doctor.lake import lake_checks
from pipeline.errors import DataError, InputNotFoundError, StoppedError
from pipeline.lake.paths import Lake
from pipeline.text.synthetic.corpus import Corpus
from tests.support.commands import Run


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with an ingested corpus."""
    sample(SampleConfig(lake=tmp_path, corpus=Corpus(reviews=20, test_reviews=4, unsup=2)))
    ingest(IngestConfig(lake=tmp_path, workers=0))
    return Lake(tmp_path)


def by_name(lake: Lake) -> dict[str, Check]:
    """The worst finding of each name."""
    order = ("OK", "WARN", "FAIL")
    return {check.name: check for check in sorted(lake_checks(lake), key=lambda check: order.index(check.state))}


def test_healthy_lake_is_left_as_it_was(lake: Lake) -> None:
    before = sorted(path for path in lake.root.rglob("*"))
    checks = by_name(lake)
    assert {name: check.state for name, check in checks.items()} == {
        "lake": "OK",
        "space": "OK",
        "tokens": "OK",
        "vocabulary": "OK",
        "models": "WARN",
        "runs": "OK",
    }
    assert checks["tokens"].detail.startswith("version 0: 26 reviews in ") and " 1 shards" not in checks["tokens"].detail
    assert checks["models"].remedy == "Run 'pipeline train'."
    assert sorted(path for path in lake.root.rglob("*")) == before


def test_absent_lake_is_a_warning_where_it_could_be_made(tmp_path: Path) -> None:
    (check,) = lake_checks(Lake(tmp_path / "a" / "b"))
    assert check.state == "WARN" and check.detail.startswith("there is no lake at")
    assert all(words in check.remedy for words in ("Check the path", "--lake", "'pipeline init FILE'", "'pipeline sample'"))
    assert not (tmp_path / "a").exists()


def test_lake_that_cannot_be_made_or_written_fails_with_73(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "lake"):
        checks = list(lake_checks(Lake(place)))
        assert checks[0].state == "FAIL" and exit_code(checks) == 73


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_without_permission_is_named(lake: Lake) -> None:
    lake.tokens.chmod(0o500)
    try:
        assert str(lake.tokens) in by_name(lake)["lake"].detail
    finally:
        lake.tokens.chmod(0o700)


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "FAIL"), (1 << 30, "WARN"), (1 << 40, "OK")])
def test_space(lake: Lake, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = lake_module.shutil.disk_usage(lake.root)
    monkeypatch.setattr(lake_module.shutil, "disk_usage", lambda place: usage._replace(free=free))
    assert by_name(lake)["space"].state == state


def test_missing_vocabulary_fails_with_66(lake: Lake) -> None:
    next(lake.vocabulary.iterdir()).unlink()
    check = by_name(lake)["vocabulary"]
    assert (check.state, check.exit_code) == ("FAIL", 66) and "pipeline repair" in check.remedy


def test_vocabulary_under_another_name_fails_with_65(lake: Lake) -> None:
    path = next(lake.vocabulary.iterdir())
    shutil.copy(path, path.with_name("0123456789abcdef.parquet"))
    check = by_name(lake)["vocabulary"]
    assert (check.state, check.exit_code) == ("FAIL", 65) and path.stem in check.detail


def test_damaged_files_fail_with_their_name(lake: Lake) -> None:
    shard = next(lake.tokens.rglob("*.parquet"))
    shard.write_bytes(b"PAR1 and nothing more")
    vocabulary = next(lake.vocabulary.iterdir())
    vocabulary.write_bytes(b"")
    (lake.runs / "zzz.json").write_text("{")
    checks = by_name(lake)
    for name, path in (("tokens", shard), ("vocabulary", vocabulary), ("runs", lake.runs / "zzz.json")):
        assert checks[name].state == "FAIL" and str(path) in checks[name].detail and checks[name].remedy, name
    assert exit_code(checks.values()) == 65


def test_latest_that_points_nowhere(lake: Lake) -> None:
    lake.models.mkdir()
    lake.latest.write_bytes(b"\xff")
    assert by_name(lake)["models"].exit_code == 65
    lake.latest.write_text("gone\n")
    assert by_name(lake)["models"].state == "FAIL"


def test_failed_run_is_a_warning(lake: Lake) -> None:
    with pytest.raises(DataError):
        empty = lake.root / "empty.csv"
        empty.write_text("a,b\n1,2\n")
        ingest(IngestConfig(lake=lake.root, sources=(str(empty),), workers=0))
    check = by_name(lake)["runs"]
    assert check.state == "WARN" and "pipeline runs" in check.remedy


@pytest.mark.parametrize(
    ("error", "days", "state"),
    [
        (DataError("damaged"), 29, "WARN"),
        (DataError("damaged"), 31, "OK"),
        (InputNotFoundError("no model 'bilstn'"), 0, "WARN"),
        (InputNotFoundError("no model 'bilstn'"), 2, "OK"),
        (StoppedError(2), 2, "OK"),
    ],
)
def test_a_failed_run_is_not_a_warning_for_ever(tmp_path: Path, error: BaseException, days: int, state: str) -> None:
    lake = Lake(tmp_path)
    with suppress(DataError, InputNotFoundError, StoppedError), recorded_run("score", lake, ExportConfig(lake=tmp_path)):
        raise error
    (path,) = lake.runs.glob("*.json")
    ended = datetime.now(UTC) - timedelta(days=days)
    path.write_text(json.dumps({**json.loads(path.read_text()), "finished": ended.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    assert by_name(lake)["runs"].state == state


def test_a_later_success_of_the_same_command_clears_the_warning(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with suppress(DataError), recorded_run("export", lake, ExportConfig(lake=tmp_path)):
        raise DataError("damaged")
    assert by_name(lake)["runs"].state == "WARN"
    time.sleep(0.002)  # ids of runs sort by the millisecond
    with recorded_run("export", lake, ExportConfig(lake=tmp_path)):
        pass
    assert by_name(lake)["runs"].state == "OK"


def test_environment_of_these_tests_is_fine() -> None:
    checks = list(environment_checks())
    assert {check.state for check in checks} <= {"OK", "WARN"}
    assert {"python", "package", "torch", "deltalake", "devices", "tensorboard"} <= {check.name for check in checks}


@pytest.mark.parametrize(
    ("module", "instead"),
    [
        ("pipeline.text.kernels", "NumPy"),
        ("pipeline.text.columns", "hashlib"),
        ("pipeline.models.layers.scan_kernel", "torch computes"),
        ("pipeline.training.region_tables", "NumPy learns"),
    ],
)
def test_kernels_that_were_not_compiled_are_a_warning(module: str, instead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{module}.COMPILED", False)
    found = next(check for check in environment_checks() if check.name == "kernels")
    assert found.state == "WARN"
    assert f"not compiled at installation: {instead}" in found.detail
    assert "C compiler" in found.remedy


def test_missing_library_and_foreign_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "REQUIRED", ("no-such-library",))
    monkeypatch.setattr(environment, "OWN_PACKAGES", ("json",))
    checks = {check.name: check for check in environment_checks()}
    assert checks["no-such-library"].state == "FAIL" and checks["no-such-library"].detail == "not installed"
    assert checks["package"].state == "FAIL" and "'json' would be imported from" in checks["package"].detail


def test_version_outside_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.metadata, "requires", lambda name: ["numpy>=99,<100", "rich>=1"])
    checks = {check.name: check for check in environment_checks()}
    assert checks["numpy"].state == "WARN" and checks["numpy"].remedy == "pip install 'numpy>=99,<100'"
    assert checks["rich"].state == "OK"


def test_unexpected_error_is_a_finding() -> None:
    def breaks() -> list[Check]:
        raise RuntimeError("odd")

    (check,) = guarded("thing", breaks)
    assert (check.state, check.detail, check.exit_code) == ("FAIL", "RuntimeError: odd", 70)


def test_worst_decides_the_exit_code() -> None:
    assert exit_code([ok("a", ""), warn("b", "", "")]) == 0
    assert exit_code([warn("b", "", ""), fail("c", "", "", 65), fail("d", "", "", 73)]) == 65


def test_command_prints_a_table_or_json(lake: Lake, command: Run) -> None:
    table = command("doctor", "--lake", lake.root).stdout
    assert "OK    tokens" in table and "→ Run 'pipeline train'." in table
    (lake.vocabulary / "fedcba9876543210.parquet").write_bytes(b"no")
    done = command("doctor", "--lake", lake.root, "--json")
    told = json.loads(done.stdout)
    assert done.code == told["exit_code"] == 65
    assert [check["name"] for check in told["checks"] if check["state"] == "FAIL"] == ["vocabulary"]


@pytest.mark.parametrize(
    ("checks", "wanted"),
    [
        ([ok("a", "x"), warn("b", "x", "y")], "1 warning in 2 checks; the arrow says how to fix it."),
        ([warn("a", "x", "y"), fail("b", "x", "y")], "1 failure and 1 warning in 2 checks; the arrows say how to fix them."),
        ([ok("a", "x"), ok("b", "x")], "All 2 checks passed."),
    ],
)
def test_the_verdict_counts_in_the_right_number(checks: list[Check], wanted: str) -> None:
    assert verdict(checks) == wanted
