"""What the first release wrote still opens, and `pipeline upgrade` converts it."""

import json
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import ingest, upgrade
from pipeline.config.ingest import IngestConfig
from pipeline.config.upgrade import UpgradeConfig
from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.content import verify_data
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_records
from pipeline.lake.table import TokenTable
from pipeline.models.bundle import find_bundle, verify_bundle
from pipeline.reports.data import read_report_data
from pipeline.scoring.upgrade import convert
from schemas.prediction import CLASSES, KEY_MODEL, PREDICTION, VERSION_1
from tests.support.fork_server import forked_python

TESTS = Path(__file__).resolve().parents[1]
MODEL = "rnn-20261126T004543Z-779960"
READING = {"text_column": ("text",), "label_column": "stars_given", "id_column": "id"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """The first release's lake; see tests/support/first_lake.md."""
    with tarfile.open(TESTS / "support" / "first_lake.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return Lake(tmp_path / "lake")


def run(lake: Lake, **options: Any) -> Any:
    return upgrade.run(UpgradeConfig(lake=lake.root, **options))


def contents(lake: Lake) -> dict[str, bytes]:
    """Every file but records of runs and locks."""
    return {
        str(path.relative_to(lake.root)): path.read_bytes()
        for path in lake.root.rglob("*")
        if path.is_file() and path.parent not in (lake.runs, lake.locks)
    }


def reviews(lake: Lake) -> list[dict[str, Any]]:
    table = TokenTable.open(lake.tokens)
    rows = pa.concat_tables(pq.read_table(shard.path) for shard in table.shards).to_pylist()
    return sorted(rows, key=lambda row: row["review_id"])


def test_the_first_lake_opens(lake: Lake) -> None:
    assert [record["command"] for record in read_records(lake)] == ["ingest", "train", "score", "report"]
    assert TokenTable.open(lake.tokens).rows == 48
    bundle = find_bundle(lake)
    verify_bundle(bundle)
    assert (bundle.model_id, bundle.labels, bundle.blend) == (MODEL, ("0.0", "1.0"), {})
    assert bundle.load_model().num_parameters() > 0
    data = read_report_data(bundle.folder)
    assert [row["phase"] for row in data.metrics] == ["train", "valid"] * 2
    assert data.examples is not None and len(data.examples) == 12


def test_reviews_of_the_first_lake_are_known_again(lake: Lake) -> None:
    receipt = ingest.run(IngestConfig(lake=lake.root, **READING))
    assert (receipt.exit_code, receipt.known, receipt.written) == (99, 48, 0)


def test_everything_old_is_converted_once(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    before = reviews(lake)
    old = pq.read_table(lake.predictions / "new.parquet").to_pylist()
    planned = run(lake, dry_run=True)
    assert planned.exit_code == 0 and not list(lake.models.glob("*/manifest.json"))
    receipt = run(lake)
    assert (
        receipt.metrics
        == planned.metrics
        == {
            "shards": ["train-ed6ef6d78d3f5a8d.parquet"],
            "bundles": [MODEL],
            "predictions": [str(lake.predictions / "new.parquet")],
            "values": False,
            "left": [],
        }
    )
    assert receipt.outputs["table_version"] == 1 and receipt.exit_code == 0

    assert reviews(lake) == before
    table = TokenTable.open(lake.tokens)
    assert all(verify_data(shard.path) for shard in table.shards)
    assert {row["review_id"] for row in before} == {f"{number}.0" for number in range(48)}

    bundle = find_bundle(lake)
    verify_bundle(bundle)
    assert set(json.loads((bundle.folder / "manifest.json").read_text())["files"]) == {
        "model.json",
        "model.safetensors",
        "vocabulary.parquet",
    }
    assert pq.read_schema(bundle.folder / "metrics.parquet").metadata[b"review_pipeline.schema"] == b"metrics"
    assert pq.read_schema(bundle.folder / "examples.parquet").metadata[b"review_pipeline.schema_version"] == b"2"

    path = lake.predictions / "new.parquet"
    PREDICTION.check(pq.read_schema(path), str(path))
    assert verify_data(path)
    for row, was in zip(pq.read_table(path).to_pylist(), old, strict=True):
        assert [row[name] for name in ("id", "text", "shop", "prediction")] == [
            was[name] for name in ("id", "text", "shop", "prediction")
        ]
        assert row["probability_1.0"] == was["probability"]
        assert row["unscored_reason"] == ("no_text" if was["prediction"] is None else None)
        if was["prediction"] is not None:
            assert row["probability"] == row[f"probability_{row['prediction']}"] >= 0.5
            assert row["probability_0.0"] + row["probability_1.0"] == pytest.approx(1)

    after = contents(lake)
    again = run(lake)
    assert (again.exit_code, again.metrics["shards"], again.metrics["bundles"]) == (99, [], [])
    assert contents(lake) == after
    assert [record["outcome"] for record in read_records(lake) if record["command"] == "upgrade"] == ["done", "nothing-new"]
    assert "--from-sources" in caplog.text


def test_the_rule_for_values_follows_when_sources_are_read_again(lake: Lake) -> None:
    receipt = run(lake, from_sources=True)
    assert receipt.metrics["values"] and receipt.exit_code == 0
    assert {row["review_id"] for row in reviews(lake)} == {str(number) for number in range(48)}
    assert len(reviews(lake)) == 48
    assert run(lake, from_sources=True).exit_code == 99
    assert ingest.run(IngestConfig(lake=lake.root, **READING)).exit_code == 99


def test_sources_that_are_gone_leave_the_lake_as_it_was_until_they_are_back(lake: Lake) -> None:
    before = reviews(lake)
    source = lake.raw / "reviews.csv"
    whole = source.read_text()
    source.write_text("".join(whole.splitlines(keepends=True)[:40]))
    with pytest.raises(DataError, match=r"has 48 reviews.*no longer contain all.*Restore the ingested files"):
        run(lake, from_sources=True)
    source.unlink()
    lake.raw.rmdir()
    with pytest.raises(DataError, match=r"no source exists.*Restore the ingested files"):
        run(lake, from_sources=True)
    assert reviews(lake) == before
    lake.raw.mkdir()
    source.write_text(whole)
    assert run(lake, from_sources=True).exit_code == 0


DIES = """
import os, signal, sys
from pathlib import Path
import jobs.upgrade as upgrade
from pipeline.config.upgrade import UpgradeConfig
from pkgutil import resolve_name

module = resolve_name("{module}")

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

module.{name} = die
upgrade.run(UpgradeConfig(lake=Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pipeline.reports.upgrade", "write_contract_file"),
        ("pipeline.lake.content.HashedFile", "note_sha256"),
        ("pipeline.lake.table", "stage_commit"),
    ],
)
def test_a_run_that_is_killed_leaves_old_or_new_and_the_next_does_the_rest(lake: Lake, module: str, name: str) -> None:
    before = reviews(lake)
    command = [*forked_python(), DIES.format(module=module, name=name), str(lake.root)]
    assert subprocess.run(command, check=False, capture_output=True, cwd=TESTS.parent).returncode == 128 + signal.SIGKILL
    verify_bundle(find_bundle(lake))
    assert reviews(lake) == before
    assert pq.read_table(lake.predictions / "new.parquet").num_rows == 6
    assert run(lake).exit_code == 0
    assert run(lake).exit_code == 99
    assert reviews(lake) == before
    assert not list(lake.root.rglob(".tmp-*")) and not list((lake.scratch / "upgrade").glob("*"))


def test_what_is_damaged_is_left_and_named_and_its_remedy_works(lake: Lake) -> None:
    weights = lake.models / MODEL / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(
        DataError, match=r"1 could not be converted.*model\.safetensors.*delete it and train again"
    ) as caught:
        run(lake)
    assert not (lake.models / MODEL / "manifest.json").exists()
    assert str(weights) in str(caught.value)
    assert TokenTable.open(lake.tokens).version == 1  # all the rest is converted
    shutil.rmtree(lake.models / MODEL)
    assert run(lake).exit_code == 99


def test_predictions_without_their_model_are_left_and_scoring_again_makes_them_new(
    lake: Lake, run_main: Callable[..., int], tmp_path: Path
) -> None:
    (lake.models / MODEL).rename(lake.models / "renamed")
    (lake.models / "LATEST").write_text("renamed\n")
    with pytest.raises(DataError, match=r"new\.parquet.*Score its input again with --force\."):
        run(lake)
    assert run_main("score", tmp_path / "new.parquet", "--lake", lake.root, "--force") == 0
    assert run(lake).exit_code == 99


def test_bundles_and_predictions_elsewhere_are_converted_by_their_paths(lake: Lake, tmp_path: Path) -> None:
    bundle, predictions = tmp_path / "bundle", tmp_path / "p.parquet"
    shutil.copytree(lake.models / MODEL, bundle)
    shutil.copy(lake.predictions / "new.parquet", predictions)
    receipt = run(lake, paths=(str(bundle), str(predictions)))
    assert (receipt.metrics["bundles"], receipt.metrics["predictions"]) == (["bundle"], [str(predictions)])
    assert (bundle / "manifest.json").exists() and TokenTable.open(lake.tokens).version == 0
    with pytest.raises(InputNotFoundError, match="neither a bundle's folder nor a file"):
        run(lake, paths=(str(tmp_path / "nothing"),))


def test_without_a_lake_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        run(Lake(tmp_path / "none"))


@pytest.mark.parametrize("classes", [3, 21])
def test_predictions_of_many_classes_keep_the_probability_of_each(tmp_path: Path, classes: int) -> None:
    labels = [f"l{number}" for number in range(classes)]
    table = pa.table(
        {
            "text": ["a", None],
            "prediction": ["l1", None],
            "probability": pa.array([0.75, None], pa.float32()),
            "model_id": ["m", "m"],
            **{f"probability_{label}": pa.array([0.75 if label == "l1" else 0.125, None], pa.float32()) for label in labels},
        }
    )
    path = tmp_path / "p.parquet"
    pq.write_table(table.replace_schema_metadata({**VERSION_1.metadata, KEY_MODEL: b"m"}), path)
    convert(path, lambda model_id: None)
    first, second = pq.read_table(path).to_pylist()
    PREDICTION.check(pq.read_schema(path), str(path))
    assert (first["prediction"], first["probability"], second["unscored_reason"]) == ("l1", 0.75, "no_text")
    if classes == 3:
        assert [first[f"probability_{label}"] for label in labels] == [0.125, 0.75, 0.125]
    else:
        assert first[CLASSES.name] == [0.125, 0.75, *[0.125] * 19] and second[CLASSES.name] is None
