"""What a report shows, read from a bundle's folder: description, metrics, vocabulary and the optional files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.contract_files import read_contract_file
from pipeline.lake.documents import parsed
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.reports.files import read_evaluation, read_examples, read_lengths, read_token_weights
from pipeline.reports.metrics import Measures
from pipeline.reports.numbers import NumberMeasures
from pipeline.text.vocabulary import Vocabulary
from schemas.model import MODEL
from schemas.report import EXAMPLE, KEY_LABEL_ROWS, LENGTH
from schemas.training import METRICS


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The reviews of one split as the model scored them. `length` counts the tokens of each review, (N,)."""

    split: str
    review_ids: list[str]
    lengths: "np.ndarray[Any, np.dtype[np.int64]]"
    measures: Measures
    all_rows: int
    """Labelled reviews of the split; more than N where only a sample was scored."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """A bundle as its report shows it. `metrics` holds metrics.parquet's rows in the order of the file."""

    model_id: str
    description: dict[str, Any]
    metrics: list[dict[str, Any]]
    vocabulary: Vocabulary
    lengths: pa.Table | None
    examples: pa.Table | None
    evaluation: pa.Table | None = None
    token_weights: pa.Table | None = None

    @cached_property
    def labels(self) -> list[str]:
        """The labels in the order of their ids."""
        return [str(label) for label in self.description.get("labels", self.vocabulary.labels)]

    @cached_property
    def arch(self) -> str:
        """The architecture's name."""
        return str(self.description.get("arch") or "model")

    def phase(self, name: str) -> list[dict[str, Any]]:
        """The rows of one phase, by step."""
        return sorted((row for row in self.metrics if row["phase"] == name), key=lambda row: (row["epoch"], row["step"]))

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """The row of the epoch with the least validation loss, which is the one whose weights were kept."""
        rows = [row for row in self.phase("valid") if row["loss"] is not None]
        return min(rows, key=lambda row: row["loss"]) if rows else None

    @cached_property
    def label_rows(self) -> dict[str, list[int]]:
        """For train, valid and test the number of reviews of each label; empty when nobody counted."""
        metadata = {} if self.evaluation is None else self.evaluation.schema.metadata or {}
        counted: dict[str, list[int]] = json.loads(metadata.get(KEY_LABEL_ROWS, b"{}"))
        return {split: rows for split, rows in counted.items() if sum(rows)}

    def scored(self, split: str) -> Scored | None:
        """The scored reviews of a split, None when there are none."""
        if self.evaluation is None:
            return None
        table = self.evaluation.filter(pc.equal(self.evaluation["split"], split))
        if not len(table):
            return None
        measures = measures_of(table, self.labels, self.model_id)
        lengths = table["length"].to_numpy().astype(np.int64)
        everything = sum(self.label_rows.get(split, [])) or len(table)
        ids = table["review_id"].to_pylist()
        return Scored(split=split, review_ids=ids, lengths=lengths, measures=measures, all_rows=everything)

    @cached_property
    def judged(self) -> Scored | None:
        """The reviews that the figures are of: the test split, else the validation split."""
        return self.scored("test") or self.scored("valid")


def measures_of(table: pa.Table, labels: Sequence[str], model_id: str) -> Measures:
    """The figures of rows under the contract `schemas.report.EVALUATION`.

    Raises:
        DataError: the rows are of a model with other labels.
    """
    flat = table["probabilities"].combine_chunks().flatten().to_numpy().astype(np.float64)
    if len(flat) != len(table) * len(labels):
        raise DataError(
            f"{model_id}: the classes in evaluation.parquet differ from the labels in model.json. Remove it and run "
            "'pipeline report' to create it again."
        )
    return Measures(
        names=tuple(labels),
        labels_N=table["label"].to_numpy().astype(np.int64),
        probability_NC=flat.reshape(len(table), len(labels)),
    )


def number_measures_of(table: pa.Table) -> NumberMeasures:
    """The figures of rows under the contract `schemas.report.NUMBERS`."""
    return NumberMeasures(target_N=table["target"].to_numpy(), predicted_N=table["predicted_value"].to_numpy())


def read_report_data(
    folder: Path, *, model_id: str | None = None, lengths: pa.Table | None = None, examples: pa.Table | None = None
) -> ReportData:
    """Reads a bundle. `lengths` and `examples`, where given, take the place of the bundle's own files.

    Raises:
        InputNotFoundError: the folder holds no bundle, or one without metrics.
        DataError: a file of it is damaged.
        ContractError: a table has not the columns of its contract.
    """
    description = read_description(folder / "model.json")
    if lengths is not None:
        LENGTH.check_columns(lengths.schema, "lengths")
    if examples is not None:
        EXAMPLE.check_columns(examples.schema, "examples")
    vocabulary = read_vocabulary(folder / "vocabulary.parquet")
    labels = [str(label) for label in description.get("labels", vocabulary.labels)]
    return ReportData(
        model_id=model_id or folder.resolve().name,
        description=description,
        metrics=_metrics(folder / "metrics.parquet"),
        vocabulary=vocabulary,
        lengths=lengths if lengths is not None else read_lengths(folder),
        examples=examples if examples is not None else read_examples(folder, labels),
        evaluation=read_evaluation(folder),
        token_weights=read_token_weights(folder),
    )


def read_description(path: Path) -> dict[str, Any]:
    """A bundle's model.json.

    Raises:
        InputNotFoundError: it is not there.
        DataError: it is damaged.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFoundError(
            f"{path} does not exist: {path.parent} is not a model bundle. Choose one with --model."
        ) from None
    return parsed(content, path, MODEL)


def _metrics(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = read_contract_file(path, METRICS, METRICS.remedy).to_pylist()
    except FileNotFoundError:
        raise InputNotFoundError(
            f"{path} does not exist: without metrics, there is nothing to report. Train again."
        ) from None
    return rows
