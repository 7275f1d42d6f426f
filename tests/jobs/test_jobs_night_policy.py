"""When a night trains: the policy on real lakes, and its notation."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.night.policy import Decision, decide, labelled_rows
from jobs.night.step import Step
from pipeline.config.nightly import NightlyConfig
from pipeline.config.retrain import Retrain
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from tests.support.commands import Outcome, Run, run_here
from tests.support.fork_server import forked_pipeline

GOOD = "text,label\n" + "".join(f"a fine film number {n},pos\na dull film number {n},neg\n" for n in range(20))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 40 labelled and 10 unlabelled reviews, and a model trained on them."""
    root = tmp_path_factory.mktemp("trained") / "lake"
    (root / "raw").mkdir(parents=True)
    (root / "raw" / "good.csv").write_text(GOOD + "".join(f"number {n} has no label,\n" for n in range(10)))
    (root / "pipeline.toml").write_text('[train]\narch = "nbsvm"\n')
    assert run_here("--lake", root, "ingest").code == 0
    assert run_here("--lake", root, "train").code == 0
    return root


@pytest.fixture
def lake(trained: Path, tmp_path: Path) -> Lake:
    return Lake(Path(shutil.copytree(trained, tmp_path / "lake")))


def more(lake: Lake, command: Run, rows: int) -> None:
    lines = [f"one more film number {n},{'pos' if n % 2 else 'neg'}\n" for n in range(rows)]
    (lake.raw / "more.csv").write_text("text,label\n" + "".join(lines) + "and one without,\n" * 3)
    assert command("--lake", lake.root, "ingest").code == 0


def decided(lake: Lake, policy: str, scored: Step | None = None) -> Decision:
    return decide(Retrain.parse(policy), lake, scored)


def aged(lake: Lake, days: float) -> None:
    """Makes the model older."""
    (path,) = lake.models.glob("*/model.json")
    described = json.loads(path.read_text())
    described["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86_400))
    path.write_text(json.dumps(described))


def scored(drift: object) -> Step:
    return Step(command="score", run_id=None, exit_code=0, seconds=1.0, metrics={"drift": drift})


def test_labelled_reviews_are_counted_in_every_version(lake: Lake, command: Run) -> None:
    assert labelled_rows(lake) == 40
    more(lake, command, 7)
    assert (labelled_rows(lake), labelled_rows(lake, 0)) == (47, 40)


@pytest.mark.parametrize(
    ("policy", "rows", "trains"),
    [
        ("always", 0, True),
        ("never", 20, False),
        ("rows:8", 7, False),
        ("rows:8", 8, True),
        ("share:20%", 7, False),
        ("share:20%", 8, True),
        ("rows:100,share:20%", 8, True),
        ("rows:100,days:1", 8, False),
    ],
)
def test_new_labelled_reviews_decide(lake: Lake, command: Run, policy: str, rows: int, trains: bool) -> None:
    if rows:
        more(lake, command, rows)
    assert decided(lake, policy).train is trains


@pytest.mark.slow
def test_reviews_taken_back_do_not_offset_new_ones(lake: Lake, command: Run) -> None:
    wrong = lake.raw / "wrong.csv"
    wrong.write_text("text,label\n" + "".join(f"the wrong film number {n},pos\n" for n in range(20)))
    for arguments in (("ingest",), ("train",), ("retract", "latest")):
        assert command("--lake", lake.root, *arguments).code == 0
    assert not decided(lake, "rows:8").train
    more(lake, command, 7)
    assert not decided(lake, "rows:8").train
    more(lake, command, 8)
    found = decided(lake, "rows:8")
    assert found.train and "8 new labelled reviews" in found.why


def test_the_age_of_the_last_training_decides(lake: Lake) -> None:
    aged(lake, 6.9)
    assert not decided(lake, "days:7").train
    aged(lake, 7.1)
    assert decided(lake, "days:7").train


@pytest.mark.parametrize(
    ("drift", "trains"),
    [({"drifted": True}, True), ({"drifted": False}, False), ({"measured": False}, False), (None, False)],
)
def test_drift_decides(lake: Lake, drift: object, trains: bool) -> None:
    assert decided(lake, "drift", scored(drift)).train is trains
    assert not decided(lake, "rows:1000,days:7", scored(drift)).train


def test_a_lake_without_a_model_is_trained(lake: Lake) -> None:
    shutil.rmtree(lake.models)
    assert decided(lake, "rows:1000").train
    assert not decided(lake, "never").train


def test_a_version_that_vacuum_has_removed_does_not_hinder(lake: Lake, command: Run) -> None:
    assert command("--lake", lake.root, "ingest", "--rebuild-vocab", "--min-count", 2).code == 0
    assert command("--lake", lake.root, "vacuum", "--keep-hours", 0).code == 0
    assert not decided(lake, "rows:1").train
    more(lake, command, 7)
    assert decided(lake, "rows:7").train


Night = Callable[..., Outcome]


@pytest.mark.slow
def test_the_log_says_why_a_night_trains_or_not(lake: Lake, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())
    more(lake, command, 7)
    (lake.root / "pipeline.toml").write_text(
        '[train]\narch = "nbsvm"\n[nightly]\nretrain = "rows:8,days:30"\nunknown-limit = 1\n'
    )
    waits = command("--lake", lake.root, "nightly")
    assert [step["command"] for step in waits.receipt["metrics"]["steps"]] == ["ingest"]
    assert waits.stderr == ""
    assert "no training: 0.0 days, 7 new labelled reviews since nbsvm-" in Path(waits.receipt["metrics"]["log"]).read_text()
    trains = command("--lake", lake.root, "nightly", "--retrain", "rows:7")
    assert [step["command"] for step in trains.receipt["metrics"]["steps"]] == ["ingest", "train"]
    assert "INFO training: 7 new labelled reviews since nbsvm-" in Path(trains.receipt["metrics"]["log"]).read_text()


@given(
    rows=st.none() | st.integers(1, 10**9),
    share=st.none() | st.integers(1, 400).map(lambda quarter: quarter / 4 / 100),
    days=st.none() | st.integers(1, 365).map(float),
    drift=st.booleans(),
)
def test_a_policy_is_read_as_it_is_written(rows: int | None, share: float | None, days: float | None, drift: bool) -> None:
    policy = Retrain(rows=rows, share=share, days=days, drift=drift)
    assert Retrain.parse(str(policy)) == policy


@pytest.mark.parametrize(
    "text",
    ["", "weekly", "rows", "rows:0", "rows:x", "share:20", "share:-1%", "days:0", "days:nan", "drift:1", "rows:1,rows:2"],
)
def test_another_policy_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="rows:N"):
        Retrain.parse(text)


@pytest.mark.parametrize("options", [{"input": ("-",)}, {"input": ("",)}, {"train_options": "'"}, {"vocabulary": "new"}])
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        NightlyConfig(lake=tmp_path, **options)  # type: ignore[arg-type]
