"""Which scored reviews a report shows, and how: those of the bundle, and those chosen from a file of predictions."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.readers.labels import LabelMap
from pipeline.reports.files import probability_of_prediction
from pipeline.text.types import is_text
from schemas.prediction import EXPLANATION, KEY_MODEL, PREDICTION, VERSION_1, is_version_1
from schemas.report import EXAMPLE, RIGHT, UNSURE, WRONG

SHOWN_CHARACTERS = 600
MOST_SHOWN = 30
PER_LABEL = 4
UNDECIDED = 4
SHOWN_WEIGHTS = 6

BREAK = re.compile(r"(?:\s*<(?:br|p|hr|/p)\s*/?>\s*)+", re.IGNORECASE)
FORMATTING = re.compile(r"</?(?:b|i|u|em|strong|span|div|font|small|big|sub|sup|tt|a)(?:\s[^<>]*)?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Weight:
    """A token and its share of the heaviest one's weight, from -1 to 1; below 0 it speaks against the prediction."""

    token: str
    share: float


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the page shows it. `share` is the probability of the prediction; `right` is None when nobody knows."""

    text: str
    label: str | None
    prediction: str
    share: float
    right: bool | None
    kind: str
    weights: tuple[Weight, ...]


def shown_examples(examples: pa.Table) -> list[Shown]:
    """The examples in their order, without markup, the longest texts cut, at most `MOST_SHOWN`."""
    shown = []
    for row in examples.slice(0, MOST_SHOWN).to_pylist():
        label, prediction = row["label"], row["prediction"]
        right = None if label is None else label == prediction
        kind = row.get("kind") or (WRONG if right is False else RIGHT)
        weights = _weights(row.get("explanation") or [])
        text = _cut(without_markup(row["text"]))
        shown.append(Shown(text, label, prediction, float(row["probability"]), right, kind, weights))
    return shown


def without_markup(text: str) -> str:
    """Text as a browser would show it: line breaks of HTML become blanks, formatting goes, entities become characters.
    Any other tag stays as it stands."""
    return html.unescape(FORMATTING.sub("", BREAK.sub(" ", text))).strip()


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"


def _weights(explanation: Sequence[Mapping[str, Any]]) -> tuple[Weight, ...]:
    """The heaviest tokens, each once."""
    sums: dict[str, float] = {}
    for part in explanation:
        sums[part["token"]] = sums.get(part["token"], 0.0) + part["weight"]
    largest = max((abs(weight) for weight in sums.values()), default=0.0)
    if not largest:
        return ()
    ranked = sorted(sums.items(), key=lambda item: -abs(item[1]))[:SHOWN_WEIGHTS]
    return tuple(Weight(token, weight / largest) for token, weight in ranked)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredColumns:
    """Columns of a scored file: those of the text, joined by line breaks, and that of the true label.

    `label_map` gives the classes of its values.
    """

    text: tuple[str, ...] = ("text",)
    label: str | None = None
    label_map: LabelMap | None = None

    def as_shown(self, table: pa.Table, labels: Sequence[str]) -> pa.Table:
        """The table with the columns `text` and `label` as a page shows them, and those of the prediction."""
        columns = {name: table[name] for name in (*PREDICTED, EXPLANATION.name) if name in table.column_names}
        texts = [table[name].cast(pa.string()) for name in self.text]
        columns["text"] = pc.binary_join_element_wise(*texts, "\n", null_handling="skip") if len(texts) > 1 else texts[0]
        if self.label is not None:
            values = table[self.label].to_pylist()
            truths = [None if value is None else self._class_of(str(value), labels) for value in values]
            columns["label"] = pa.array(truths, pa.string())
        return pa.table(columns)

    def _class_of(self, value: str, labels: Sequence[str]) -> str | None:
        return value if self.label_map is None or value in labels else self.label_map(value)


PREDICTED = ("prediction", "probability")


def column_names(path: Path) -> list[str]:
    """The columns of a scored file; none if it cannot be read, which is reported when it is."""
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return []


def choose_from_predictions(path: Path, model_id: str, labels: Sequence[str], of: ScoredColumns) -> pa.Table:
    """The reviews of a scored file to show: for each label the most certain ones, then the least certain of all. With a
    label column the surest mistakes come first.

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
            columns = _columns(file.schema_arrow, path, of)
            label_column = of.label and "label"
            _check_model(file.schema_arrow, path, model_id)
            of_second = is_version_1(file.schema_arrow)
            for group in range(file.num_row_groups):
                read = of.as_shown(file.read_row_group(group, columns=columns), labels)
                table = _with_probability(read, labels, of_second)
                for kind, score, place in _candidates(table, labels, label_column):
                    row = _example(table, place, label_column, kind)
                    best.setdefault(kind, []).append((-score, row_number + place, row))
                best = {kind: sorted(kept, key=lambda item: item[:2])[: _quota(kind)] for kind, kept in best.items()}
                row_number += table.num_rows
    except FileNotFoundError:
        raise InputNotFoundError(f"--predictions {path}: no such file. Create it with 'pipeline score'.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"--predictions {path} is not a complete Parquet file ({error}). Pass one written by 'pipeline score'."
        ) from error
    chosen: dict[int, dict[str, Any]] = {}
    for kind in (WRONG, *(f"={label}" for label in labels), UNSURE):
        for _, number, row in best.get(kind, []):
            chosen.setdefault(number, row)
    return pa.Table.from_pylist(list(chosen.values()), schema=EXAMPLE.schema)


def _quota(kind: str) -> int:
    return UNDECIDED if kind == UNSURE else PER_LABEL


def _columns(schema: pa.Schema, path: Path, of: ScoredColumns) -> list[str]:
    """The columns to read."""
    (VERSION_1 if is_version_1(schema) else PREDICTION).check_columns(schema, f"--predictions {path}")
    for option, column in (*(("--text-column", name) for name in of.text), ("--label-column", of.label)):
        if column is not None and column not in schema.names:
            raise UsageError(f"{option} {column}: {path} has no such column. Its columns: {', '.join(schema.names)}.")
    for name in of.text:
        if not is_text(schema.field(name).type):
            texts = ", ".join(field.name for field in schema if is_text(field.type))
            raise UsageError(
                f"--text-column {name}: it is {schema.field(name).type}, not strings. Columns of strings: {texts}."
            )
    named = {*of.text, of.label, *PREDICTED, EXPLANATION.name} - {None}
    return [name for name in schema.names if name in named]


def _check_model(schema: pa.Schema, path: Path, model_id: str) -> None:
    made_by = (schema.metadata or {}).get(KEY_MODEL, model_id.encode()).decode(errors="replace")
    if made_by != model_id:
        raise UsageError(
            f"--predictions {path}: written by the model {made_by}, but the report is for {model_id}. "
            f"Use the same one with --model {made_by}, or score again."
        )


def _with_probability(table: pa.Table, labels: Sequence[str], of_second: bool) -> pa.Table:
    """The table with the probability of the prediction, whatever the version of its contract."""
    if not of_second:
        return table
    column = probability_of_prediction(table["prediction"], table["probability"], list(labels))
    return table.set_column(table.column_names.index("probability"), "probability", column)


def _candidates(table: pa.Table, labels: Sequence[str], label_column: str | None) -> list[tuple[str, float, int]]:
    """Kind (`wrong`, `=label` or `unsure`), score (higher is better) and row of the best rows of a row group."""
    predictions = np.array(table["prediction"].to_pylist(), dtype=object)
    certainty = table["probability"].to_numpy().astype(np.float64)
    usable = np.array([p is not None for p in predictions], dtype=bool) & ~np.isnan(certainty)
    truths = table[label_column].to_pylist() if label_column else []
    wrong = [truth is not None and truth != p for truth, p in zip(truths, predictions, strict=True)] if truths else False
    found = []
    for kind, mask, score in [
        (WRONG, usable & wrong, certainty),
        *((f"={label}", usable & (predictions == label), certainty) for label in labels),
        (UNSURE, usable, -certainty),
    ]:
        rows = np.flatnonzero(mask)
        order = rows[np.argsort(-score[rows], kind="stable")]
        found += [(kind, float(score[row]), int(row)) for row in order[: _quota(kind)]]
    return found


def _example(table: pa.Table, row: int, label_column: str | None, kind: str) -> dict[str, Any]:
    values = {name: table[name][row].as_py() for name in table.column_names}
    return {
        "text": values["text"] or "",
        "label": values[label_column] if label_column else None,
        "prediction": values["prediction"],
        "probability": values["probability"],
        "kind": kind if kind in (WRONG, UNSURE) else None,
        EXPLANATION.name: values.get(EXPLANATION.name),
    }
