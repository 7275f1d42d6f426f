"""The columns that scoring adds, and the metadata that say what made them."""

import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, UsageError
from pipeline.lake.content import KEY_DATA_SHA256, verify_data
from pipeline.progress import AS_IT_IS
from pipeline.readers.opening import READ_ERRORS
from pipeline.scoring.inputs import ScoreInput
from pipeline.tasks.columns import answer_columns, answer_fields
from schemas.contract import KEY_NAME, ContractError
from schemas.prediction import (
    ABSTAINED,
    EXPLANATION,
    KEY_INPUT,
    KEY_LABELS,
    KEY_MODEL,
    KEY_MODEL_CONTENT,
    KEY_OPTIONS,
    KEY_SOURCE,
    NO_KNOWN_TOKEN,
    NO_TEXT,
    PREDICTION,
)
from schemas.registry import CONTRACTS

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

log = logging.getLogger(__name__)

REASONS = (None, NO_TEXT, NO_KNOWN_TOKEN, ABSTAINED)
"""Why a row has no prediction, by its code; the first ones are those of the encoder."""

Reasons = npt.NDArray[np.int8]
Probabilities = npt.NDArray[np.float32]


def prediction_fields(labels: Sequence[str], explain: bool = False) -> list[pa.Field]:
    """The columns that scoring adds. A model without labels is one of numbers."""
    about = [PREDICTION.schema.field(name) for name in ("model_id", "unscored_reason")]
    return [*answer_fields(labels), *about, *([EXPLANATION] if explain else [])]


def output_schema(
    source: ScoreInput, labels: Sequence[str], metadata: Mapping[bytes, bytes], explain: bool = False
) -> pa.Schema:
    """The kept columns as they are, the prediction's behind them.

    Raises:
        UsageError: the input has a column of the prediction's already.
    """
    kept = source.schema
    added = prediction_fields(labels, explain)
    clash = [field.name for field in added if field.name in kept.names]
    if clash:
        scored = (kept.metadata or {}).get(KEY_MODEL)
        why = f" (it was scored before, by {scored.decode()})" if scored else ""
        rest = ",".join(name for name in kept.names if name not in {field.name for field in added}) or "none"
        raise UsageError(
            f"{source.name} already has the columns {', '.join(clash)}{why}, which 'pipeline score' adds. "
            f"Exclude them with --keep {shlex.quote(rest)}, or rename them.",
            brief=f"{source.name} already has columns of predictions. Exclude them with --keep, or rename them.",
        )
    return pa.schema([*kept, *added], {**(kept.metadata or {}), **metadata})


def output_metadata(bundle: "Bundle", source: str, input_sha256: str, options: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The contract's metadata, and from which input, by which model, with which options the file comes.

    Args:
        source: how the lake names the input; its content is told by `input_sha256`.
    """
    return {
        **PREDICTION.metadata,
        KEY_SOURCE: source.encode(),
        KEY_MODEL: bundle.model_id.encode(),
        KEY_MODEL_CONTENT: bundle.content_key.encode(),
        KEY_LABELS: json.dumps(list(bundle.labels)).encode(),
        KEY_INPUT: input_sha256.encode(),
        KEY_OPTIONS: json.dumps(options, sort_keys=True).encode(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What an output holds: the number of its rows, and the model that scored them."""

    rows: int
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How an output has its place, which decides what may be overwritten there.

    Args:
        in_lake: it is in the lake's own folder, which holds nothing but predictions.
        by_input: the input's name decides it, so that an input of the same name elsewhere would overwrite it.
        any_model: an output of another model is as good as one of this run's.
    """

    in_lake: bool
    by_input: bool
    any_model: bool = False


def scored_before(
    output: Path, metadata: Mapping[bytes, bytes], naming: Naming, wrote_before: Callable[[], bool] = lambda: False
) -> Scored | None:
    """What an existing, intact Parquet file holds that was made from the same input with the same model and options; None
    without such a file.

    Args:
        wrote_before: whether an earlier run wrote the output; asked only when what is there cannot be read.

    Raises:
        UsageError: what is there was not written by 'pipeline score', or holds the predictions of an input of the same
            name elsewhere.
        ContractError: it was written by a newer release.
    """
    if not output.exists():
        return None
    try:
        footer = pq.read_metadata(output)
        found = footer.metadata or {}
    except READ_ERRORS as error:
        if naming.in_lake or wrote_before():
            log.warning("%s cannot be read: %s. Rewriting it.", output, error, extra=AS_IT_IS)
            return None
        found = {}
    if KEY_DATA_SHA256 in found and found.get(KEY_NAME, b"").decode(errors="replace") not in CONTRACTS:
        text = "%s was written by 'pipeline score', but its metadata are damaged. Rewriting it."
        log.warning(text, output, extra=AS_IT_IS)
        return None
    if any(key not in found for key in PREDICTION.metadata) or found[b"review_pipeline.schema"] != PREDICTION.name.encode():
        raise UsageError(
            f"{output} already exists and was not written by 'pipeline score'. Choose another --output, or use --force."
        )
    PREDICTION.check_version(found[b"review_pipeline.schema_version"].decode(), str(output))
    if not is_same(output, found, metadata, naming) or not _is_whole(output):
        return None
    return Scored(rows=footer.num_rows, model_id=found[KEY_MODEL].decode(errors="replace"))


def _is_whole(output: Path) -> bool:
    """Whether every byte of a prediction file is as it was written; files of earlier releases cannot say."""
    try:
        verify_data(output, "")
        PREDICTION.check_columns(pq.read_schema(output), str(output))
    except (DataError, ContractError, *READ_ERRORS) as error:
        log.warning("%s Rewriting it.", error, extra=AS_IT_IS)
        return False
    return True


def is_same(output: Path, found: Mapping[bytes, bytes], metadata: Mapping[bytes, bytes], naming: Naming) -> bool:
    """Whether an output with the metadata `found` is what a run with `metadata` would write.

    Raises:
        UsageError: it holds the predictions of an input of the same name elsewhere.
    """
    free = {KEY_SOURCE, KEY_MODEL, KEY_MODEL_CONTENT, KEY_LABELS} if naming.any_model else {KEY_SOURCE}
    if KEY_MODEL_CONTENT not in found:  # written by an earlier release
        free.add(KEY_MODEL_CONTENT)
    if KEY_MODEL in found and all(found.get(key) == value for key, value in metadata.items() if key not in free):
        return True
    other = found.get(KEY_SOURCE, metadata[KEY_SOURCE])
    if naming.by_input and other != metadata[KEY_SOURCE]:
        raise UsageError(
            f"{output} contains the predictions of {other.decode(errors='replace')}, an input of the same name. "
            "Choose another place with --output, or overwrite them with --force."
        )
    return False


def check_abstain(model_id: str, labels: Sequence[str], below: float | None) -> None:
    """Raises `UsageError` where predictions are to be withheld by probability, and the model has none."""
    if below is not None and not labels:
        raise UsageError(
            f"--abstain-below {below:g}: {model_id} predicts numbers, which have no probability. Remove the option (in "
            "Python: abstain_below)."
        )


def with_abstained(probability_NC: Probabilities, reason_N: Reasons, below: float | None) -> Reasons:
    """The reasons, with those rows that are scored but whose best probability is below a limit."""
    if below is None:
        return reason_N
    doubtful = (reason_N == 0) & (probability_NC.max(axis=1, initial=0.0) < np.float32(below))
    return np.where(doubtful, np.int8(REASONS.index(ABSTAINED)), reason_N)


def predicted_columns(
    probability_NC: Probabilities, reason_N: Reasons, labels: Sequence[str], model_id: str
) -> list[pa.Array]:
    """The columns of `prediction_fields` but the explanation.

    Args:
        probability_NC: float32 (N, C), or the predicted numbers (N, 1); NaN where a row was not scored.
        reason_N: int8 (N,), indices into `REASONS`; 0 for a prediction.
    """
    return [
        *answer_columns(probability_NC, reason_N != 0, labels),
        pa.repeat(pa.scalar(model_id, pa.string()), len(reason_N)),
        pa.array(REASONS, pa.string()).take(pa.array(reason_N)),
    ]
