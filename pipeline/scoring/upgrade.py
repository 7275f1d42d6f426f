"""Predictions of earlier releases, converted: Parquet files of version 1 of their contract, or without a digest.

Version 1 has no `unscored_reason`; a row without text has no prediction. With two classes, `probability` is that of
the second label, and the classes have no columns. The numbers are kept; score the input again for new ones.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.lake.atomic import atomic_path
from pipeline.lake.content import KEY_DATA_SHA256, READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.scoring.outputs import prediction_fields
from pipeline.scoring.writers import ParquetWriter
from schemas.contract import KEY_NAME, KEY_VERSION
from schemas.prediction import CLASS_PREFIX, CLASSES, EXPLANATION, KEY_LABELS, KEY_MODEL, NO_TEXT, PREDICTION, VERSION_1

LabelsOf = Callable[[str], Sequence[str] | None]
"""The labels of a model in the order of their ids, by the model's id; None where the model is not there."""


def is_old(path: Path) -> bool:
    """Whether a Parquet file holds predictions that an earlier release wrote.

    Raises:
        DataError: it is not a whole Parquet file.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except READ_ERRORS as error:
        raise damaged(path, error, "the prediction file", PREDICTION.remedy) from error
    if metadata.get(KEY_NAME) != PREDICTION.name.encode():
        return False
    return metadata.get(KEY_VERSION) == b"1" or KEY_DATA_SHA256 not in metadata


def convert(path: Path, labels_of: LabelsOf) -> None:
    """Writes the file in the current version, in its place; its rows, their order and the other columns stay.

    Raises:
        DataError: the file is damaged, or nothing says which label is the second.
        ContractError: a column is missing.
    """
    try:
        with open_parquet(path) as file:
            old = file.schema_arrow
            labels: Sequence[str] = ()
            schema = old
            if (old.metadata or {}).get(KEY_VERSION) == b"1":
                VERSION_1.check_columns(old, str(path))
                labels = _labels(path, old, labels_of)
                schema = _schema(path, old, labels)
            with atomic_path(path) as temporary, ParquetWriter(temporary, schema) as writer:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    writer.write_table(_converted(table, schema, labels) if labels else table)
    except READ_ERRORS as error:
        raise damaged(path, error, "the prediction file", PREDICTION.remedy) from error


def _labels(path: Path, old: pa.Schema, labels_of: LabelsOf) -> Sequence[str]:
    own = [name.removeprefix(CLASS_PREFIX) for name in _added(old) if name.startswith(CLASS_PREFIX)]
    if own:
        return own
    model_id = (old.metadata or {}).get(KEY_MODEL, b"").decode(errors="replace")
    labels = labels_of(model_id)
    if labels is None or len(labels) != 2:
        raise DataError(
            f"{path}: its probabilities are those of the second label, but the model {model_id or '(none given)'}, which "
            f"defines that label, is not in the lake. {PREDICTION.remedy}"
        )
    return labels


def _added(old: pa.Schema) -> list[str]:
    """The names of the columns that scoring has added: they come last."""
    return list(old.names[old.names.index("prediction") :])


def _schema(path: Path, old: pa.Schema, labels: Sequence[str]) -> pa.Schema:
    added = _added(old)
    kept = [field for field in old if field.name not in added]
    new = prediction_fields(labels, EXPLANATION.name in added)
    clash = {field.name for field in kept} & {field.name for field in new}
    if clash:
        raise DataError(
            f"{path} has input columns whose names are now used by predictions: {', '.join(sorted(clash))}. Rename them in "
            "the input and score it again with --force."
        )
    marks = {**PREDICTION.metadata, KEY_LABELS: json.dumps(list(labels)).encode()}
    return pa.schema([*kept, *new], {**(old.metadata or {}), **marks})


def _converted(table: pa.Table, schema: pa.Schema, labels: Sequence[str]) -> pa.Table:
    columns = {name: table[name] for name in table.column_names if name in schema.names}
    if len(labels) == 2:
        second = table["probability"]
        first = pc.subtract(pa.scalar(1.0, pa.float32()), second)
        columns[CLASS_PREFIX + labels[0]], columns[CLASS_PREFIX + labels[1]] = first, second
        columns["probability"] = pc.if_else(pc.equal(table["prediction"], labels[0]), first, second)
    elif CLASSES.name in schema.names:
        classes = [table[CLASS_PREFIX + label].to_pylist() for label in labels]
        rows = [None if row[0] is None else list(row) for row in zip(*classes, strict=True)]
        columns[CLASSES.name] = pa.chunked_array([pa.array(rows, CLASSES.type)])
    scored = table["prediction"].is_valid()
    columns["unscored_reason"] = pc.if_else(scored, pa.scalar(None, pa.string()), NO_TEXT)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
