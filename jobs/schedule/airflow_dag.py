"""The nightly run as an Airflow 3 DAG: ingest → train → score. It runs the three commands and does not import the package.

Copy or link this file into Airflow's DAGs folder. Airflow and the pipeline have separate environments. Settings are
Airflow Variables, with the worker's environment variables as fallback:

| Airflow Variable       | environment            | what                                        | default                |
|------------------------|------------------------|---------------------------------------------|------------------------|
| pipeline_command       | PIPELINE               | the executable, an absolute path            | pipeline, on the PATH  |
| pipeline_lake          | PIPELINE_LAKE          | the lake, an absolute path                  | none, required         |
| pipeline_train_options | PIPELINE_TRAIN_OPTIONS | options of train                            | --arch bilstm          |
| pipeline_score_input   | PIPELINE_SCORE_INPUT   | the file, or folder, to score               | incoming/ in the lake  |
|                        | PIPELINE_SCHEDULE      | cron expression, read where DAGs are parsed | 15 2 * * *             |

If a command has nothing to do, it exits with 99, and its task is skipped. The next task still runs (`none_failed`),
because it may have work. Retries help with 75 (another run holds the lock) and 69 (storage unreachable). The last line of
a command's output is its receipt, which Airflow stores as the task's XCom. Finished tasks update assets that other DAGs
can be scheduled on.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset

NOTHING_NEW = 99

# The settings travel as environment variables, so that no value of theirs is ever read as shell code.
SETTINGS = {
    "VARIABLE_COMMAND": "{{ var.value.get('pipeline_command', '') }}",
    "VARIABLE_LAKE": "{{ var.value.get('pipeline_lake', '') }}",
    "VARIABLE_TRAIN_OPTIONS": "{{ var.value.get('pipeline_train_options', '') }}",
    "VARIABLE_SCORE_INPUT": "{{ var.value.get('pipeline_score_input', '') }}",
}

PREPARE = """\
set -eu
pipeline="${VARIABLE_COMMAND:-${PIPELINE:-pipeline}}"
lake="${VARIABLE_LAKE:-${PIPELINE_LAKE:-}}"
train_options="${VARIABLE_TRAIN_OPTIONS:-${PIPELINE_TRAIN_OPTIONS:---arch bilstm}}"
score_input="${VARIABLE_SCORE_INPUT:-${PIPELINE_SCORE_INPUT:-$lake/incoming}}"
case "$lake" in
/*) ;;
*) echo "the lake is '$lake': set the Airflow Variable pipeline_lake, or PIPELINE_LAKE, to an absolute path" >&2; exit 2 ;;
esac
"""

INGEST = PREPARE + 'exec $pipeline ingest --lake "$lake"\n'
TRAIN = PREPARE + 'exec $pipeline train --lake "$lake" --resume $train_options\n'
SCORE = (
    PREPARE
    + f"""\
if [ -z "$(ls -A "$score_input" 2>/dev/null)" ]; then
    echo "nothing waits in $score_input"
    exit {NOTHING_NEW}
fi
exec $pipeline score "$score_input" --lake "$lake"
"""
)


def command(task_id: str, bash_command: str, hours: int) -> BashOperator:
    """A task that runs one command of the pipeline and marks its asset as changed."""
    return BashOperator(
        task_id=task_id,
        bash_command=bash_command,
        env=SETTINGS,
        append_env=True,
        skip_on_exit_code=NOTHING_NEW,
        trigger_rule="none_failed",
        execution_timeout=timedelta(hours=hours),
        outlets=[Asset(f"review_pipeline_{task_id}")],
    )


with DAG(
    dag_id="review_pipeline",
    description="Score reviews: ingest, train, score.",
    schedule=os.environ.get("PIPELINE_SCHEDULE", "15 2 * * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    tags=["reviews"],
    doc_md=__doc__,
) as dag:
    command("ingest", INGEST, 6) >> command("train", TRAIN, 24) >> command("score", SCORE, 6)
