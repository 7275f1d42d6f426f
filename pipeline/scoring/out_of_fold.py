"""Predictions of the reviews that a model was not trained on, written and summed up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.train import TrainConfig
from pipeline.lake.atomic import atomic_path
from pipeline.models.bundle import Bundle
from pipeline.scoring.outputs import predicted_columns, prediction_fields
from pipeline.scoring.predictor import Predictor
from pipeline.training.calibration import expected_calibration_error
from pipeline.training.data import open_data
from pipeline.training.evaluation import Evaluation
from pipeline.training.folds import Fold
from pipeline.training.selection import Part, select
from schemas.out_of_fold import OUT_OF_FOLD
from schemas.prediction import PREDICTION

COLUMNS = ["review_id", "group", "label", "ids"]


def write_fold(config: TrainConfig, bundle: Bundle, path: Path) -> None:
    """Scores the fold that `config` held out with the model it left, as `pipeline score` would.

    Raises:
        DataError: damaged shards.
    """
    assert config.fold is not None
    data = open_data(config.lake, tokens=config.tokens, table_version=bundle.table_version, vocabulary=config.vocabulary)
    fold = Fold.parse(config.fold)
    part = select(data.shards, len(bundle.labels), config.valid_fraction, fold)[0].part("test")
    schema = _schema(bundle.labels)
    with (
        Predictor(bundle, config.device) as predictor,
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for rows in _tables(part):
            writer.write_table(_predicted(rows, predictor, fold.index, schema))


def fold_figures(path: Path) -> dict[str, Any]:
    """Rows, accuracy, macro-F1, mean cross-entropy and expected calibration error of a fold's predictions."""
    table = pq.read_table(path)
    labels = sorted(set(table["label"].to_pylist()) | set(table["prediction"].to_pylist()))
    place = {label: index for index, label in enumerate(labels)}
    label_N = np.array([place[label] for label in table["label"].to_pylist()], np.int64)
    predicted_N = np.array([place[label] for label in table["prediction"].to_pylist()], np.int64)
    confusion = np.bincount(label_N * len(labels) + predicted_N, minlength=len(labels) ** 2).reshape(len(labels), -1)
    own_N = table["label_probability"].to_numpy().astype(np.float64)
    loss = float(-np.log(np.maximum(own_N, np.finfo(np.float32).tiny)).mean())
    found = Evaluation(
        loss=loss, accuracy=float((label_N == predicted_N).mean()), rows=len(label_N), tokens=0, confusion=confusion
    )
    return {
        "rows": found.rows,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "loss": loss,
        "ece": expected_calibration_error(_certainty(table), (label_N != predicted_N).astype(np.int64)),
    }


def _certainty(table: pa.Table) -> npt.NDArray[np.float64]:
    """(N, 1): the winner's probability."""
    probability_N = table["probability"].to_numpy().astype(np.float64)
    binary = len(table.schema.names) == len(OUT_OF_FOLD.schema.names)
    winner_N: npt.NDArray[np.float64] = np.maximum(probability_N, 1 - probability_N) if binary else probability_N
    return winner_N[:, None]


def _schema(labels: tuple[str, ...]) -> pa.Schema:
    classes = [field for field in prediction_fields(labels) if field.name not in PREDICTION.schema.names]
    return pa.schema([*OUT_OF_FOLD.schema, *classes], OUT_OF_FOLD.metadata)


def _tables(part: Part) -> Iterator[pa.Table]:
    """The rows of the part, a table for each row group that has some."""
    for group, rows in zip(part.groups, part.selected, strict=True):
        if len(rows):
            with pq.ParquetFile(group.path) as file:
                yield file.read_row_group(group.index, columns=COLUMNS).take(rows)


def _predicted(rows: pa.Table, predictor: Predictor, fold: int, schema: pa.Schema) -> pa.Table:
    bundle = predictor.bundle
    label_N = rows["label"].to_numpy()
    probability_NC = predictor.predict(rows["ids"].combine_chunks())
    predicted, *others = predicted_columns(probability_NC, bundle.labels, bundle.model_id)
    columns = [
        rows["review_id"],
        rows["group"],
        pa.repeat(pa.scalar(fold, pa.int32()), len(rows)),
        pa.array(bundle.labels, pa.string()).take(pa.array(label_N)),
        pa.array(probability_NC[np.arange(len(rows)), label_N], pa.float32()),
        predicted,
        *others,
    ]
    return pa.Table.from_arrays(columns, schema=schema)
