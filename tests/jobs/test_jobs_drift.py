"""Unknown tokens at ingest and at score, and drift from the model's test data: on real files, with the command line."""

import json
import random
import re
import shlex
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import finished
from pipeline.lake.shard_writer import write_shard
from schemas.token import KEY_TOKENS, KEY_UNKNOWN, TOKEN
from tests.support.commands import Outcome, run_here
from tests.support.ingested import ingest, rows_of

TESTS = Path(__file__).resolve().parents[1]
WORDS = 2500
TRAIN = ("--arch", "nbsvm", "--linear-bits", "12", "--valid-fraction", "0.2")


def texts(rows: int, seed: int, *, prefix: str = "w", longer: int = 1) -> list[str]:
    """Texts of 20 to 60 words, rare ones among them as in any language; `prefix` gives another language."""
    chance = random.Random(seed)
    weights = [1 / (rank + 5) for rank in range(WORDS)]
    words = [f"{prefix}{number}" for number in range(WORDS)]
    return [
        " ".join([chance.choice(["good", "bad"]), *chance.choices(words, weights, k=longer * chance.randrange(20, 60))])
        for _ in range(rows)
    ]


def write(path: Path, found: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = ["pos" if text.startswith("good") else "neg" for text in found]
    pq.write_table(pa.table({"id": [f"{path.stem}-{n}" for n in range(len(found))], "text": found, "label": labels}), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with 1,000 reviews and a model of them."""
    lake = tmp_path_factory.mktemp("drift") / "lake"
    write(lake / "raw" / "first.parquet", texts(1000, 1))
    assert pipeline(lake, "ingest", "--id-column", "id").code == 0
    assert pipeline(lake, "train", *TRAIN).code == 0
    return lake


def pipeline(lake: Path, *arguments: object) -> Outcome:
    return run_here("--lake", lake, *arguments)


def score(lake: Path, source: Path, *arguments: object) -> Outcome:
    return pipeline(lake, "score", source, "--output", source.with_suffix(".scored.parquet"), *arguments)


def bundle_of(lake: Path) -> Path:
    return lake / "models" / (lake / "models" / "LATEST").read_text().strip()


def newest_record(lake: Path, command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(max((lake / "runs").glob(f"*-{command}-*.json")).read_bytes())
    return found


def test_a_bundle_describes_reviews_that_the_model_was_not_trained_on(trained: Path) -> None:
    bundle = bundle_of(trained)
    reference = json.loads((bundle / "reference.json").read_bytes())
    metrics = json.loads((bundle / "model.json").read_bytes())["metrics"]
    rows = metrics["valid_rows"] + metrics["test_rows"]
    assert reference["rows"] == rows >= 200
    assert "reference.json" in json.loads((bundle / "manifest.json").read_bytes())["files"]
    assert {name: sum(one["counts"]) for name, one in reference["features"].items()} == dict.fromkeys(
        ("length", "unknown", "prediction", "confidence"), rows
    )
    assert 30 < reference["features"]["length"]["mean"] < 50


def test_its_unknown_tokens_are_those_of_new_reviews_although_the_vocabulary_knows_all_its_words(
    trained: Path, tmp_path: Path
) -> None:
    # The vocabulary was built from all of the reviews, so none of their words is unknown.
    assert newest_record(trained, "ingest")["receipt"]["metrics"]["unknown_share"] == 0
    drift = score(trained, write(tmp_path / "new.parquet", texts(600, 2))).receipt["metrics"]["drift"]
    assert drift["unknown_share"]["now"] > 0.001
    assert drift["unknown_share"]["reference"] == pytest.approx(drift["unknown_share"]["now"], rel=0.35)


def test_reviews_of_the_same_kind_are_no_drift(trained: Path, tmp_path: Path) -> None:
    done = score(trained, write(tmp_path / "new.parquet", texts(600, 3)), "--fail-on-drift")
    assert done.code == 0
    assert done.receipt["metrics"]["drift"] | {"psi": None, "p_value": None, "unknown_share": None} == {
        "measured": True,
        "drifted": False,
        "reason": None,
        "rows": 600,
        "unknown_share": None,
        "psi": None,
        "p_value": None,
        "over": [],
    }
    assert "differ" not in done.stderr


def test_other_reviews_are_warned_of_in_words(trained: Path, tmp_path: Path) -> None:
    mixed = texts(300, 4) + texts(300, 5, prefix="x", longer=4)
    done = score(trained, write(tmp_path / "mixed.parquet", mixed))
    assert done.code == 0
    metrics = done.receipt["metrics"]
    assert {"length", "unknown"} <= set(metrics["drift"]["over"])
    assert metrics["unknown_share"] == metrics["drift"]["unknown_share"]["now"] > 0.5
    assert [len(metrics[name]["listed"]) for name in ("unknown_files", "drift_files")] == [1, 1]
    assert "reviews are longer (mean of " in done.stderr
    assert re.search(r"\d+\.\d% of the tokens are unknown instead of \d\.\d%", done.stderr)
    warnings = newest_record(trained, "score")["warnings"]
    assert [" differ " in warning for warning in warnings] == [False, True]


def test_of_several_files_those_are_named_that_differ(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    write(folder / "a.parquet", texts(300, 41))
    write(folder / "b.parquet", texts(300, 42, prefix="x", longer=4))
    write(folder / "c.parquet", texts(300, 43))
    done = pipeline(trained, "score", folder, "--output", f"{tmp_path}/scored/")
    metrics = done.receipt["metrics"]
    names = [name.rpartition("/")[2] for name in metrics["unknown_files"]["listed"]]
    assert (names, metrics["unknown_files"]["total"]) == (["b.parquet"], 1)
    assert metrics["drift_files"] == metrics["unknown_files"]
    assert re.search(
        r"of the tokens are unknown to the model \(--unknown-warn 5\.0%\): \S+/b\.parquet\. Ingest", done.stderr
    )


@pytest.mark.slow
def test_the_remedy_for_other_reviews_works(trained: Path, tmp_path: Path) -> None:
    lake = copied(trained, tmp_path)
    mixed = write(tmp_path / "mixed.parquet", texts(300, 15) + texts(300, 16, prefix="x", longer=4))
    warned = score(lake, mixed).stderr
    assert "Ingest reviews like these with 'pipeline ingest --rebuild-vocab', then train again." in warned
    assert "ingest and label some of them, and train again." in warned
    write(lake / "raw" / "others.parquet", texts(1000, 17, prefix="x", longer=4))
    assert pipeline(lake, "ingest", "--rebuild-vocab", "--id-column", "id").code == 0
    assert pipeline(lake, "train", *TRAIN).code == 0
    done = score(lake, mixed, "--fail-on-drift")
    assert (done.code, done.receipt["metrics"]["drift"]["over"]) == (0, [])
    assert "WARNING" not in done.stderr


def test_fail_on_drift_writes_the_predictions_and_ends_with_65_each_time(trained: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "other.parquet", texts(200, 6, longer=4))
    first = score(trained, source, "--fail-on-drift")
    assert (first.code, first.receipt["written"]) == (65, 200)
    assert pq.read_metadata(source.with_suffix(".scored.parquet")).num_rows == 200
    record = newest_record(trained, "score")
    assert (record["outcome"], record["exit_code"]) == ("done", 65)
    again = score(trained, source, "--fail-on-drift")
    assert (again.code, again.receipt["known"], again.receipt["written"]) == (65, 200, 0)
    assert "differed from the test data" in again.stderr
    assert score(trained, source, "--fail-on-drift", "--drift-warn", "1000").code == 99
    assert score(trained, source).code == 99


def test_drift_goes_with_the_file_that_drifted(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    write(folder / "usual.parquet", texts(200, 3))
    strange = write(folder / "strange.parquet", texts(600, 8, prefix="x"))
    assert pipeline(trained, "score", folder, "--fail-on-drift").code == 65
    assert pipeline(trained, "score", folder, "--fail-on-drift").code == 65
    strange.unlink()
    assert pipeline(trained, "score", folder, "--fail-on-drift").code == 99


def test_fail_on_drift_scores_again_where_no_record_says_what_was_found(trained: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "lost.parquet", texts(200, 7, longer=4))
    assert score(trained, source).code == 0
    max((trained / "runs").glob("*-score-*.json")).unlink()  # as a kill after the rename leaves it
    assert score(trained, source).code == 99
    again = score(trained, source, "--fail-on-drift")
    assert (again.code, again.receipt["written"]) == (65, 200)


def test_few_reviews_are_not_measured(trained: Path, tmp_path: Path) -> None:
    done = score(trained, write(tmp_path / "few.parquet", texts(20, 8, prefix="x")), "--fail-on-drift")
    assert done.code == 0
    assert done.receipt["metrics"]["drift"]["measured"] is False
    assert "too few reviews to compare: 20" in done.receipt["metrics"]["drift"]["reason"]
    assert done.receipt["metrics"]["unknown_share"] > 0.5


def test_rows_without_text_are_not_compared_and_those_without_a_known_word_are(trained: Path, tmp_path: Path) -> None:
    found = [*texts(400, 9), *["x1 x2 x3"] * 100, *[""] * 40]
    drift = score(trained, write(tmp_path / "gaps.parquet", found)).receipt["metrics"]["drift"]
    assert drift["rows"] == 500
    assert "unknown" in drift["over"]


@pytest.mark.slow
def test_a_bundle_of_an_earlier_release_says_so_and_the_remedy_works(trained: Path, tmp_path: Path) -> None:
    lake = copied(trained, tmp_path)
    bundle = bundle_of(lake)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    del manifest["files"]["reference.json"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "reference.json").unlink()
    source = write(tmp_path / "new.parquet", texts(200, 10))
    done = score(lake, source)
    assert done.code == 0
    assert done.receipt["metrics"]["drift"] | {"unknown_share": None} == {
        "measured": False,
        "drifted": False,
        "reason": "no reference",
        "rows": 200,
        "unknown_share": None,
        "psi": {},
        "p_value": {},
        "over": [],
    }
    refused = score(lake, source, "--force", "--fail-on-drift")
    assert refused.code == 2
    match = re.search(r"'pipeline (train --force)'", refused.stderr)
    assert match is not None, refused.stderr
    assert pipeline(lake, *shlex.split(match[1]), *TRAIN).code == 0
    assert score(lake, source, "--force", "--fail-on-drift").code == 0


def test_a_damaged_reference_is_refused(trained: Path, tmp_path: Path) -> None:
    lake = copied(trained, tmp_path)
    path = bundle_of(lake) / "reference.json"
    path.write_text(path.read_text().replace('"mean": 0.', '"mean": 1.', 1))
    done = score(lake, write(tmp_path / "new.parquet", texts(200, 11)))
    assert done.code == 65
    assert "reference.json" in done.stderr
    path.unlink()
    assert score(lake, tmp_path / "new.parquet").code == 66


def test_a_training_without_a_reference_is_still_a_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise MemoryError("too many reviews")

    monkeypatch.setattr(finished, "refer", broken)
    lake = copied(trained, tmp_path)
    done = pipeline(lake, "train", *TRAIN, "--force")
    assert done.code == 0
    assert "no reference (MemoryError: too many reviews)" in done.stderr
    assert (
        score(lake, write(tmp_path / "new.parquet", texts(200, 12))).receipt["metrics"]["drift"]["reason"] == "no reference"
    )


def test_runs_list_the_figures_over_the_nights(trained: Path, tmp_path: Path) -> None:
    lake = copied(trained, tmp_path)
    for path in (lake / "runs").glob("*-score-*.json"):
        path.unlink()  # those of other tests
    score(lake, write(tmp_path / "same.parquet", texts(200, 13)))
    score(lake, write(tmp_path / "longer.parquet", texts(200, 14, longer=4)))
    head, *lines = pipeline(lake, "runs", "--drift", "--last", "3").stdout.splitlines()
    assert head.split() == ["run", "share", "length", "unknown", "classes", "confidence"]
    cells = [line.split() for line in lines]
    assert [row[0].split("-")[1] for row in cells] == ["ingest", "score", "score"]
    assert cells[0][1:] == ["0.0%", "-", "-", "-", "-"]
    assert "*" not in lines[1]
    assert cells[2][2].endswith("*")
    assert max(map(len, lines)) <= 80
    shown = json.loads(pipeline(lake, "runs", "--drift", "--last", "1", "--json").stdout)
    assert shown[0]["receipt"]["metrics"]["drift"]["drifted"]


def test_ingest_measures_unknown_tokens_of_the_run_and_of_the_table(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write(lake / "raw" / "first.parquet", texts(300, 1))
    first = ingest(lake, id_column="id")
    assert (first.metrics["unknown_share"], first.metrics["unknown_share_table"]) == (0, 0)
    write(lake / "raw" / "second.parquet", texts(100, 2, prefix="x"))
    second = ingest(lake, id_column="id")
    rows = rows_of(lake)
    unknown, new = ([token == 1 for row in rows if part in row["source"] for token in row["ids"]] for part in ("", "second"))
    assert second.metrics["unknown_share"] == sum(new) / len(new) > 0.9
    assert second.metrics["unknown_share_table"] == sum(unknown) / len(unknown)
    write(lake / "raw" / "second.parquet", texts(100, 2))  # the same ids with other texts replace them
    third = ingest(lake, id_column="id")
    assert third.metrics["replaced"] == 100
    left = [token == 1 for row in rows_of(lake) for token in row["ids"]]
    assert third.metrics["unknown_share_table"] == sum(left) / len(left) < 0.05
    nothing = ingest(lake, id_column="id")
    assert nothing.exit_code == 99
    assert nothing.metrics["unknown_share"] is None
    assert nothing.metrics["unknown_share_table"] == third.metrics["unknown_share_table"]


def test_the_share_of_the_table_is_not_known_with_a_shard_of_an_earlier_release(tmp_path: Path) -> None:
    with tarfile.open(TESTS / "support" / "first_lake.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    lake = tmp_path / "lake"
    found = pa.table({"id": ["new-1", "new-2"], "text": ["zyx zyx", "The film"]})
    pq.write_table(found, tmp_path / "more.parquet")
    more = ingest(lake, tmp_path / "more.parquet", id_column="id")
    assert more.metrics["unknown_share"] >= 0.5
    assert more.metrics["unknown_share_table"] is None
    assert pipeline(lake, "upgrade").code == 0  # writes the shard again
    assert 0 < ingest(lake, tmp_path / "more.parquet", id_column="id").metrics["unknown_share_table"] < 0.5


def test_too_many_unknown_tokens_are_warned_of_and_the_remedy_works(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write(lake / "raw" / "first.parquet", texts(300, 1))
    options = ("--id-column", "id")
    assert "unknown-warn" not in pipeline(lake, "ingest", *options).stderr
    write(lake / "raw" / "second.parquet", texts(200, 2, prefix="x"))
    second = pipeline(lake, "ingest", *options)
    match = re.search(r"([\d.]+)% of the new tokens are not in the vocabulary .*'pipeline (ingest [^']*)'", second.stderr)
    assert match is not None, second.stderr
    assert float(match[1]) == pytest.approx(100 * second.receipt["metrics"]["unknown_share"], abs=0.06)
    rebuilt = pipeline(lake, *shlex.split(match[2]), *options)
    assert rebuilt.code == 0
    assert rebuilt.receipt["metrics"]["unknown_share"] == 0
    assert "unknown-warn" not in rebuilt.stderr


def test_a_small_new_vocabulary_is_warned_of_and_the_remedy_works(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write(lake / "raw" / "first.parquet", texts(300, 1))
    small = pipeline(lake, "ingest", "--id-column", "id", "--max-vocab", "100")
    assert "are not in the new vocabulary" in small.stderr
    assert "higher --max-vocab" in small.stderr
    larger = pipeline(lake, "ingest", "--id-column", "id", "--rebuild-vocab", "--max-vocab", "5000")
    assert "unknown-warn" not in larger.stderr


def test_the_limit_is_an_option_and_a_few_tokens_are_not_judged(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, write(tmp_path / "first.parquet", texts(300, 1)), id_column="id")
    foreign = write(tmp_path / "foreign.parquet", texts(100, 2, prefix="x"))
    assert "unknown-warn" not in pipeline(lake, "ingest", foreign, "--id-column", "id", "--unknown-warn", "1").stderr
    few = write(tmp_path / "few.parquet", texts(3, 3, prefix="y"))
    assert "unknown-warn" not in pipeline(lake, "ingest", few, "--id-column", "id").stderr
    assert pipeline(lake, "ingest", few, "--unknown-warn", "2").code == 2


def test_a_restored_record_keeps_the_share(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    first = ingest(lake, write(tmp_path / "first.parquet", texts(300, 1)), id_column="id", max_vocab=50, unknown_warn=1.0)
    next((lake / "runs").glob("*-ingest-*.json")).unlink()
    ingest(lake, write(tmp_path / "second.parquet", texts(30, 2)), id_column="id")
    restored = json.loads((lake / "runs" / f"{first.run_id}.json").read_bytes())
    assert restored["recovered"]
    assert restored["receipt"]["metrics"] == {
        "unknown_share": first.metrics["unknown_share"],
        "unknown_share_table": first.metrics["unknown_share"],
    }


def test_a_shard_notes_its_tokens(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist([{"ids": [1, 5, 1]}, {"ids": []}, {"ids": [2]}], schema=TOKEN.schema)
    path = write_shard(tmp_path, "train", rows.set_column(4, "split", pa.array(["train"] * 3)), "0" * 16)
    metadata = pq.read_metadata(path).metadata
    assert (metadata[KEY_TOKENS], metadata[KEY_UNKNOWN]) == (b"4", b"2")


def copied(lake: Path, folder: Path) -> Path:
    """A copy of a lake, to be changed."""
    return Path(shutil.copytree(lake, folder / "lake"))
