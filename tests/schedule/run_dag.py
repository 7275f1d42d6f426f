"""Runs a DAG of ours once with Airflow's own `dag.test()`, in Airflow's environment; the last line printed is its outcome.

    AIRFLOW_HOME=… .venv-airflow/bin/python tests/schedule/run_dag.py [DAG [CONF]]

`CONF` are the params of the run as a JSON object. The outcome is JSON: the states of the run and of its tasks, how often
each was tried, each task's XCom, and what came with the events of the assets.
"""

import importlib.util
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

DAG_FILE = Path(__file__).resolve().parents[2] / "jobs" / "schedule" / "airflow_dag.py"


def main(dag_id: str = "review_pipeline", conf: str = "{}") -> None:
    """Loads the file as a module of its own, away from our packages, and runs one of the DAGs that it makes."""
    spec = importlib.util.spec_from_file_location("airflow_dag", DAG_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag = {found.dag_id: found for found in (module.dag, module.nightly_dag)}[dag_id]
    for task in dag.tasks:
        task.retry_delay = timedelta(seconds=1)
        if "NIGHT_SECONDS" in os.environ:
            task.execution_timeout = timedelta(seconds=float(os.environ["NIGHT_SECONDS"]))
    module.SECONDS_TO_STOP = float(os.environ.get("SECONDS_TO_STOP", module.SECONDS_TO_STOP))
    run = dag.test(run_conf=json.loads(conf))
    tasks = {task.task_id: task for task in run.get_task_instances()}
    outcome = {
        "run": str(run.state),
        "tasks": {name: str(task.state) for name, task in tasks.items()},
        "tries": {name: task.try_number for name, task in tasks.items()},
        "receipts": {name: task.xcom_pull(task_ids=name) for name, task in tasks.items()},
        "assets": events(run.run_id),
        "foreign": sorted(name for name in ("pipeline", "jobs", "schemas", "torch") if name in sys.modules),
    }
    print(json.dumps(outcome))


def events(run_id: str) -> dict[str, dict[str, object]]:
    """What came with the event of each asset in this run."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetEvent).filter(AssetEvent.source_run_id == run_id)
        return {event.name: event.extra for event in found}


if __name__ == "__main__":
    main(*sys.argv[1:])
