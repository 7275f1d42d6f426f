"""`pipeline nightly`: real nights of small lakes, each step in a process of its own."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Outcome, Run, run_here
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT

SETTINGS = """
[train]
arch = "nbsvm"
"""
MALFORMED = "text,label\n" + "three,cells,here\n" * 500
GOOD = "text,label\n" + "".join(f"a fine film number {n},pos\na dull film number {n},neg\n" for n in range(20))


@pytest.fixture(autouse=True)
def _forked_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The night runs in the test's process; its steps need no start of Python each."""
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A lake after its first night, and what that night did."""
    root = tmp_path_factory.mktemp("first") / "a lake"
    score = ("--score-input", root / "incoming/new.parquet", "--score-reviews", 12)
    made = run_here("sample", root / "raw", "--reviews", 240, "--test-reviews", 40, "--unsup", 4, *score)
    assert made.code == 0
    (root / "pipeline.toml").write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jobs.night.step.COMMAND", forked_pipeline())
        return root, run_here("--lake", root, "nightly")


@pytest.fixture
def lake(first_night: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """A copy of that lake."""
    return Path(shutil.copytree(first_night[0], tmp_path / "a lake", symlinks=True))


Night = Callable[..., Outcome]


@pytest.fixture
def night(command: Run, lake: Path) -> Night:
    """Runs a night of the lake."""
    return lambda *options, **environment: command("--lake", lake, "nightly", *options, **environment)


def steps(done: Outcome) -> list[tuple[str, int]]:
    return [(step["command"], step["exit_code"]) for step in done.receipt["metrics"]["steps"]]


def record(lake: Path, done: Outcome) -> dict[str, Any]:
    return json.loads((lake / "runs" / f"{done.receipt['run_id']}.json").read_text())


def test_a_night_with_work_is_silent_and_leaves_one_receipt_and_one_log(first_night: tuple[Path, Outcome]) -> None:
    lake, done = first_night
    assert (done.code, done.stderr) == (0, "")
    assert steps(done) == [("ingest", 0), ("train", 0), ("score", 0)]
    ingest, train, score = done.receipt["metrics"]["steps"]
    assert (ingest["read"], ingest["written"], score["written"]) == (284, 284, 12)
    assert train["outputs"]["model_id"] == (lake / "models" / "LATEST").read_text().strip()
    assert list((lake / "predictions").rglob("*.parquet"))
    assert done.receipt["metrics"]["attention"] == []
    log = Path(done.receipt["metrics"]["log"])
    assert [path.name for path in (lake / "logs").iterdir()] == [log.name]
    assert f"score {score['run_id']}: done" in log.read_text()
    assert json.loads((lake / "runs" / f"{score['run_id']}.json").read_text())["part_of"] == done.receipt["run_id"]


def test_the_morning_page_knows_the_night(first_night: tuple[Path, Outcome]) -> None:
    lake, done = first_night
    page = (lake / "index.html").read_text()
    assert done.receipt["metrics"]["steps"][1]["outputs"]["model_id"] in page


@pytest.mark.slow
def test_a_delivery_of_flipped_labels_does_not_go_live_and_is_one_line(night: Night, lake: Path) -> None:
    live = (lake / "models" / "LATEST").read_text()
    other = {"pos": "neg", "neg": "pos"}
    texts = [(path.read_text(), path.parent.name) for path in sorted((lake / "raw").rglob("train/[np]*/*.txt"))]
    rows = [json.dumps({"text": f"{text} {copy}", "label": other[label]}) for copy in range(3) for text, label in texts]
    (lake / "raw" / "flipped.jsonl").write_text("\n".join(rows))
    done = night()
    assert steps(done) == [("ingest", 0), ("train", 0), ("score", 99)]
    (line,) = [line for line in done.stderr.splitlines() if "same label" not in line]
    assert "was not promoted: it is worse than " in line
    assert (lake / "models" / "LATEST").read_text() == live
    assert night().stderr == "", "the same model is said once"


def test_a_night_without_work_is_silent_and_ends_with_99(night: Night, lake: Path) -> None:
    done = night()
    assert (done.code, done.stderr) == (99, "")
    assert steps(done) == [("ingest", 99), ("train", 99), ("score", 99)]
    assert record(lake, done)["outcome"] == "nothing-new"


def test_rejected_rows_are_said_once(night: Night, lake: Path, command: Run) -> None:
    (lake / "raw" / "bad.csv").write_text(GOOD + "one,two,three\n" + ",pos\n")
    first = night("--retrain", "never")
    assert first.code == 0
    (line,) = first.stderr.splitlines()
    assert line.startswith("ingest: 2 rows rejected: 1 malformed_row, 1 missing_text, in raw/bad.csv. To see them: ")
    shown = command(*shlex.split(line.partition(" To see them: ")[2])[1:])
    assert shown.code == 0 and "raw/bad.csv, row 40: malformed_row: " in shown.stdout
    again = night("--retrain", "never")
    assert (again.code, again.stderr) == (99, "")
    (lake / "raw" / "worse.csv").write_text(GOOD.replace("film", "book") + "one,two,three\n")
    said = night("--retrain", "never").stderr
    assert "ingest: 3 rows rejected (2 the night before): 1 more malformed_row, in raw/worse.csv. To see them: " in said


@pytest.mark.slow
def test_an_unreadable_file_is_said_once_and_does_not_fail_the_night(night: Night, lake: Path) -> None:
    (lake / "raw" / "broken.tar.gz").write_bytes(b"\x1f\x8b no archive")
    first = night()
    assert first.code == 99
    assert first.stderr == "ingest: 1 file skipped as unreadable, the first: raw/broken.tar.gz (damaged)\n"
    assert night().stderr == ""


@pytest.mark.slow
def test_an_unreadable_file_among_those_to_score_is_said_once(night: Night, lake: Path) -> None:
    (lake / "incoming" / "broken.parquet").write_bytes(b"PAR1 no table")
    first = night("--retrain", "never")
    assert "score: 1 file skipped as unreadable, the first: incoming/broken.parquet (damaged)" in first.stderr
    assert night("--retrain", "never").stderr == ""


@pytest.mark.slow
def test_a_folder_to_score_that_cannot_be_listed_is_said(first_night: tuple[Path, Outcome], tmp_path: Path) -> None:
    lake = Path(shutil.copytree(first_night[0], tmp_path / "lake", symlinks=True))
    command = [sys.executable, "-P", "-m", "pipeline", "--lake", lake, "nightly", "--retrain", "never"]
    if os.geteuid() == 0:  # who may read everything, but for this
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
        if not shutil.which("setpriv"):
            pytest.skip("root reads everything without setpriv")
    closed = lake / "incoming" / "closed"
    closed.mkdir()
    closed.chmod(0)
    (lake / "raw").chmod(0o555)  # which a night only reads
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        (lake / "incoming" / "new.parquet").unlink()
        again = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    finally:
        closed.chmod(0o755)
        (lake / "raw").chmod(0o755)
    said = "score: 1 file skipped as unreadable, the first: incoming/closed (unreadable)\n"
    assert (done.returncode, done.stderr) == (99, said)
    assert again.returncode == 65
    (line,) = again.stderr.splitlines()
    assert line.startswith("score: failed with exit code 65: none of 1 files can be scored. The first: incoming/closed: ")


def test_new_classes_come_with_the_command_that_adds_them(night: Night, lake: Path, command: Run) -> None:
    (lake / "raw" / "mixed.csv").write_text(GOOD + "so so,neutral\n")
    done = night("--retrain", "never")
    assert "ingest: some labels are unknown to the lake; 'pipeline ingest --rebuild-vocab' adds these classes" in done.stderr
    assert command("--lake", lake, "ingest", "--rebuild-vocab").receipt["metrics"]["labels"] == ["neg", "neutral", "pos"]


def test_a_failed_step_does_not_stop_the_others_and_says_why(night: Night, lake: Path) -> None:
    (lake / "raw" / "broken.csv").write_text(MALFORMED)
    shutil.copy(lake / "incoming" / "new.parquet", lake / "incoming" / "more.parquet")
    done = night()
    assert done.code == 65
    assert steps(done) == [("ingest", 65), ("train", 99), ("score", 0)]
    (failure, *rest) = done.stderr.splitlines()
    assert failure.startswith("ingest: failed with exit code 65: 500 of 784 rows are malformed; --max-bad allows 5%")
    assert failure.endswith(f"Log: {done.receipt['metrics']['log']}")
    assert rest == [] or rest[0].startswith("ingest: 500 rows rejected")
    found = record(lake, done)
    assert (found["outcome"], found["exit_code"]) == ("failed", 65)
    assert found["error"].startswith("PipelineError: ingest failed: 500 of 784")
    assert night().code == 65, "a failure is said every night"


def test_a_wrong_option_of_a_step_is_named(night: Night, lake: Path) -> None:
    (lake / "pipeline.toml").write_text('[train]\narch = "nbsvn"\n')
    done = night()
    assert done.code == 2
    assert "train: failed with exit code 2: " in done.stderr
    assert "[train]: arch: 'nbsvn' is not known. Did you mean 'nbsvm'?" in done.stderr


def test_a_lake_whose_first_ingest_fails_is_not_trained_nor_scored(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "incoming").mkdir()
    (tmp_path / "raw" / "broken.csv").write_text(MALFORMED)
    (tmp_path / "incoming" / "new.csv").write_text(GOOD)
    done = command("--lake", tmp_path, "nightly")
    assert (done.code, steps(done)) == (65, [("ingest", 65)])


def test_a_lake_that_is_not_there_is_refused_and_the_message_helps(tmp_path: Path, command: Run) -> None:
    done = command("--lake", tmp_path / "lake", "nightly")
    assert done.code == 66
    assert not (tmp_path / "lake").exists()
    assert "'pipeline init FILE' starts one with your reviews" in done.stderr
    (tmp_path / "good.csv").write_text(GOOD)
    assert command("--lake", tmp_path / "lake", "init", tmp_path / "good.csv").code == 0
    assert command("--lake", tmp_path / "lake", "nightly", "--retrain", "never").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [".gitkeep", "_SUCCESS", ".tmp-1/new.parquet", "_folder/new.parquet"])
def test_hidden_files_do_not_wait_to_be_scored(night: Night, lake: Path, hidden: str) -> None:
    shutil.rmtree(lake / "incoming")
    path = lake / "incoming" / hidden
    path.parent.mkdir(parents=True)
    path.touch()
    done = night("--retrain", "never")
    assert (done.code, done.stderr) == (99, "")
    assert steps(done) == [("ingest", 99)]


@pytest.mark.slow
def test_what_to_score_can_be_a_path_with_blanks_or_a_pattern(night: Night, lake: Path) -> None:
    waiting = lake / "to be scored" / "new reviews.parquet"
    waiting.parent.mkdir()
    shutil.copy(lake / "incoming" / "new.parquet", waiting)
    assert steps(night("--retrain", "never", "--input", waiting))[-1] == ("score", 0)
    assert (lake / "predictions" / "new reviews.parquet").exists()
    assert steps(night("--retrain", "never", "--input", lake / "nothing here" / "*.csv")) == [("ingest", 99)]
    missing = night("--retrain", "never", "--input", lake / "mistyped.csv")
    assert missing.code == 66
    assert f"score: failed with exit code 66: no such file or folder: {lake / 'mistyped.csv'}" in missing.stderr


def test_the_lakes_settings_say_what_to_score(night: Night, lake: Path) -> None:
    shutil.move(lake / "incoming", lake / "inbox")
    (lake / "pipeline.toml").write_text(SETTINGS + '[score]\ninput = ["inbox"]\n[nightly]\nretrain = "never"\n')
    assert steps(night()) == [("ingest", 99), ("score", 0)]
    assert any("inbox" in str(path) for path in (lake / "predictions").rglob("*.parquet"))


@pytest.mark.slow
def test_options_of_train_in_one_argument(night: Night) -> None:
    done = night("--train-options", "--arch nbsvm --seed 7")
    assert steps(done)[1] == ("train", 0)
    refused = night("--train-options", "'")
    assert refused.code == 2
    assert "--train-options" in refused.stderr


def test_vacuum_is_a_step_when_asked_for(night: Night) -> None:
    assert steps(night("--retrain", "never", "--vacuum"))[-1][0] == "vacuum"


@pytest.mark.slow
def test_small_shards_are_merged_once_there_are_as_many_as_the_settings_say(night: Night, lake: Path) -> None:
    (lake / "pipeline.toml").write_text(f'{SETTINGS}[nightly]\nretrain = "never"\ncompact = 2\n')
    assert steps(night())[-1] == ("compact", 99)
    (lake / "raw" / "more.csv").write_text(GOOD)
    assert steps(night())[-1] == ("compact", 0)
    assert steps(night())[-1] == ("compact", 99)
    assert night("--compact", 1).code == 2


@pytest.mark.slow
def test_warnings_are_said_unless_the_night_before_had_them(night: Night, lake: Path) -> None:
    settings = SETTINGS.replace('"nbsvm"', '"rnn"\nepochs = 1\nembedding-dim = 4\nhidden-dim = 4')
    (lake / "pipeline.toml").write_text(settings)
    first = night()
    assert "train: warning: nbsvm, a linear model of n-grams, is better than this model" in first.stderr
    assert night().stderr == "", "nothing was trained"
    (lake / "raw" / "more.csv").write_text(GOOD)
    assert "nbsvm, a linear model" not in night().stderr


@pytest.mark.slow
def test_what_vacuum_leaves_is_nothing_new_to_train_on(lake: Path, night: Night) -> None:
    (lake / "raw" / "more.csv").write_text(GOOD)
    assert run_here("--lake", lake, "ingest").code == 0
    assert run_here("--lake", lake, "retract", "latest").code == 0
    (lake / "pipeline.toml").write_text(f"{SETTINGS}[vacuum]\nkeep-hours = 0\n")
    assert steps(night("--vacuum"))[1:] == [("train", 0), ("score", 99), ("vacuum", 0)]
    assert steps(night("--vacuum"))[1:] == [("train", 99), ("score", 99), ("vacuum", 99)]


def test_options_that_cannot_be_parsed_are_named_in_the_line_that_is_mailed(night: Night) -> None:
    done = night("--train-options", "--arch")
    assert done.code == 2
    assert "train: failed with exit code 2: Option '--arch' requires an argument. Log: " in done.stderr


@pytest.mark.slow
def test_a_night_that_fails_of_drift_says_so(lake: Path, night: Night) -> None:
    odd = "text\n" + "".join(f"{'great film ' * (n % 3 + 1)}{'zzz ' * n}\n" for n in range(300))
    (lake / "incoming" / "odd.csv").write_text(odd)
    more = ("sample", lake / "raw2", "--reviews", 20, "--test-reviews", 400, "--unsup", 0)
    assert run_here(*more).code == 0
    shutil.rmtree(lake / "raw")
    (lake / "raw2").rename(lake / "raw")
    (lake / "pipeline.toml").write_text(f'{SETTINGS}promote = "always"\n[score]\nfail-on-drift = true\n')
    for _ in range(2):
        done = night()
        assert done.code == 65
        assert "score: failed with exit code 65: the predictions are written, but the input drifted (--fail-on-drift)" in (
            done.stderr
        )


@pytest.mark.parametrize(
    ("table", "options", "problem"),
    [
        ('[score]\noutput = "-"\n', (), 'output = "-" in [score]'),
        ('[train]\nfold = "0/3"\n', (), "never goes live"),
        ("", ("--train-options", "--fold=0/3"), "never goes live"),
    ],
)
def test_options_with_which_a_night_is_in_vain_are_refused(
    night: Night, lake: Path, table: str, options: tuple[str, ...], problem: str
) -> None:
    before = len(list((lake / "runs").iterdir()))
    (lake / "pipeline.toml").write_text(table)
    done = night(*options)
    assert done.code == 2 and problem in done.stderr
    assert len(list((lake / "runs").iterdir())) == before


def test_a_page_that_cannot_be_written_is_a_line_with_the_reason(night: Night, lake: Path) -> None:
    settings = lake / "pipeline.toml"
    settings.write_text(settings.read_text() + '[status]\nmax-age = "soon"\n')
    (line,) = night().stderr.splitlines()
    assert line.startswith("nightly: the morning page was not written (exit code 2): ") and "max-age" in line
