"""Predictions of the reviews that a model was not trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.train import TrainConfig
from pipeline.lake.atomic import atomic_path
from pipeline.models.bundle import Bundle
from pipeline.order.folds import Fold
from pipeline.order.selection import Part, select
from pipeline.scoring.outputs import predicted_columns, prediction_fields
from pipeline.scoring.predictor import Predictor
from pipeline.tasks.registry import task_of
from pipeline.training.data import open_data
from schemas.out_of_fold import OF_LABELS, OF_NUMBERS, OUT_OF_FOLD
from schemas.prediction import CLASS_PREFIX, CLASSES, PREDICTION, VALUE

COLUMNS = ["review_id", "group", "ids"]


def write_fold(config: TrainConfig, bundle: Bundle, path: Path) -> None:
    """Scores the fold that `config` held out with the model it left, as `pipeline score` would.

    Raises:
        DataError: damaged shards.
    """
    assert config.fold is not None
    data = open_data(config.lake, tokens=config.tokens, table_version=bundle.table_version, vocabulary=config.vocabulary)
    fold = Fold.parse(config.fold)
    task = task_of(bundle)
    part = select(data.shards, task, config.valid_fraction, fold)[0].part("test")
    schema = _schema(bundle.labels)
    predicted = _predicted if bundle.labels else _predicted_numbers
    with (
        Predictor(bundle, config.device) as predictor,
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for rows in _tables(part):
            writer.write_table(predicted(rows, predictor, fold.index, schema))


def read_probabilities(path: Path, labels: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """What `write_fold` wrote: the labels' numbers (N,) and the probabilities (N, C)."""
    table = pq.read_table(path)
    label_N = pc.index_in(table["label"], pa.array(labels, pa.string())).to_numpy().astype(np.int64)
    if CLASSES.name in table.column_names:
        probability_NC = table[CLASSES.name].combine_chunks().flatten().to_numpy().reshape(-1, len(labels))
    else:
        probability_NC = np.stack([table[CLASS_PREFIX + label].to_numpy() for label in labels], axis=1)
    return label_N, probability_NC.astype(np.float64)


def read_numbers(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What `write_fold` wrote of a model of numbers: targets and predictions (N,)."""
    table = pq.read_table(path, columns=["target", VALUE])
    return table["target"].to_numpy(), table[VALUE].to_numpy().astype(np.float64)


def _schema(labels: tuple[str, ...]) -> pa.Schema:
    foreign = OF_NUMBERS if labels else OF_LABELS
    own = [field for field in OUT_OF_FOLD.schema if field.name not in foreign]
    classes = [field for field in prediction_fields(labels) if field.name not in PREDICTION.schema.names]
    return pa.schema([*own, *classes], OUT_OF_FOLD.metadata)


def _tables(part: Part) -> Iterator[pa.Table]:
    """The rows of the part, a table for each row group that has some."""
    for group, rows in zip(part.groups, part.selected, strict=True):
        if len(rows):
            with pq.ParquetFile(group.path) as file:
                yield file.read_row_group(group.index, columns=[*COLUMNS, part.column]).take(rows)


def _predicted_numbers(rows: pa.Table, predictor: Predictor, fold: int, schema: pa.Schema) -> pa.Table:
    columns = {
        "review_id": rows["review_id"],
        "group": rows["group"],
        "fold": pa.repeat(pa.scalar(fold, pa.int32()), len(rows)),
        "target": rows[predictor.task.column].cast(pa.float64()),
        VALUE: pa.array(predictor.predict(rows["ids"].combine_chunks())[:, 0], pa.float32()),
        "model_id": pa.repeat(pa.scalar(predictor.bundle.model_id, pa.string()), len(rows)),
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _predicted(rows: pa.Table, predictor: Predictor, fold: int, schema: pa.Schema) -> pa.Table:
    bundle = predictor.bundle
    label_N = rows["label"].to_numpy()
    probability_NC = predictor.predict(rows["ids"].combine_chunks())
    added = predicted_columns(probability_NC, np.zeros(len(rows), np.int8), bundle.labels, bundle.model_id)
    by_name = dict(zip([field.name for field in prediction_fields(bundle.labels)], added, strict=True))
    columns = {
        "review_id": rows["review_id"],
        "group": rows["group"],
        "fold": pa.repeat(pa.scalar(fold, pa.int32()), len(rows)),
        "label": pa.array(bundle.labels, pa.string()).take(pa.array(label_N)),
        "label_probability": pa.array(probability_NC[np.arange(len(rows)), label_N], pa.float32()),
        **by_name,
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
