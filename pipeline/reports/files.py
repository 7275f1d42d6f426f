"""The files that a bundle may hold for its report (contracts in `schemas.report`)."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.contract_files import contract_version, read_contract_file, write_contract_file
from schemas.contract import Contract
from schemas.report import EVALUATION, EXAMPLE, EXAMPLE_1, LENGTH, NUMBER_EXAMPLE, NUMBERS, TOKEN_WEIGHT

LENGTHS, EVALUATIONS, EXAMPLES = "lengths.parquet", "evaluation.parquet", "examples.parquet"
TOKEN_WEIGHTS = "token_weights.parquet"
EVALUATED_NUMBERS, NUMBER_EXAMPLES = "evaluated_numbers.parquet", "number_examples.parquet"
REMEDY = "Remove it and run 'pipeline report' to create it again."
REPORT_FILES = (LENGTHS, EVALUATIONS, EXAMPLES, TOKEN_WEIGHTS)
NUMBER_FILES = (LENGTHS, EVALUATED_NUMBERS, NUMBER_EXAMPLES)
"""The files of a model of numbers."""


class LengthCounter:
    """Counts reviews by split and length, batch by batch; memory grows with the number of different lengths only."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, split: str, ids: pa.ListArray | pa.ChunkedArray) -> None:
        """Counts the reviews of a batch of token ids, list<int32>; null lists are passed over."""
        for pair in pc.value_counts(pc.drop_null(pc.list_value_length(ids))).to_pylist():
            self._counts[split, int(pair["values"])] += int(pair["counts"])

    def table(self) -> pa.Table:
        """The counts as lengths.parquet holds them, sorted by split and length."""
        rows = [{"split": s, "length": n, "count": c} for (s, n), c in sorted(self._counts.items())]
        return pa.Table.from_pylist(rows, schema=LENGTH.schema)


def write_lengths(folder: Path, table: pa.Table) -> Path:
    """Writes lengths.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return write_contract_file(folder / LENGTHS, table, LENGTH)


def write_evaluation(folder: Path, table: pa.Table) -> Path:
    """Writes evaluation.parquet into a bundle's folder; the table's metadata are kept. Raises `ContractError` when the
    columns are others."""
    return write_contract_file(folder / EVALUATIONS, table, EVALUATION)


def write_token_weights(folder: Path, table: pa.Table) -> Path:
    """Writes token_weights.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return write_contract_file(folder / TOKEN_WEIGHTS, table, TOKEN_WEIGHT)


def write_examples(folder: Path, table: pa.Table) -> Path:
    """Writes examples.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return write_contract_file(folder / EXAMPLES, table, EXAMPLE)


def write_numbers(folder: Path, table: pa.Table) -> Path:
    """Writes evaluated_numbers.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return write_contract_file(folder / EVALUATED_NUMBERS, table, NUMBERS)


def write_number_examples(folder: Path, table: pa.Table) -> Path:
    """Writes number_examples.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return write_contract_file(folder / NUMBER_EXAMPLES, table, NUMBER_EXAMPLE)


def read_numbers(folder: Path) -> pa.Table | None:
    """The bundle's evaluated_numbers.parquet, None when there is none."""
    return _read(folder / EVALUATED_NUMBERS, NUMBERS)


def read_number_examples(folder: Path) -> pa.Table | None:
    """The bundle's number_examples.parquet, None when there is none."""
    return _read(folder / NUMBER_EXAMPLES, NUMBER_EXAMPLE)


def read_lengths(folder: Path) -> pa.Table | None:
    """The bundle's lengths.parquet, None when there is none."""
    return _read(folder / LENGTHS, LENGTH)


def read_evaluation(folder: Path) -> pa.Table | None:
    """The bundle's evaluation.parquet with its metadata, None when there is none."""
    return _read(folder / EVALUATIONS, EVALUATION)


def read_token_weights(folder: Path) -> pa.Table | None:
    """The bundle's token_weights.parquet, None when there is none."""
    return _read(folder / TOKEN_WEIGHTS, TOKEN_WEIGHT)


def read_examples(folder: Path, labels: Iterable[str]) -> pa.Table | None:
    """The bundle's examples.parquet, None when there is none. Files of version 1 are upgraded.

    Args:
        labels: the model's labels in the order of their ids.
    """
    path = folder / EXAMPLES
    if contract_version(path, REMEDY) == "1":
        table = _read(path, EXAMPLE_1)
        return None if table is None else _upgraded(table, list(labels))
    return _read(path, EXAMPLE)


def probability_of_prediction(prediction: pa.ChunkedArray, probability: pa.ChunkedArray, labels: list[str]) -> pa.Array:
    """Probabilities of contracts of version 1, which store that of the second label for two labels."""
    if len(labels) != 2:
        return probability
    return pc.if_else(
        pc.equal(prediction, labels[0]), pc.subtract(pa.scalar(1.0, probability.type), probability), probability
    )


def _upgraded(table: pa.Table, labels: list[str]) -> pa.Table:
    of_prediction = probability_of_prediction(table["prediction"], table["probability"], labels)
    table = table.set_column(3, "probability", of_prediction)
    for field in list(EXAMPLE.schema)[4:]:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _read(path: Path, contract: Contract) -> pa.Table | None:
    return read_contract_file(path, contract, REMEDY) if path.is_file() else None
