"""What scoring writes: the input's columns, then the prediction's, with metadata that tell what made them."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import DataError, UsageError
from pipeline.lake.content import note_data_sha256, verify_data
from pipeline.scoring.inputs import ScoreInput, readable
from schemas.contract import ContractError
from schemas.prediction import CLASS_PREFIX, EXPLANATION, KEY_INPUT, KEY_MODEL, KEY_OPTIONS, KEY_SOURCE, PREDICTION

log = logging.getLogger(__name__)

ROW_GROUP_ROWS = 65_536


def prediction_fields(labels: Sequence[str], explain: bool = False) -> list[pa.Field]:
    """The columns that scoring adds."""
    classes = [pa.field(CLASS_PREFIX + label, pa.float32()) for label in labels] if len(labels) > 2 else []
    return [*PREDICTION.schema, *classes, *([EXPLANATION] if explain else [])]


def output_schema(
    source: ScoreInput, labels: Sequence[str], metadata: Mapping[bytes, bytes], explain: bool = False
) -> pa.Schema:
    """The kept columns as they are, the prediction's behind them.

    Raises:
        UsageError: the input has a column of the prediction's already.
    """
    kept = source.kept_schema
    added = prediction_fields(labels, explain)
    clash = [field.name for field in added if field.name in kept.names]
    if clash:
        scored = (kept.metadata or {}).get(KEY_MODEL)
        why = f" (it was scored before, by {scored.decode()})" if scored else ""
        rest = ",".join(name for name in kept.names if name not in {field.name for field in added}) or "none"
        raise UsageError(
            f"{source.path} already has the columns {', '.join(clash)}{why}, which 'pipeline score' adds. "
            f"Leave them out with --keep {rest}, or rename them."
        )
    return pa.schema([*kept, *added], {**(kept.metadata or {}), **metadata})


def output_metadata(model_id: str, source: str, input_sha256: str, options: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The contract's metadata, and from which input, by which model, with which options the file comes.

    Args:
        source: how the lake names the input; its content is told by `input_sha256`.
    """
    return {
        **PREDICTION.metadata,
        KEY_SOURCE: source.encode(),
        KEY_MODEL: model_id.encode(),
        KEY_INPUT: input_sha256.encode(),
        KEY_OPTIONS: json.dumps(options, sort_keys=True).encode(),
    }


def is_scored(
    output: Path, metadata: Mapping[bytes, bytes], named: bool, wrote_before: Callable[[], bool] = lambda: False
) -> bool:
    """Whether `output` is there already, whole, made from the same input by the same model with the same options.

    Args:
        named: the user named the output, rather than the input's name.
        wrote_before: whether an earlier run wrote the output; asked only when what is there cannot be read.

    Raises:
        UsageError: what is there was not written by 'pipeline score', or holds the predictions of an input of the same
            name elsewhere.
        ContractError: it was written by a newer release.
    """
    if not output.exists():
        return False
    try:
        with readable(output):
            found = pq.read_schema(output).metadata or {}
    except ValueError as error:
        if not named or wrote_before():  # the lake's own folder holds nothing but predictions
            log.warning("%s It is written again.", error)
            return False
        found = {}
    if any(key not in found for key in PREDICTION.metadata) or found[b"review_pipeline.schema"] != PREDICTION.name.encode():
        raise UsageError(f"{output} is there and was not written by 'pipeline score'. Choose another --output, or --force.")
    PREDICTION.check_version(found[b"review_pipeline.schema_version"].decode(), str(output))
    if all(found.get(key) == value for key, value in metadata.items() if key != KEY_SOURCE):
        return _is_whole(output)
    other = found.get(KEY_SOURCE, metadata[KEY_SOURCE])
    if not named and other != metadata[KEY_SOURCE]:
        raise UsageError(
            f"{output} holds the predictions of {other.decode(errors='replace')}, an input of the same name. "
            "Name another file with --output, or write over them with --force."
        )
    return False


def _is_whole(output: Path) -> bool:
    """Whether every byte of a prediction file is as it was written; files of earlier releases cannot tell."""
    try:
        with readable(output):
            verify_data(output, "")
            PREDICTION.check_columns(pq.read_schema(output), str(output))
    except (DataError, ContractError) as error:
        log.warning("%s It is written again.", error)
        return False
    return True


def predicted_columns(probability_NC: NDArray[np.float32], labels: Sequence[str], model_id: str) -> list[pa.Array]:
    """The columns of `prediction_fields` but the explanation, for the probabilities (N, C); NaN rows give null."""
    null = np.isnan(probability_NC[:, 0])
    best_N = np.where(null, 0, probability_NC.argmax(axis=1))
    predicted = pa.array(labels, pa.string()).take(pa.array(best_N, mask=null))
    binary = len(labels) == 2
    chosen_N = probability_NC[:, 1] if binary else probability_NC[np.arange(len(best_N)), best_N]
    columns = [
        predicted,
        pa.array(chosen_N, pa.float32(), mask=null),
        pa.repeat(pa.scalar(model_id, pa.string()), len(best_N)),
    ]
    if not binary:
        columns += [pa.array(probability_NC[:, index], pa.float32(), mask=null) for index in range(len(labels))]
    return columns


class PredictionWriter:
    """Writes windows of scored rows to one Parquet file. A context manager; the file is whole when it is left well."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._path = path
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        self.rows = 0

    def write(self, batches: Sequence[pa.RecordBatch], added: Sequence[pa.Array]) -> None:
        """Appends rows: the input's kept columns in `batches`, the prediction's columns in `added`."""
        columns = [*pa.Table.from_batches(batches).columns, *added]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), ROW_GROUP_ROWS)
        self.rows += len(added[0])

    def __enter__(self) -> "PredictionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            note_data_sha256(self._writer, self._path)
        self._writer.close()
