"""`pipeline report` on a lake that holds a bundle."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.report import ReportConfig, run
from pipeline.errors import CannotWriteError, DataError, InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from pipeline.reports.data import read_report_data
from pipeline.reports.files import REPORT_FILES, write_evaluation
from pipeline.reports.metrics import mcnemar
from tests.support.report_bundles import evaluation_table, leaning, make_bundle


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


def test_a_name_that_is_no_web_page_is_refused(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"page\.pdf: the report is a web page\. Use a name that ends in \.html"):
        ReportConfig(lake=lake.root, output=Path("page.pdf"))


def test_an_unknown_model_of_a_comparison_is_named(lake: Lake) -> None:
    with pytest.raises(InputNotFoundError, match=r"--compare: 'absent' is not known\. Known: "):
        run(ReportConfig(lake=lake.root, compare=True, models=("LATEST", "absent")))


def test_predictions_that_are_not_parquet_are_refused_with_what_is_needed(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "scored.csv").write_text("text,prediction\ngood,pos\n")
    with pytest.raises(DataError, match="Pass one written by 'pipeline score'"):
        run(ReportConfig(lake=lake.root, predictions=tmp_path / "scored.csv"))


def test_examples_come_from_predictions(lake: Lake, tmp_path: Path) -> None:
    rows = {"body": ["so fine", "so flat"], "prediction": ["pos", "neg"], "model_id": ["m", "m"], "truth": ["pos", "pos"]}
    table = pa.table(rows).append_column("probability", pa.array([0.9, 0.8], pa.float32()))
    table = table.append_column("unscored_reason", pa.nulls(2, pa.string()))
    pq.write_table(table, tmp_path / "p.parquet")
    output = tmp_path / "page.html"
    predictions = tmp_path / "p.parquet"
    run(ReportConfig(lake=lake.root, output=output, predictions=predictions, text_column=("body",), label_column="truth"))
    text = output.read_text()
    assert "so fine" in text and "✗ labelled pos" in text
    assert "anything but boring" in text, "the bundle's labelled examples stay"
    assert not (lake.models / lake.latest_model() / "report.html").exists()


@pytest.mark.slow
def test_scored_files_are_read_with_the_columns_of_the_lakes_settings(
    lake: Lake, tmp_path: Path, run_main: Callable[..., int]
) -> None:
    settings = '[ingest]\ntext-column = ["Summary", "Text"]\nlabel-column = "Score"\nlabel-map = "neg=1,2 pos=4,5"\n'
    (lake.root / "pipeline.toml").write_text(settings)
    rows = {"Summary": ["Fine", "Flat"], "Text": ["so fine", None], "prediction": ["pos", "neg"], "model_id": ["m", "m"]}
    table = pa.table(rows).append_column("probability", pa.array([0.9, 0.8], pa.float32()))
    table = table.append_column("unscored_reason", pa.nulls(2, pa.string()))
    pq.write_table(table, tmp_path / "new.parquet")
    output = tmp_path / "page.html"
    command = ("report", "--lake", lake.root, "--output", output, "--predictions")
    assert run_main(*command, tmp_path / "new.parquet") == 0, "reviews to score have no stars yet"
    assert "Fine\nso fine" in output.read_text() and "labelled pos" not in output.read_text().partition("so fine")[0][-200:]
    pq.write_table(table.append_column("Score", pa.array([5, 4])), tmp_path / "old.parquet")
    assert run_main(*command, tmp_path / "old.parquet") == 0
    assert "✗ labelled pos" in output.read_text()
    assert run_main(*command, tmp_path / "old.parquet", "--text-column", "Txt") == 2


def test_what_cannot_be(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        run(ReportConfig(lake=tmp_path / "other"))
    with pytest.raises(InputNotFoundError, match="is a folder"):
        run(ReportConfig(lake=lake.root, predictions=tmp_path))
    with pytest.raises(CannotWriteError, match="is a folder"):
        run(ReportConfig(lake=lake.root, output=tmp_path))
    with pytest.raises(UsageError, match="--label-column requires --predictions"):
        ReportConfig(lake=lake.root, label_column="truth")
    with pytest.raises(UsageError, match="at least two models"):
        ReportConfig(lake=lake.root, models=("LATEST",), compare=True)
    with pytest.raises(UsageError, match="pass one model as --model LATEST"):
        ReportConfig(lake=lake.root, models=("LATEST",))


def test_models_side_by_side_with_a_paired_test(lake: Lake) -> None:
    other = make_bundle(lake.models, "other")
    write_evaluation(other, evaluation_table({"test": leaning(350, 0.6), "valid": leaning(9, 0.6, prefix="v")}))
    receipt = run(ReportConfig(lake=lake.root, models=("LATEST", "other"), compare=True))
    text = Path(receipt.outputs["report"]).read_text()
    assert Path(receipt.outputs["report"]) == lake.models / "comparison.html"
    assert "On the 350 test reviews that all of them scored" in text
    ours, theirs = (read_report_data(lake.models / name).scored("test") for name in (lake.latest_model(), "other"))
    assert ours is not None and theirs is not None
    test = mcnemar(ours.measures.right[:350], theirs.measures.right)
    assert f'<td class="n">{test.only_first}</td><td class="n">{test.only_second}</td><td class="n">&lt; 0.001</td>' in text


def test_models_that_cannot_be_compared(lake: Lake) -> None:
    other = make_bundle(lake.models, "other")
    with pytest.raises(UsageError, match="pass each model only once"):
        run(ReportConfig(lake=lake.root, models=("other", "other"), compare=True))
    write_evaluation(other, evaluation_table({"test": leaning(40, 0.6, prefix="elsewhere-")}))
    with pytest.raises(DataError, match="Train them on the same table"):
        run(ReportConfig(lake=lake.root, models=("LATEST", "other"), compare=True))
    (other / "evaluation.parquet").unlink()
    with pytest.raises(DataError, match="other has no scored reviews"):
        run(ReportConfig(lake=lake.root, models=("LATEST", "other"), compare=True))
    description = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps({**description, "labels": ["1", "2"]}))
    with pytest.raises(UsageError, match="Only models with the same labels"):
        run(ReportConfig(lake=lake.root, models=("LATEST", "other"), compare=True))


@pytest.mark.slow
def test_what_a_bundle_lacks_is_made_from_its_lake(corpus: Path, tmp_path: Path, run_main: Callable[..., int]) -> None:
    """As for a model of an earlier release; and the remedy for a damaged file is to remove it and to report again."""
    lake = Lake(tmp_path / "lake")
    assert run_main("--lake", lake.root, "ingest", corpus) == 0
    assert (
        run_main("--lake", lake.root, "train", "--arch", "rnn", "--epochs", "1", "--embedding-dim", "8", "--no-baseline")
        == 0
    )
    bundle = lake.models / lake.latest_model()
    before = {name: (bundle / name).read_bytes() for name in REPORT_FILES}
    page = (bundle / "report.html").read_text()
    for name in REPORT_FILES:
        (bundle / name).write_bytes(b"PAR1")
        with pytest.raises(DataError, match=f"{name} .* Remove it and run 'pipeline report'"):
            run(ReportConfig(lake=lake.root))
        (bundle / name).write_bytes(before[name])
    for name in REPORT_FILES:
        (bundle / name).unlink()
    run(ReportConfig(lake=lake.root))
    assert {name: (bundle / name).read_bytes() for name in REPORT_FILES} == before
    assert (bundle / "report.html").read_text() == page
    assert run_main("--lake", lake.root, "report", "--compare", "LATEST") == 2
    assert run_main("--lake", lake.root, "report", "LATEST") == 2


def test_a_bundle_whose_lake_is_gone_has_a_smaller_page(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    (lake.models / lake.latest_model() / "evaluation.parquet").unlink()
    page = Path(run(ReportConfig(lake=lake.root)).outputs["report"]).read_text()
    assert "the page shows only the data in the bundle" in caplog.text
    assert "Test accuracy" in page and "Confusion matrix" not in page
