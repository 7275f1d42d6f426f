#!/bin/sh
# Makes Airflow's own environment, .venv-airflow in the repository's root, and tries it. Called by `make airflow`.
# Airflow's many dependencies never meet the pipeline's: the DAG calls the pipeline as a command.
set -eu
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
if [ ! -x .venv-airflow/bin/airflow ]; then
    "$python" -m venv .venv-airflow
    .venv-airflow/bin/pip install --quiet --disable-pip-version-check "apache-airflow>=3.0,<4"
fi
home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
AIRFLOW_HOME="$home" .venv-airflow/bin/airflow version
