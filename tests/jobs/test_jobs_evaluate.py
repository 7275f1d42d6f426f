"""`pipeline evaluate` on a split of the table and on labelled files of any kind."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.evaluate import run
from pipeline.config.evaluate import EvaluateConfig
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from pipeline.readers.labels import LabelMap
from pipeline.readers.limits import Limit
from tests.support.commands import run_here
from tests.support.reviews import write_corpus

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the small corpus and a model; the corpus is next to it."""
    root = tmp_path_factory.mktemp("evaluate")
    write_corpus(root / "corpus")
    assert run_here("--lake", root / "lake", "ingest", root / "corpus").code == 0
    options = (
        "--epochs",
        "6",
        "--lr",
        "0.02",
        "--embedding-dim",
        "16",
        "--hidden-dim",
        "16",
        "--batch-size",
        "8",
        "--no-baseline",
    )
    assert run_here("--lake", root / "lake", "train", "--arch", "gru", *options).code == 0
    return root


def evaluated(root: Path, *sources: Path, **options: Any) -> dict[str, Any]:
    receipt = run(EvaluateConfig(lake=Lake(root / "lake"), sources=tuple(map(str, sources)), workers=1, **options))
    assert json.loads(receipt.to_json())["metrics"] == receipt.metrics
    return receipt.metrics


def reviews_csv(path: Path, stars: bool = False) -> Path:
    """Sixty labelled reviews of the small corpus's kind."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "stars" if stars else "label"])
        for number in range(60):
            word, label = (("awful", "neg"), ("lovely", "pos"))[number % 2]
            rating = 3 if number < 6 else 1 + number % 2 * 4
            writer.writerow([f"Film {number} was {word}, so {word}!", rating if stars else label])
    return path


def test_files_that_the_model_was_trained_on_are_named_in_a_warning(trained: Path, tmp_path: Path) -> None:
    lake = trained / "lake"
    warning = "the lake has reviews of it in the split train"
    met = run_here("--lake", lake, "evaluate", trained / "corpus")
    assert met.code == 0 and warning in met.stderr, met.stderr
    held_out = run_here("--lake", lake, "evaluate", trained / "corpus", "--split", "test")
    assert held_out.code == 0
    for other in (("evaluate",), ("evaluate", reviews_csv(tmp_path / "new.csv"))):
        done = run_here("--lake", lake, *other)
        assert done.code == 0 and warning not in done.stderr


def test_a_file_that_cannot_be_evaluated_is_named_in_whole_sentences(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("a,b\n1,2\n")
    done = run_here("--lake", trained / "lake", "evaluate", tmp_path / "bare.csv")
    assert done.code == 65
    assert done.stderr.endswith(
        "bare.csv: no column 'text'. Its columns: 'a', 'b'. Choose one with --text-column. Nothing was evaluated.\n"
    )


def test_the_tables_test_split_is_the_default(trained: Path) -> None:
    found = evaluated(trained)
    model = json.loads(next((trained / "lake" / "models").glob("*/model.json")).read_text())
    assert found["split"] == "test" and found["rows"] == 60
    assert found["accuracy"] == pytest.approx(model["metrics"]["test_accuracy"])
    assert found["loss"] == pytest.approx(model["metrics"]["test_loss"], abs=1e-5)
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] <= high
    assert found["majority_class"] == {"label": "neg", "accuracy": 0.5}
    assert evaluated(trained, split="valid")["rows"] == 6


def test_files_give_what_the_table_gives(trained: Path) -> None:
    table, files = evaluated(trained), evaluated(trained, trained / "corpus", split="test")
    assert files["other_splits"] == 70 and files["unlabelled"] == 0
    assert {name: files[name] for name in ("rows", "accuracy", "confusion")} == {
        name: table[name] for name in ("rows", "accuracy", "confusion")
    }
    assert files["auc"] == pytest.approx(table["auc"])
    whole = evaluated(trained, trained / "corpus")
    assert whole["rows"] == 120 and whole["unlabelled"] == 10


def test_a_csv_of_labels_and_one_of_stars(trained: Path, tmp_path: Path) -> None:
    labels = evaluated(trained, reviews_csv(tmp_path / "labels.csv"))
    assert labels["rows"] == 60 and labels["accuracy"] > 0.9 and labels["classes"]["pos"]["rows"] == 30
    mapped = LabelMap.parse("neg=1..2 pos=4..5")
    stars = evaluated(trained, reviews_csv(tmp_path / "stars.csv", stars=True), label_column="stars", label_map=mapped)
    assert stars["rows"] == 54 and stars["rejects"] == {"unmapped": 6}


def test_rows_that_cannot_be_evaluated(trained: Path, tmp_path: Path) -> None:
    path = reviews_csv(tmp_path / "stars.csv", stars=True)
    with pytest.raises(DataError, match=r"60 of 60 rows cannot be evaluated; --max-bad allows 5%.*label '3'; known labels"):
        evaluated(trained, path, label_column="stars")
    with pytest.raises(DataError, match=r"no labelled reviews in .*60 rejected.*--label-map"):
        evaluated(trained, path, label_column="stars", max_bad=Limit.parse("100%"))
    with pytest.raises(DataError, match="no labelled reviews in the split 'valid'"):
        evaluated(trained, trained / "corpus", split="valid")
    with pytest.raises(DataError, match="label"):
        evaluated(trained, path)
    with pytest.raises(InputNotFoundError, match=r"absent\.csv"):
        evaluated(trained, tmp_path / "absent.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        evaluated(trained, tmp_path / "broken.parquet")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(UsageError, match=r"--label-column: applies to SOURCE only\. Pass files or folders\."):
        EvaluateConfig(lake=lake, label_column="stars")
    with pytest.raises(UsageError, match=r"--table-version: applies to the lake's table, not to SOURCE\. Remove it"):
        EvaluateConfig(lake=lake, sources=("a.csv",), table_version=0)


def test_from_the_command_line(trained: Path, tmp_path: Path, run_main: Callable[..., int]) -> None:
    path = reviews_csv(tmp_path / "stars.csv", stars=True)
    lake = ("--lake", trained / "lake")
    mapped = ("--label-column", "stars", "--label-map", "neg=1,2 pos=4,5")
    assert run_main(*lake, "evaluate", path, *mapped) == 0
    assert run_main(*lake, "evaluate", "--label-column", "stars") == 2
    assert run_main(*lake, "evaluate", path) == 65


def test_files_are_read_with_the_columns_of_the_lakes_settings(
    trained: Path, tmp_path: Path, run_main: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = reviews_csv(tmp_path / "stars.csv", stars=True)
    settings = trained / "lake" / "pipeline.toml"
    settings.write_text('[ingest]\nlabel-column = "stars"\nlabel-map = "neg=1,2 pos=4,5"\n')
    try:
        lake = ("--lake", trained / "lake")
        assert run_main(*lake, "evaluate", path) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["rows"] == 54
        assert run_main(*lake, "evaluate") == 0, "the settings do not concern the table"
        assert run_main(*lake, "evaluate", path, "--label-column", "absent") == 65
    finally:
        settings.unlink()
