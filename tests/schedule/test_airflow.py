"""The DAGs in a real Airflow 3, in the environment that `make airflow` makes: green, skipped, failed at once, retried."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake.table import TokenTable
from tests.support.airflow import AIRFLOW, MARKS, Environment, executable, make_environment, output, scored_rows, wait_for
from tests.support.commands import Run
from tests.support.paths import ROOT

TINY = "--arch rnn --epochs 1 --embedding-dim 4 --hidden-dim 4 --no-baseline"
NIGHTLY = "review_pipeline_nightly"
DAG_FILE = ROOT / "jobs" / "schedule" / "airflow_dag.py"

pytestmark = MARKS


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return make_environment(tmp_path_factory.mktemp("airflow"))


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    lake = tmp_path / "a lake"
    score = ("--score-input", lake / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", lake / "raw", "--reviews", 60, "--test-reviews", 10, "--unsup", 4, *score).code == 0
    return lake


@pytest.mark.parametrize("dag_id", ["review_pipeline", NIGHTLY])
def test_the_file_loads_without_a_warning(airflow: Environment, dag_id: str) -> None:
    # The first time, some releases of Airflow warn of imports of their own.
    script = f"{LOAD}; import warnings; warnings.simplefilter('error'); {LOAD}; print(*dags['{dag_id}'].task_dict)"
    tasks = output(airflow, str(AIRFLOW / "python"), "-c", script).splitlines()[-1].split()
    assert tasks == (["nightly"] if dag_id == NIGHTLY else ["ingest", "train", "score", "report"])


def test_four_tasks_are_green_then_skipped(airflow: Environment, lake: Path) -> None:
    environment = {**airflow, "PIPELINE_LAKE": str(lake), "PIPELINE_TRAIN_OPTIONS": TINY}
    first = dag_run(environment)
    assert first["tasks"] == dict.fromkeys(("ingest", "train", "score", "report"), "success"), first
    receipts = first["receipts"]
    assert (receipts["ingest"]["written"], receipts["score"]["written"]) == (74, 12), "receipts are parsed"
    assert scored_rows(lake) == 12
    assert first["foreign"] == []
    trained = receipts["train"]["outputs"]
    assert first["assets"]["review_pipeline_train"] == {
        "run_id": receipts["train"]["run_id"],
        "table_version": trained["table_version"],
        "model_id": trained["model_id"],
    }
    assert first["assets"]["review_pipeline_ingest"]["table_version"] == trained["table_version"]

    second = dag_run(environment)
    assert second["tasks"] == dict.fromkeys(("ingest", "train", "score", "report"), "skipped"), second
    assert second["assets"] == {}
    assert second["receipts"]["train"]["outputs"]["model_id"] == trained["model_id"], "a skipped task has its receipt, too"


def test_what_cannot_succeed_fails_at_once_and_is_told(airflow: Environment, lake: Path, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    environment = {**airflow, "PIPELINE_ON_FAILURE": str(executable(tmp_path / "tell", f"cat >'{told}'"))}
    outcome = dag_run(environment, conf={"lake": str(lake), "train_options": "--arch bilstn"})
    expected = {"ingest": "success", "train": "failed", "score": "upstream_failed", "report": "upstream_failed"}
    assert outcome["tasks"] == expected, outcome
    assert outcome["tries"]["train"] == 1
    facts = json.loads(told.read_text())
    assert (facts["dag"], facts["task"]) == ("review_pipeline", "train")
    assert facts["error"].startswith("pipeline train ended with 2: ") and "Did you mean 'bilstm'?" in facts["error"]


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"lake": "lake"}, "the lake is 'lake': set the param lake"),
        ({"command": "/no/such"}, "cannot run /no/such: No such"),
    ],
)
def test_settings_that_are_wrong_are_named(airflow: Environment, tmp_path: Path, conf: dict[str, str], said: str) -> None:
    told = tmp_path / "told.json"
    environment = {
        **airflow,
        "PIPELINE_LAKE": str(tmp_path),
        "PIPELINE_ON_FAILURE": str(executable(tmp_path / "tell", f"cat >'{told}'")),
    }
    outcome = dag_run(environment, NIGHTLY, conf)
    assert (outcome["tasks"], outcome["tries"]) == ({"nightly": "failed"}, {"nightly": 1}), outcome
    assert json.loads(told.read_text())["error"].startswith(said)


def test_the_night_is_one_task_and_is_retried_when_locked(airflow: Environment, tmp_path: Path) -> None:
    steps = [
        {"command": "ingest", "outputs": {"table_version": 7}},
        {"command": "train", "outputs": {"model_id": "rnn-1", "table_version": 7}},
        {"command": "score", "outputs": {"predictions": "/lake/predictions/new.parquet"}},
    ]
    night = {"run_id": "night-1", "command": "nightly", "outputs": {}, "metrics": {"steps": steps, "attention": []}}
    (tmp_path / "receipt").write_text(json.dumps(night) + "\n")
    once = (
        f"echo \"$@\" >>'{tmp_path}/calls'\n"
        f"[ \"$(wc -l <'{tmp_path}/calls')\" -gt 1 ] || {{ echo 'pipeline: locked by another run' >&2; exit 75; }}\n"
        f"echo 'some line' >&2; cat '{tmp_path}/receipt'"
    )
    environment = {**airflow, "PIPELINE_LAKE": str(tmp_path)}
    conf = {"command": str(executable(tmp_path / "stand-in", once)), "nightly_options": "--workers 2"}
    outcome = dag_run(environment, NIGHTLY, conf)
    assert (outcome["tasks"], outcome["tries"]) == ({"nightly": "success"}, {"nightly": 2}), outcome
    assert (tmp_path / "calls").read_text() == f"--lake {tmp_path} nightly --workers 2 --json\n" * 2
    assert outcome["receipts"] == {"nightly": night}
    expected = {"run_id": "night-1", "table_version": 7, "model_id": "rnn-1", "predictions": "/lake/predictions/new.parquet"}
    assert outcome["assets"] == {"review_pipeline_nightly": expected}


def test_a_failed_night_says_what_a_person_must_know(airflow: Environment, tmp_path: Path) -> None:
    night = {"run_id": "night-1", "metrics": {"attention": ["3 of 20 files were left out.", "train ended with 65."]}}
    told = tmp_path / "told.json"
    script = f"echo '{json.dumps(night)}'; echo 'see the log' >&2; exit 65"
    environment = {
        **airflow,
        "PIPELINE_LAKE": str(tmp_path),
        "PIPELINE": str(executable(tmp_path / "stand-in", script)),
        "PIPELINE_ON_FAILURE": str(executable(tmp_path / "tell", f"cat >'{told}'")),
    }
    outcome = dag_run(environment, NIGHTLY)
    assert outcome["tries"] == {"nightly": 1}
    error = "pipeline nightly ended with 65: 3 of 20 files were left out. · train ended with 65."
    assert json.loads(told.read_text())["error"] == error
    assert outcome["receipts"] == {"nightly": night}


def test_a_worker_that_died_for_good_is_told(airflow: Environment, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    environment = {**airflow, "PIPELINE_ON_FAILURE": str(executable(tmp_path / "tell", f"cat >'{told}'"))}
    # Nobody is left to raise an error: the DAG processor calls back, with a context that has none.
    task = "types.SimpleNamespace(dag_id='review_pipeline', task_id='train', run_id='one')"
    script = f"import types; {LOAD}; dags['review_pipeline'].get_task('train').on_failure_callback[0]({{'ti': {task}}})"
    output(environment, str(AIRFLOW / "python"), "-c", script)
    assert json.loads(told.read_text())["error"].endswith("the worker may have been killed")


def test_a_killed_training_is_retried_and_nothing_is_doubled(airflow: Environment, lake: Path) -> None:
    options = "--arch rnn --epochs 200 --embedding-dim 4 --hidden-dim 4 --no-baseline --checkpoint-every 5"
    environment = {**airflow, "PIPELINE_LAKE": str(lake), "PIPELINE_TRAIN_OPTIONS": options}
    with start(environment) as airflow_process:
        wait_for(lambda: [*lake.glob("checkpoints/*/epoch-*.safetensors")])
        (training,) = (lake / "checkpoints").iterdir()
        airflow_process.send_signal(signal.SIGTERM)  # Airflow's handler calls on_kill
        said, log = airflow_process.communicate(timeout=420)
    assert airflow_process.returncode == 0, said[-3000:] + log[-3000:]
    outcome = json.loads(said.strip().splitlines()[-1])
    assert outcome["tasks"] == dict.fromkeys(("ingest", "train", "score", "report"), "success"), outcome
    assert outcome["tries"] == {"ingest": 1, "train": 2, "score": 1, "report": 1}
    assert "pipeline train ended with 143" in said + log and "resumed at epoch" in said + log
    assert [path.name for path in lake.glob("models/rnn-*")] == [training.name], "one model, the one that was begun"
    assert sum(shard.rows for shard in TokenTable.open(lake / "tokens").shards) == 74
    assert scored_rows(lake) == 12


def test_a_training_that_takes_too_long_is_stopped_with_its_children(airflow: Environment, tmp_path: Path) -> None:
    script = f"trap '' TERM\nsleep 300 &\necho $! >'{tmp_path}/child'\nwait"
    environment = {
        **airflow,
        "PIPELINE_LAKE": str(tmp_path),
        "PIPELINE": str(executable(tmp_path / "stand-in", script)),
        "NIGHT_SECONDS": "2",
        "SECONDS_TO_STOP": "1",
    }
    outcome = dag_run(environment, NIGHTLY)
    assert (outcome["tasks"], outcome["tries"]) == ({"nightly": "failed"}, {"nightly": 3}), outcome
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or b") Z " in Path(f"/proc/{child}/stat").read_bytes())


def dag_run(environment: Environment, dag_id: str = "review_pipeline", conf: dict[str, str] | None = None) -> dict[str, Any]:
    """One `dag.test()`: the states of the tasks, their receipts, the events of assets."""
    said = output(environment, *RUN_DAG, dag_id, json.dumps(conf or {}))
    return json.loads(said.strip().splitlines()[-1])


LOAD = f"import runpy; dags = {{dag.dag_id: dag for dag in map(runpy.run_path('{DAG_FILE}').get, ('dag', 'nightly_dag'))}}"
RUN_DAG = (str(AIRFLOW / "python"), str(ROOT / "tests" / "schedule" / "run_dag.py"))


def start(environment: Environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        RUN_DAG, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=environment["HOME"]
    )
