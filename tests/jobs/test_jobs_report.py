"""`pipeline report` on a lake that holds a bundle."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.report import ReportConfig, run
from pipeline.errors import CannotWriteError, InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from tests.reports.report_bundles import make_bundle


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose LATEST is the bundle of the reports' tests."""
    lake = Lake(tmp_path / "lake")
    lake.models.mkdir(parents=True)
    lake.latest.write_text(make_bundle(lake.models).name + "\n")
    return lake


def test_page_lands_in_the_newest_bundle(lake: Lake) -> None:
    receipt = run(ReportConfig(lake=lake.root))
    page = lake.models / lake.latest_model() / "report.html"
    assert receipt.outputs == {"report": str(page), "model": str(page.parent)}
    assert "This is anything but boring." in page.read_text()


def test_examples_come_from_predictions(lake: Lake, tmp_path: Path) -> None:
    rows = {"body": ["so fine", "so flat"], "prediction": ["pos", "neg"], "model_id": ["m", "m"], "truth": ["pos", "pos"]}
    table = pa.table(rows).append_column("probability", pa.array([0.9, 0.8], pa.float32()))
    table = table.append_column("unscored_reason", pa.nulls(2, pa.string()))
    pq.write_table(table, tmp_path / "p.parquet")
    output = tmp_path / "page.html"
    predictions = tmp_path / "p.parquet"
    run(ReportConfig(lake=lake.root, output=output, predictions=predictions, text_column="body", label_column="truth"))
    text = output.read_text()
    assert "so fine" in text and "✗ truly pos" in text and "anything but boring" not in text
    assert not (lake.models / lake.latest_model() / "report.html").exists()


def test_what_cannot_be(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="LATEST is not there"):
        run(ReportConfig(lake=tmp_path / "other"))
    with pytest.raises(InputNotFoundError, match="is a folder"):
        run(ReportConfig(lake=lake.root, predictions=tmp_path))
    with pytest.raises(CannotWriteError, match="is a folder"):
        run(ReportConfig(lake=lake.root, output=tmp_path))
    with pytest.raises(UsageError, match="--label-column needs --predictions"):
        ReportConfig(lake=lake.root, label_column="truth")
