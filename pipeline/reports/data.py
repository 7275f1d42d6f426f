"""What a report shows, read from a bundle's folder: description, metrics, vocabulary and the optional files."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError
from pipeline.reports.files import read_examples, read_lengths
from pipeline.text.vocabulary import Vocabulary
from schemas.contract import ContractError
from schemas.report import EXAMPLE, LENGTH
from schemas.vocabulary import SPECIALS

PHASES = ("train", "valid", "test")
TOP_TOKENS = 25
METRIC_COLUMNS = ("epoch", "step", "phase", "loss", "accuracy", "seconds", "tokens")


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """A bundle as its report shows it. `metrics` holds metrics.parquet's rows in the order of the file."""

    model_id: str
    description: dict[str, Any]
    metrics: list[dict[str, Any]]
    vocabulary: Vocabulary
    lengths: pa.Table | None
    examples: pa.Table | None

    @cached_property
    def labels(self) -> list[str]:
        """The labels in the order of their ids."""
        return [str(label) for label in self.description.get("labels", self.vocabulary.labels)]

    def top_tokens(self, count: int = TOP_TOKENS) -> list[tuple[str, int]]:
        """The most frequent tokens and their counts; the special ones left out."""
        end = len(SPECIALS) + count
        tokens, counts = self.vocabulary.tokens, self.vocabulary.counts
        return list(zip(tokens[len(SPECIALS) : end].to_pylist(), counts[len(SPECIALS) : end].to_pylist(), strict=True))

    def phase(self, name: str) -> list[dict[str, Any]]:
        """The rows of one phase, by step."""
        return sorted((row for row in self.metrics if row["phase"] == name), key=lambda row: (row["epoch"], row["step"]))

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """The row of the epoch with the least validation loss, which is the one whose weights were kept."""
        rows = [row for row in self.phase("valid") if row["loss"] is not None]
        return min(rows, key=lambda row: row["loss"]) if rows else None


def read_report_data(
    folder: Path, *, model_id: str | None = None, lengths: pa.Table | None = None, examples: pa.Table | None = None
) -> ReportData:
    """Reads a bundle. `lengths` and `examples`, where given, take the place of the bundle's own files.

    Raises:
        InputNotFoundError: the folder holds no bundle, or one without metrics.
        DataError: a file of it is damaged.
        ContractError: a table has not the columns of its contract.
    """
    description = _description(folder / "model.json")
    if lengths is not None:
        LENGTH.check_columns(lengths.schema, "lengths")
    if examples is not None:
        EXAMPLE.check_columns(examples.schema, "examples")
    return ReportData(
        model_id=model_id or folder.resolve().name,
        description=description,
        metrics=_metrics(folder / "metrics.parquet"),
        vocabulary=Vocabulary.read(folder / "vocabulary.parquet"),
        lengths=lengths if lengths is not None else read_lengths(folder),
        examples=examples if examples is not None else read_examples(folder),
    )


def _description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFoundError(f"{path} is not there: {path.parent} is no model bundle. Name one with --model.") from None
    except ValueError as error:
        raise DataError(f"{path} is no model description ({error}). Restore the bundle, or train again.") from error
    if not isinstance(description, dict):
        raise DataError(f"{path} is no model description. Restore the bundle, or train again.")
    return description


def _metrics(path: Path) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputNotFoundError(f"{path} is not there: without metrics there is nothing to report. Train again.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no whole Parquet file ({error}). Restore the bundle, or train again.") from error
    missing = [name for name in METRIC_COLUMNS if name not in table.column_names]
    if missing:
        raise ContractError(f"{path} lacks {', '.join(missing)}. Its columns are {', '.join(table.column_names)}.")
    rows: list[dict[str, Any]] = table.select(list(METRIC_COLUMNS)).to_pylist()
    return rows
