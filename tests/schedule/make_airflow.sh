#!/bin/sh
# Makes Airflow's own environment, .venv-airflow in the repository's root, and tries it. Called by `make airflow`.
# AIRFLOW chooses the version and AIRFLOW_VENV the folder: AIRFLOW='~=3.1.0' AIRFLOW_VENV=.venv-airflow-3.1 make airflow
# In 3.0 and 3.1, dag.test() gives callbacks no error, so the tests that look at it fail there; workers do give it.
# Airflow's many dependencies never meet the pipeline's: the DAG calls the pipeline as a command.
set -eu
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
venv="${AIRFLOW_VENV:-.venv-airflow}"
if [ ! -x "$venv/bin/airflow" ]; then
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "apache-airflow${AIRFLOW:->=3.0,<4}"
fi
home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
AIRFLOW_HOME="$home" "$venv/bin/airflow" version
