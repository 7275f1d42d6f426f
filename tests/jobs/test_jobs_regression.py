"""Regression from raw files to predicted numbers, on a folder of real files."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import pipeline
from pipeline.cli.summary import summary
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import read_bundle
from pipeline.order.selection import PARTS, select_as_trained
from pipeline.scoring.answers import answer
from pipeline.scoring.predictor import Predictor
from pipeline.tasks.registry import task_of
from pipeline.training.data import open_data
from schemas.run import Receipt
from tests.support.commands import invoke, run_here

ROWS = 900
FAST = ("--arch", "ridge", "--linear-bits", "14", "--holdout", "0.2")
NETWORK = ("--arch", "bag", "--epochs", "4", "--lr", "0.02", "--no-wide", "--linear-bits", "14", "--holdout", "0.2")


def prices(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Reviews whose price is the sum of what their words cost."""
    random = np.random.default_rng(seed)
    words, cost = np.array([f"word{number}" for number in range(40)]), np.linspace(-4.0, 4.0, 40)
    picked = random.integers(0, len(words), (rows, 12))
    texts = [" ".join(words[row]) for row in picked]
    return pa.table(
        {
            "text": texts,
            "price": 100.0 + 10.0 * cost[picked].sum(axis=1),
            "label": ["cheap" if total < 0 else "dear" for total in cost[picked].sum(axis=1)],
        }
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prices")
    # without IDs of their own, the path would decide which reviews are held out, and with them the error
    named = prices().append_column("id", pa.array([f"review {row}" for row in range(ROWS)]))
    pa.csv.write_csv(named, folder / "prices.csv")
    columns = ("--target-column", "price", "--id-column", "id")
    invoke("ingest", folder / "prices.csv", *columns, "--lake", folder / "lake")
    invoke("train", "--task", "regression", *FAST, "--lake", folder / "lake")
    return folder / "lake"


def test_numbers_stand_in_the_shards_and_other_tools_see_them(lake: Path) -> None:
    (shard,) = (lake / "tokens").glob("*.parquet")
    kept = pq.read_table(shard, columns=["review_id", "target"])
    expected = prices()["price"].to_numpy()
    assert kept["target"].to_numpy() == pytest.approx(expected)
    assert "target" in [field.name for field in DeltaTable(lake / "tokens").schema().fields]


def test_without_numbers_a_shard_is_what_it_was(tmp_path: Path) -> None:
    pa.csv.write_csv(prices(60), tmp_path / "prices.csv")
    invoke("ingest", tmp_path / "prices.csv", "--lake", tmp_path / "lake")
    (shard,) = (tmp_path / "lake" / "tokens").glob("*.parquet")
    assert "target" not in pq.read_schema(shard).names
    assert "target" not in [field.name for field in DeltaTable(tmp_path / "lake" / "tokens").schema().fields]
    again = invoke("ingest", tmp_path / "prices.csv", "--target-column", "price", "--lake", tmp_path / "lake")
    assert again["metrics"]["replaced"] == 60, "a number is part of a review's content"
    assert "target" in [field.name for field in DeltaTable(tmp_path / "lake" / "tokens").schema().fields]
    learned = invoke("train", "--task", "regression", "--arch", "ridge", "--holdout", "0", "--lake", tmp_path / "lake")
    assert learned["metrics"]["train_rows"] + learned["metrics"]["valid_rows"] == 60


def test_a_column_of_numbers_is_not_taken_for_forgotten_labels(tmp_path: Path) -> None:
    pa.csv.write_csv(prices(60).drop_columns("label").rename_columns(["text", "stars"]), tmp_path / "stars.csv")
    given = ("ingest", tmp_path / "stars.csv", "--dry-run", "--lake", tmp_path / "lake")
    assert "if 'stars' has the labels" in run_here(*given).stderr
    assert "label" not in run_here(*given, "--target-column", "stars").stderr


def test_a_table_of_numbers_without_labels_says_how_to_train(tmp_path: Path) -> None:
    pa.csv.write_csv(prices(60).drop_columns("label"), tmp_path / "prices.csv")
    lake = tmp_path / "lake"
    given = ("ingest", tmp_path / "prices.csv", "--target-column", "price", "--lake", lake)
    for code in (0, 99):
        done = run_here(*given)
        assert done.code == code
        told = summary(Receipt(**done.receipt), f" --lake {lake}")
        assert told.next == [f"pipeline train --lake {lake} --task regression"] and "train" not in dict(told.facts)
    assert f"Next: pipeline --lake {lake} train --task regression" in run_here("status", "--lake", lake).stdout
    refused = run_here("train", "--lake", lake)
    assert refused.code == 65 and "The reviews have numbers: --task regression learns these." in refused.stderr
    assert run_here(*shlex.split(told.next[0])[1:], "--arch", "ridge", "--linear-bits", "12").code == 0


def test_numbers_that_are_lost_for_want_of_the_option_are_said(tmp_path: Path) -> None:
    pa.csv.write_csv(prices(60), tmp_path / "prices.csv")
    given = ("ingest", tmp_path / "prices.csv", "--lake", tmp_path / "lake")
    assert "for regression" not in run_here(*given, "--target-column", "price").stderr
    lost = run_here(*given)
    assert "60 replaced reviews have none: pass --target-column to keep them" in lost.stderr
    again = run_here(*given, "--target-column", "price")  # the remedy
    assert again.code == 0 and "for regression" not in again.stderr
    assert (
        pq.read_table(tmp_path / "lake" / "tokens" / Path(DeltaTable(tmp_path / "lake" / "tokens").file_uris()[0]).name)[
            "target"
        ].null_count
        == 0
    )


def test_values_that_are_no_numbers_are_rejected_and_missing_ones_are_unlabelled(tmp_path: Path) -> None:
    rows = {"text": ["good one", "bad one", "fine one", "no number"], "stars": ["4.5", "many", "inf", None]}
    pa.csv.write_csv(pa.table(rows), tmp_path / "stars.csv")
    given = ("--target-column", "stars", "--max-bad", "5", "--lake", tmp_path / "lake")
    receipt = invoke("ingest", tmp_path / "stars.csv", *given)
    assert receipt["metrics"]["rejects"] == {"invalid_target": 2}
    shards = [pq.read_table(path) for path in sorted((tmp_path / "lake" / "tokens").glob("*.parquet"))]
    assert [shard["split"][0].as_py() for shard in shards] == ["train", "unsup"]


def test_a_ridge_and_a_network_learn_prices(lake: Path, tmp_path: Path) -> None:
    network = invoke("train", "--task", "regression", *NETWORK, "--promote", "always", "--lake", lake)
    for receipt in (invoke("train", "--task", "regression", *FAST, "--lake", lake), network):
        metrics = receipt["metrics"]
        assert metrics["test_spearman"] > 0.8
        assert metrics["test_mae"] < 0.6 * metrics["test_constant_mae"]
    assert network["metrics"]["baseline"]["arch"] == "ridge"
    bundle = read_bundle(Path(network["outputs"]["model"]))
    assert bundle.labels == () and bundle.task["name"] == "regression"
    assert (bundle.folder / "report.html").read_text(encoding="utf-8").count("Mean absolute error") >= 1


@pytest.mark.slow
def test_units_change_nothing_but_the_units(tmp_path: Path) -> None:
    found = []
    for name, unit, offset in (("euros", 1.0, 0.0), ("cents", 100.0, 70_000.0)):
        table = prices(400, seed=2).append_column("id", pa.array([f"review {row}" for row in range(400)]))
        price = pc.add(pc.multiply(table["price"], unit), offset)
        pa.csv.write_csv(table.set_column(table.column_names.index("price"), "price", price), tmp_path / f"{name}.csv")
        lake = tmp_path / name
        columns = ("--target-column", "price", "--id-column", "id")
        invoke("ingest", tmp_path / f"{name}.csv", *columns, "--lake", lake)
        metrics = invoke("train", "--task", "regression", *FAST, "--lake", lake)["metrics"]
        found.append([metrics["valid_mae"] / unit, metrics["valid_spearman"]])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_scores_are_numbers_the_same_in_python(lake: Path, tmp_path: Path) -> None:
    unseen = prices(80, seed=1)
    pa.csv.write_csv(unseen.append_column("n", pa.array(range(80))), tmp_path / "unseen.csv")
    receipt = invoke("score", tmp_path / "unseen.csv", "--output", tmp_path / "out.parquet", "--explain", "--lake", lake)
    scored = pq.read_table(tmp_path / "out.parquet")
    assert scored.column_names[4:] == ["predicted_value", "model_id", "unscored_reason", "explanation"]
    assert np.corrcoef(scored["predicted_value"].to_numpy(), unseen["price"].to_numpy())[0, 1] > 0.8
    told = receipt["metrics"]["predicted_value"]
    assert told["least"] <= told["mean"] <= told["greatest"] and "predicted" not in receipt["metrics"]
    assert receipt["metrics"]["drift"]["reason"] == "the model predicts numbers"
    with pipeline.load(lake) as model:
        assert model.predict_values(unseen["text"].to_pylist()) == pytest.approx(scored["predicted_value"].to_numpy())
        assert model.predict([None])[0].to_dict()["predicted_value"] is None
        assert model.predict_table(unseen).column_names[3:] == ["predicted_value", "model_id", "unscored_reason"]
        with pytest.raises(UsageError, match="predict_values"):
            model.predict_proba(["word1"])


def test_drift_that_cannot_be_measured_is_no_reason_for_another_model(lake: Path, tmp_path: Path) -> None:
    pa.csv.write_csv(prices(20, seed=3), tmp_path / "new.csv")
    scored = run_here("score", tmp_path / "new.csv", "--output", tmp_path / "out.parquet", "--lake", lake)
    (line,) = [line for line in scored.stderr.splitlines() if "drift was not measured" in line]
    assert line.endswith("drift is measured for models of labels only")


def test_a_sentence_gets_a_number(lake: Path) -> None:
    bundle = read_bundle(Lake(lake).models / Lake(lake).latest_model())
    with Predictor(bundle) as predictor:
        dear, nothing = answer(predictor, ["word39 word38", "?"], explain=True)
    assert dear.value is not None and dear.line().startswith(f"{dear.value:.4g}\tword39 word38\tword")
    assert dear.to_dict()["predicted_value"] == dear.value and "prediction" not in dear.to_dict()
    assert nothing.line().startswith("-\t?\t(no_")


def test_a_number_is_raised_by_what_its_explanation_says(lake: Path) -> None:
    with pipeline.load(lake) as model:
        weights = {weight.token: weight.weight for weight in model.explain("word39 word39 word0")}
    assert weights["word39"] > 0 > weights["word0"]


def test_evaluate_on_the_table_and_on_files(lake: Path, tmp_path: Path) -> None:
    table = invoke("evaluate", "--lake", lake)["metrics"]
    assert table["mae_interval"][0] < table["mae"] < table["mae_interval"][1]
    pa.csv.write_csv(prices(200, seed=2), tmp_path / "more.csv")
    files = invoke("evaluate", tmp_path / "more.csv", "--target-column", "price", "--lake", lake)["metrics"]
    assert files["rows"] == 200 and files["mae"] == pytest.approx(table["mae"], rel=0.3)
    words = run_here("evaluate", tmp_path / "more.csv", "--target-column", "text", "--lake", lake)
    assert words.code == 65 and "Fix the rows, name another column with --target-column, or allow" in words.stderr


def test_options_of_another_task_are_refused_unless_ingest_has_them(lake: Path, tmp_path: Path) -> None:
    pa.csv.write_csv(prices(50, seed=3), tmp_path / "more.csv")
    refused = run_here("evaluate", tmp_path / "more.csv", "--skip-labels", "cheap", "--lake", lake)
    assert refused.code == 2 and "--skip-labels" in refused.stderr and "predicts numbers, not labels" in refused.stderr
    settings = lake / "pipeline.toml"
    settings.write_text('[ingest]\nskip-labels = "cheap"\ntarget-column = "price"\n')
    try:
        assert run_here("evaluate", tmp_path / "more.csv", "--lake", lake).receipt["metrics"]["rows"] == 50
    finally:
        settings.unlink()


def test_pages_of_labels_refuse_numbers(lake: Path, tmp_path: Path) -> None:
    pa.csv.write_csv(prices(5), tmp_path / "few.csv")
    invoke("score", tmp_path / "few.csv", "--output", tmp_path / "few.parquet", "--lake", lake)
    live = Lake(lake).latest_model()
    for options in (("--predictions", tmp_path / "few.parquet"), ("--compare", live, live)):
        found = run_here("report", *options, "--lake", lake)
        assert found.code == 2 and "predicts numbers" in found.stderr


@pytest.mark.slow
def test_crossval_predicts_each_review_once(lake: Path) -> None:
    receipt = invoke(
        "crossval", "--task", "regression", "--arch", "ridge", "--linear-bits", "14", "--folds", "2", "--lake", lake
    )
    predicted = pq.read_table(receipt["outputs"]["predictions"])
    assert sorted(predicted["review_id"].to_pylist()) == sorted(set(predicted["review_id"].to_pylist()))
    assert len(predicted) == ROWS and {"target", "predicted_value"} < set(predicted.column_names)
    assert "label" not in predicted.column_names
    assert set(receipt["metrics"]["mean"]) == {"mae", "rmse", "spearman"}


@pytest.fixture
def own(lake: Path, tmp_path: Path) -> Path:
    """A lake of the test's own with a live ridge."""
    pa.csv.write_csv(prices(), tmp_path / "prices.csv")
    invoke("ingest", tmp_path / "prices.csv", "--target-column", "price", "--lake", tmp_path / "lake")
    invoke("train", "--task", "regression", *FAST, "--lake", tmp_path / "lake")
    return tmp_path / "lake"


@pytest.mark.slow
def test_the_commands_that_are_suggested_for_numbers_work(own: Path) -> None:
    poor = ("--arch", "bag", "--epochs", "1", "--lr", "1e-7", "--no-wide", "--linear-bits", "14", "--holdout", "0.2")
    trained = run_here("train", "--task", "regression", *poor, "--lake", own)
    found = trained.receipt
    assert found["metrics"]["baseline"]["better"] and found["metrics"]["promotion"]["decision"] == "not promoted"
    status = run_here("status", "--lake", own)
    assert "did not go live" in status.stdout
    looked = shlex.split(status.stdout.partition("Next: ")[2].splitlines()[0])
    assert run_here(*looked[1:]).code == 0 and looked[-1] == found["outputs"]["model_id"]
    said = re.search(r"Use it \((.+?)\)", " ".join(trained.stderr.split()))
    *_, suggested = summary(Receipt(**found), f" --lake {own}").next
    assert said is not None and suggested == f"pipeline train --lake {own} {said[1]}"
    assert run_here(*shlex.split(suggested)[1:], "--linear-bits", "14").code == 0


@pytest.mark.slow
def test_a_worse_model_and_one_of_another_task_do_not_go_live(own: Path) -> None:
    live = Lake(own).latest_model()
    worse = invoke("train", "--task", "regression", *FAST, "--linear-ngrams", "1", "--linear-lr", "0.0005", "--lake", own)
    promotion = worse["metrics"]["promotion"]
    assert (promotion["decision"], promotion["reason"]) == ("not promoted", "worse")
    assert promotion["challenger_mae"] > promotion["live_mae"]
    other = invoke("train", "--arch", "nbsvm", "--linear-bits", "14", "--holdout", "0.2", "--lake", own)
    promotion = other["metrics"]["promotion"]
    assert (promotion["decision"], promotion["reason"]) == ("not promoted", "other task")
    assert promotion["message"].endswith("has learned regression, so nothing was compared; --promote always replaces it")
    assert Lake(own).latest_model() == live
    starred = own.parent / "reviews" / "train" / "cheap"
    starred.mkdir(parents=True)
    for number in range(300):
        (starred / f"{number}_{number % 10 + 1}.txt").write_text(f"word{number % 10} word{number % 7}")
    invoke("ingest", own.parent / "reviews", "--lake", own)
    column = invoke("train", "--task", "regression", *FAST, "--target", "stars", "--lake", own)
    assert column["metrics"]["promotion"]["reason"] == "other task"
    assert Lake(own).latest_model() == live
    always = invoke(
        "train", "--arch", "nbsvm", "--linear-bits", "13", "--holdout", "0.2", "--promote", "always", "--lake", own
    )
    assert Lake(own).latest_model() == always["outputs"]["model_id"]
    assert "replaces it" not in always["metrics"]["promotion"]["message"]


def test_the_validation_part_is_found_again_and_has_all_quarters(lake: Path) -> None:
    bundle = read_bundle(Lake(lake).models / Lake(lake).latest_model())
    selection = select_as_trained(open_data(Lake(lake)).shards, task_of(bundle), bundle.training)
    rows = {name: selection.part(name).rows for name in PARTS}
    assert rows == {name: bundle.metrics[f"{name}_rows"] for name in PARTS}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--arch", "nbsvm"), "The linear n-gram model of --task regression is --arch ridge"),
        (("--class-weights", "balanced"), "--class-weights: applies to --task classification only"),
        (("--unlabelled", "1"), "--unlabelled: applies to --task classification only"),
        (("--select", "accuracy"), "--task regression has no such metric. Choose mae, spearman, loss"),
        (("--target", "stars"), "no review of the split 'train' has a number in the column 'stars'"),
    ],
)
def test_what_regression_lacks_is_refused(options: tuple[str, ...], message: str, lake: Path) -> None:
    found = run_here("train", "--task", "regression", *options, "--lake", lake)
    assert found.code in (2, 65) and message in found.stderr


def test_what_numbers_lack_is_refused_in_scoring(lake: Path, tmp_path: Path) -> None:
    pa.csv.write_csv(prices(5), tmp_path / "few.csv")
    for option in (("--abstain-below", "0.9"), ("--fail-on-drift",)):
        found = run_here("score", tmp_path / "few.csv", "--output", tmp_path / "out.csv", *option, "--lake", lake)
        assert found.code == 2 and "predicts numbers" in found.stderr


def test_the_model_is_found_again(lake: Path) -> None:
    again = run_here("train", "--task", "regression", *FAST, "--lake", lake)
    assert again.code == 99
    listed = json.loads(run_here("models", "--json", "--lake", lake).stdout)
    assert {row["task"] for row in listed} == {"regression"} and all(row["mae"] > 0 for row in listed)


@pytest.mark.slow
def test_stars_of_acl_imdb_are_numbers(tmp_path: Path) -> None:
    for place, stars in (("neg", (1, 2, 3, 4)), ("pos", (7, 8, 9, 10))):
        folder = tmp_path / "aclImdb" / "train" / place
        folder.mkdir(parents=True)
        for number in range(40):
            given = stars[number % 4]
            (folder / f"{number}_{given}.txt").write_text(f"film {'good ' * given}{'bad ' * (10 - given)}")
    lake = tmp_path / "lake"
    invoke("ingest", tmp_path / "aclImdb", "--lake", lake)
    from_stars = invoke("train", "--task", "regression", "--arch", "ridge", "--lake", lake)
    assert read_bundle(Path(from_stars["outputs"]["model"])).task["column"] == "stars"
    invoke("ingest", tmp_path / "aclImdb", "--target-column", "stars", "--lake", lake)
    from_target = invoke("train", "--task", "regression", "--arch", "ridge", "--promote", "always", "--lake", lake)
    assert read_bundle(Path(from_target["outputs"]["model"])).task["column"] == "target"
    assert from_target["metrics"]["valid_mae"] == pytest.approx(from_stars["metrics"]["valid_mae"])
