"""Runs the DAG once with Airflow's own `dag.test()`, in Airflow's environment; the last line printed is its outcome.

    AIRFLOW_HOME=… .venv-airflow/bin/python tests/schedule/run_dag.py

The outcome is JSON: the states of the run and of its tasks, and each task's XCom.
"""

import importlib.util
import json
import sys
from pathlib import Path

DAG_FILE = Path(__file__).resolve().parents[2] / "jobs" / "schedule" / "airflow_dag.py"


def main() -> None:
    """Loads the file as a module of its own, away from our packages, and runs the DAG that it makes."""
    spec = importlib.util.spec_from_file_location("airflow_dag", DAG_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = module.dag.test()
    tasks = {task.task_id: task for task in run.get_task_instances()}
    outcome = {
        "run": str(run.state),
        "tasks": {name: str(task.state) for name, task in tasks.items()},
        "receipts": {name: task.xcom_pull(task_ids=name) for name, task in tasks.items()},
        "foreign": sorted(name for name in ("pipeline", "jobs", "schemas", "torch") if name in sys.modules),
    }
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
