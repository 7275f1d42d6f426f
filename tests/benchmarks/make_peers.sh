#!/bin/sh
# The peers of ingest and scoring in an environment of their own: PEERS, or .venv-peers beside the Makefile.
# torch comes first and stays within our own range, or litdata would fetch a newer one.
set -eu
cd "$(dirname "$0")/../.."
peers=${PEERS:-.venv-peers}
torch='torch>=2.10,<2.14'
"${PYTHON:-python3}" -m venv "$peers"
"$peers/bin/python" -m pip install --quiet "$torch"
"$peers/bin/python" -m pip install --quiet "$torch" 'datasets>=4,<6' 'polars>=1.20,<3' 'litdata>=0.2.50,<0.3' 'pyarrow>=20,<27' \
    'onnx>=1.17,<2' 'onnxruntime>=1.20,<2' 'safetensors>=0.5,<1'
# fastText has no wheel: without a C++ compiler the benchmark does without it.
"$peers/bin/python" -m pip install --quiet 'fasttext>=0.9.3,<0.10' || true
"$peers/bin/python" -c 'import datasets, litdata, polars, torch; print(datasets.__version__, polars.__version__, torch.__version__)'
