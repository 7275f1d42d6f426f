#!/bin/sh
# The peers of the ingest benchmark in an environment of their own: PEERS, or .venv-peers beside the Makefile.
# torch comes first and stays within our own range, or litdata would fetch a newer one.
set -eu
cd "$(dirname "$0")/../.."
peers=${PEERS:-.venv-peers}
torch='torch>=2.10,<2.14'
"${PYTHON:-python3}" -m venv "$peers"
"$peers/bin/python" -m pip install --quiet "$torch"
"$peers/bin/python" -m pip install --quiet "$torch" 'datasets>=4,<6' 'polars>=1.20,<3' 'litdata>=0.2.50,<0.3' 'pyarrow>=20,<27'
"$peers/bin/python" -c 'import datasets, litdata, polars, torch; print(datasets.__version__, polars.__version__, torch.__version__)'
