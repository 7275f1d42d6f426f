"""The nightly run in Airflow 3, as two DAGs: `review_pipeline` has a task for each of ingest, train, score and report, and
`review_pipeline_nightly` runs `pipeline nightly` as one task. Unpause one of them.

Copy or link this file into Airflow's DAGs folder. It runs commands and does not import the package, so Airflow and the
pipeline have separate environments. A setting is taken from the first of these that has it: the params of the run
(`airflow dags trigger --conf`, or the form in the UI), an Airflow Variable, the worker's environment.

| param           | Variable                 | environment              | what                                |
|-----------------|--------------------------|--------------------------|-------------------------------------|
| lake            | pipeline_lake            | PIPELINE_LAKE            | the lake, an absolute path; needed  |
| command         | pipeline_command         | PIPELINE                 | the executable (pipeline, on PATH)  |
| train_options   | pipeline_train_options   | PIPELINE_TRAIN_OPTIONS   | options of train (none)             |
| nightly_options | pipeline_nightly_options | PIPELINE_NIGHTLY_OPTIONS | options of nightly (none)           |
| score_input     | pipeline_score_input     | PIPELINE_SCORE_INPUT     | what to score (incoming/ in lake)   |

Only in the environment: `PIPELINE_SCHEDULE`, a cron expression (15 2 * * *), is read where DAGs are parsed;
`PIPELINE_ON_FAILURE` is a command that gets each final failure as a JSON object on its stdin; set it for the DAG processor,
too, which reports workers that died. Options belong in the lake's `pipeline.toml` rather than here.

| the command ends with                              | the task                                                    |
|----------------------------------------------------|-------------------------------------------------------------|
| 0                                                  | succeeds                                                    |
| 99, nothing new                                    | is skipped; the next one still runs, as it may have work    |
| 69 storage unreachable, 75 locked, or by a signal  | fails and is retried: the same command continues            |
| anything else                                      | fails at once with the error: a retry would fail again      |

A task's XCom is the command's receipt, as a dictionary. A task that succeeds updates its asset, such as
`review_pipeline_train`, with the run, the table version and the model as `extra`, so that other DAGs can be scheduled on it.
"""

import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, Context, Param

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import AirflowFailException, AirflowSkipException

NOTHING_NEW = 99
WORTH_A_RETRY = {
    69: "the storage is unreachable",
    75: "locked by another run, or out of memory",
    130: "stopped",
    143: "stopped",
}
SECONDS_TO_STOP = 60
"""How long a command has to write its checkpoint before it is killed."""
EXTRA = ("run_id", "table_version", "model_id", "predictions")
"""What of a receipt goes with an asset's event."""
SETTINGS = {
    "command": "The executable, an absolute path",
    "lake": "The lake, an absolute path",
    "train_options": "Options of pipeline train",
    "nightly_options": "Options of pipeline nightly",
    "score_input": "The file, or folder, to score",
}
DEFAULTS = {"command": "pipeline"}


class PipelineOperator(BaseOperator):
    """Runs one command of the pipeline; see the table at the top for what its exit code does to the task.

    Args:
        words: the command and its arguments; `{options}` and `{score_input}` stand for settings.
        options: the setting that has more arguments.
        input_needed: whether the task is skipped if nothing waits in `score_input`.
    """

    template_fields = ("settings",)

    def __init__(self, *, words: Sequence[str], options: str = "", input_needed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = list(words)
        self.options = options
        self.input_needed = input_needed
        self.settings = {name: f"{{{{ params.{name} or var.value.get('pipeline_{name}', '') }}}}" for name in SETTINGS}
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the command and gives its receipt."""
        code, receipt, last_line = self._run(self._command_line())
        if receipt:
            self._describe(context, receipt)
        if code == 0:
            return receipt
        if receipt:
            context["ti"].xcom_push(key="return_value", value=receipt)
        if code == NOTHING_NEW:
            raise AirflowSkipException(f"pipeline {self.words[0]}: nothing new")
        message = f"pipeline {self.words[0]} ended with {code}: {_attention(receipt) or last_line or 'no output'}"
        if code < 0 or code in WORTH_A_RETRY:
            raise RuntimeError(f"{message} ({WORTH_A_RETRY.get(code, 'killed')}; the task is retried)")
        raise AirflowFailException(message)

    def on_kill(self) -> None:
        """Stops the command with its children: it leaves everything whole, and the next attempt continues."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.log.info("stopping the process group %d", process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def _command_line(self) -> list[str]:
        lake = self._setting("lake")
        if not Path(lake).is_absolute():
            raise AirflowFailException(
                f"the lake is '{lake}': set the param lake, the Airflow Variable pipeline_lake, or PIPELINE_LAKE, to an "
                "absolute path"
            )
        score_input = self._setting("score_input") or str(Path(lake, "incoming"))
        if self.input_needed and not _waits(Path(score_input)):
            raise AirflowSkipException(f"nothing waits in {score_input}")
        options = shlex.split(self._setting(self.options)) if self.options else []
        words = [word.replace("{score_input}", score_input) for word in self.words]
        return [*shlex.split(self._setting("command")), "--lake", lake, *words, *options, "--json"]

    def _setting(self, name: str) -> str:
        """Of the run or a Variable, else of the worker's environment."""
        variable = "PIPELINE" if name == "command" else f"PIPELINE_{name.upper()}"
        return self.settings[name] or os.environ.get(variable, "") or DEFAULTS.get(name, "")

    def _run(self, command_line: list[str]) -> tuple[int, dict[str, Any], str]:
        """The exit code, the receipt (empty without one) and the last line of stderr, which goes to the task's log."""
        self.log.info("running %s", shlex.join(command_line))
        try:
            self._process = process = subprocess.Popen(
                command_line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,  # a process group of its own, for on_kill
            )
        except OSError as error:
            raise AirflowFailException(
                f"cannot run {command_line[0]}: {error.strerror}. Set the param command, the Airflow Variable "
                "pipeline_command, or PIPELINE, to the absolute path of the executable."
            ) from error
        assert process.stdout is not None and process.stderr is not None
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
        reader.start()
        last_line = ""
        try:
            for line in process.stderr:
                self.log.info("%s", line.rstrip())
                last_line = line.strip() or last_line
            code = process.wait()
        except BaseException:  # a timeout, an interrupt: nobody waits for the command any more
            self.on_kill()
            raise
        reader.join()
        return code, _receipt(said), last_line

    def _describe(self, context: Context, receipt: dict[str, Any]) -> None:
        """Puts what other DAGs want to know into the events of the assets."""
        found = {name: value for name, value in _outputs(receipt) if name in EXTRA and value is not None}
        for asset in self.outlets:
            context["outlet_events"][asset].extra = found


def report_failure(context: Context) -> None:
    """Tells the command in PIPELINE_ON_FAILURE of a task that failed for good. Replace it by a notifier of a provider, such
    as `send_slack_notification(…)`, or add one: `on_failure_callback` also takes a list."""
    task = context["ti"]
    words = shlex.split(os.environ.get("PIPELINE_ON_FAILURE", ""))
    error = str(context.get("exception") or "no error reached this callback: the worker may have been killed")
    facts = {"dag": task.dag_id, "task": task.task_id, "run": task.run_id, "error": error}
    if words:
        subprocess.run(words, input=json.dumps(facts), encoding="utf-8", timeout=60, check=True)


def _waits(path: Path) -> bool:
    """Whether there is something to score: a file, or a folder with one. Hidden names belong to others."""
    return path.is_file() or (path.is_dir() and any(not entry.name.startswith((".", "_")) for entry in path.iterdir()))


def _receipt(lines: Iterable[str]) -> dict[str, Any]:
    """The last line of stdout; empty if it is no receipt, as after an error."""
    last = next((line for line in reversed([*lines]) if line.strip()), "")
    try:
        found = json.loads(last)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _attention(receipt: dict[str, Any]) -> str:
    """What `pipeline nightly` wants a person to know."""
    return " · ".join(map(str, receipt.get("metrics", {}).get("attention") or []))


def _outputs(receipt: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Names and values of what a run, or the steps of a night, left; a later step's after an earlier one's."""
    yield "run_id", receipt.get("run_id")
    steps = receipt.get("metrics", {}).get("steps")
    for step in [*(steps if isinstance(steps, list) else []), receipt]:  # a training counts its steps
        yield from (step.get("outputs") or {}).items()


def settings() -> dict[str, Param]:
    """The params of a run: empty ones are taken from Variables, or from the environment."""
    return {name: Param(None, type=["null", "string"], description=what) for name, what in SETTINGS.items()}


SCHEDULE = os.environ.get("PIPELINE_SCHEDULE", "15 2 * * *")
COMMON: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {
        "retries": 2,
        "retry_delay": timedelta(minutes=10),
        "trigger_rule": "none_failed",
        "on_failure_callback": report_failure,
    },
    "tags": ["reviews"],
    "doc_md": __doc__,
}


def command(task_id: str, words: Sequence[str], hours: int, **more: Any) -> PipelineOperator:
    """A task with an asset of its own."""
    return PipelineOperator(
        task_id=task_id,
        words=words,
        execution_timeout=timedelta(hours=hours),
        outlets=[Asset(f"review_pipeline_{task_id}")],
        **more,
    )


with DAG(
    dag_id="review_pipeline",
    description="Ingest, train, score, report.",
    schedule=SCHEDULE,
    params=settings(),
    **COMMON,
) as dag:
    ingest = command("ingest", ["ingest"], 6)
    train = command("train", ["train", "--resume"], 24, options="train_options")
    score = command("score", ["score", "{score_input}"], 6, input_needed=True)
    # The live model's page, beside the lake's other models: where no task did anything, it stays as it is.
    report = command("report", ["report"], 1, trigger_rule="none_failed_min_one_success")
    ingest >> train >> score >> report
    [ingest, train] >> report

with DAG(
    dag_id="review_pipeline_nightly",
    description="The night as one command.",
    schedule=SCHEDULE,
    params=settings(),
    **COMMON,
) as nightly_dag:
    command("nightly", ["nightly"], 30, options="nightly_options")
