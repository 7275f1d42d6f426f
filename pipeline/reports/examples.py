"""Which scored reviews a report shows, and how: chosen from a file of predictions, or taken from the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.text.types import is_text
from schemas.prediction import KEY_MODEL, PREDICTION, VERSION_1, is_version_1
from schemas.report import EXAMPLE

SHOWN_CHARACTERS = 600
MOST_SHOWN = 24
PER_LABEL = 4
UNDECIDED = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the page shows it. `share` is the probability of `of`; `right` is None when nobody knows."""

    text: str
    label: str | None
    prediction: str
    share: float
    of: str
    right: bool | None


def shown_examples(examples: pa.Table, labels: Sequence[str]) -> list[Shown]:
    """The examples in their order, the longest texts cut, at most `MOST_SHOWN`."""
    shown = []
    for row in examples.slice(0, MOST_SHOWN).to_pylist():
        text, label, prediction = row["text"], row["label"], row["prediction"]
        text = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"
        of = labels[1] if len(labels) == 2 else prediction
        right = None if label is None else label == prediction
        shown.append(Shown(text, label, prediction, float(row["probability"]), of, right))
    return shown


def choose_from_predictions(
    path: Path, model_id: str, labels: Sequence[str], text_column: str, label_column: str | None
) -> pa.Table:
    """The reviews of a scored file to show: for each label the most certain ones, then the least certain of all.

    One row group at a time is in memory. Ties go to the earlier row, so the choice is a function of the file.

    Raises:
        InputNotFoundError: no such file.
        DataError: no Parquet file, or not one that 'pipeline score' wrote.
        UsageError: it lacks the column of the text or of the label, or another model made it.
    """
    best: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
    row_number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow, path, text_column, label_column)
            _check_model(file.schema_arrow, path, model_id)
            version_1 = is_version_1(file.schema_arrow)
            for group in range(file.num_row_groups):
                table = _with_own_chance(file.read_row_group(group, columns=columns), labels, version_1)
                for kind, score, place in _candidates(table, labels):
                    row = _example(table, place, text_column, label_column)
                    best.setdefault(kind, []).append((-score, row_number + place, row))
                best = {kind: sorted(kept, key=lambda item: item[:2])[: _quota(kind)] for kind, kept in best.items()}
                row_number += table.num_rows
    except FileNotFoundError:
        raise InputNotFoundError(f"--predictions {path}: no such file. 'pipeline score' writes them.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"--predictions {path} is no whole Parquet file ({error}). Score again.") from error
    certain = [item for label in labels for item in best.get(f"={label}", [])]
    taken = {number for _, number, _ in certain}
    unsure = [item for item in best.get("?", []) if item[1] not in taken]
    rows = [_of_second_label(row, labels) for _, _, row in certain + unsure]
    return pa.Table.from_pylist(rows, schema=EXAMPLE.schema)


def _quota(kind: str) -> int:
    return UNDECIDED if kind == "?" else PER_LABEL


def _columns(schema: pa.Schema, path: Path, text_column: str, label_column: str | None) -> list[str]:
    (VERSION_1 if is_version_1(schema) else PREDICTION).check_columns(schema, f"--predictions {path}")
    for option, column in (("--text-column", text_column), ("--label-column", label_column)):
        if column is not None and column not in schema.names:
            raise UsageError(f"{option} {column}: {path} has no such column. Its columns: {', '.join(schema.names)}.")
    if not is_text(schema.field(text_column).type):
        texts = ", ".join(field.name for field in schema if is_text(field.type))
        raise UsageError(
            f"--text-column {text_column}: it is {schema.field(text_column).type}, not strings. Columns of strings: {texts}."
        )
    named = {text_column, label_column, "prediction", "probability"} - {None}
    return [name for name in schema.names if name in named]


def _with_own_chance(table: pa.Table, labels: Sequence[str], version_1: bool) -> pa.Table:
    """The rows with the probability of their prediction; of two classes, version 1 has that of the second label."""
    if not version_1 or len(labels) != 2:
        return table
    chances = table["probability"].to_numpy().astype(np.float64)
    predictions = np.array(table["prediction"].to_pylist(), dtype=object)
    own = pa.array(np.where(predictions == labels[1], chances, 1 - chances), pa.float32(), from_pandas=True)
    return table.set_column(table.schema.get_field_index("probability"), "probability", own)


def _of_second_label(row: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """The row as examples have it: of two classes, with the probability of the second label."""
    if len(labels) != 2 or row["prediction"] == labels[1]:
        return row
    return {**row, "probability": 1 - row["probability"]}


def _check_model(schema: pa.Schema, path: Path, model_id: str) -> None:
    made_by = (schema.metadata or {}).get(KEY_MODEL, model_id.encode()).decode(errors="replace")
    if made_by != model_id:
        raise UsageError(
            f"--predictions {path}: they are of the model {made_by}, the report is of {model_id}. "
            f"Name the same one with --model {made_by}, or score again."
        )


def _candidates(table: pa.Table, labels: Sequence[str]) -> list[tuple[str, float, int]]:
    """Kind (`=label` or `?`), score (higher is better) and row of the best rows of a row group."""
    predictions = np.array(table["prediction"].to_pylist(), dtype=object)
    chances = table["probability"].to_numpy().astype(np.float64)
    usable = np.array([p is not None for p in predictions], dtype=bool) & ~np.isnan(chances)
    found = []
    for kind, mask, score in [
        *((f"={label}", usable & (predictions == label), chances) for label in labels),
        ("?", usable, -chances),
    ]:
        rows = np.flatnonzero(mask)
        order = rows[np.argsort(-score[rows], kind="stable")]
        found += [(kind, float(score[row]), int(row)) for row in order[: _quota(kind)]]
    return found


def _example(table: pa.Table, row: int, text_column: str, label_column: str | None) -> dict[str, Any]:
    values = {name: table[name][row].as_py() for name in table.column_names}
    label = values[label_column] if label_column else None
    return {
        "text": values[text_column] or "",
        "label": None if label is None else str(label),
        "prediction": values["prediction"],
        "probability": values["probability"],
    }
