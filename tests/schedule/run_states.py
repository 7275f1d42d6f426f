"""Prints the runs of a DAG as JSON, from Airflow's database, in Airflow's environment.

    AIRFLOW_HOME=… .venv-airflow/bin/python tests/schedule/run_states.py DAG

The state of each run by its ID, with the states of its tasks and how often each was tried.
"""

import json
import sys


def main(dag_id: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        runs = {}
        for run in session.query(DagRun).filter(DagRun.dag_id == dag_id):
            tasks = run.get_task_instances(session=session)
            states = {task.task_id: [str(task.state), task.try_number] for task in tasks}
            runs[run.run_id] = {"state": str(run.state), "tasks": states}
    print(json.dumps(runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
