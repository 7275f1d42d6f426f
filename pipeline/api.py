"""The Python API: a model that scores texts, tables and streams in this process. `pipeline.load` opens one.

    import pipeline

    model = pipeline.load("data_lake")
    model.predict(["A lovely film.", "A waste of time."])

Scores are the same as those of `pipeline score`. Shapes: N texts, C labels.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torchdata.nodes import IterableWrapper

from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.score_encode import Reasons, encode_texts
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from pipeline.lake.store import is_uri
from pipeline.models.bundle import DESCRIPTION, LATEST, LIVE, Bundle, find_bundle, read_bundle
from pipeline.printable import printable
from pipeline.scoring.explain import explanations
from pipeline.scoring.outputs import REASONS, check_abstain, predicted_columns, prediction_fields, with_abstained
from pipeline.scoring.predictor import Predictor
from pipeline.tasks.columns import best_labels
from pipeline.text.types import is_text
from schemas.prediction import ABSTAINED, CLASS_PREFIX, VALUE

__all__ = ["Model", "Prediction", "TokenWeight", "load"]

READ_ROWS = 1024
"""Number of rows a thread tokenizes at once."""
WINDOW_ROWS = 8192
"""Number of rows sorted by length together; more brings no gain."""

Source = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's prediction for one text. The fields match the columns written by `pipeline score`."""

    prediction: str | None
    """The most probable label, or None; see `unscored_reason`."""
    probability: float | None
    """The probability of `prediction`."""
    probabilities: dict[str, float] | None
    """The probability of each label, in the order of the model's labels; None if the text was not scored."""
    model_id: str
    unscored_reason: str | None = None
    """`no_text`: None, blank or not valid UTF-8. `no_known_token`: none of its words are in the vocabulary. `abstained`: the
    probability is below `abstain_below`."""
    value: float | None = None
    """The number that a regression model predicts, or None. Such a model gives no `prediction` and no probabilities."""
    is_number: bool = False
    """Whether the model is one of regression."""
    labels: tuple[str, ...] = field(default=(), repr=False)
    """The model's labels."""

    def to_dict(self) -> dict[str, Any]:
        """A flat dictionary with the columns of `pipeline score`, with one `probability_<label>` per label; a text that was
        not scored has the same keys."""
        if self.is_number:
            return {VALUE: self.value, "model_id": self.model_id, "unscored_reason": self.unscored_reason}
        probabilities = self.probabilities or dict.fromkeys(self.labels)
        classes = {CLASS_PREFIX + label: value for label, value in probabilities.items()}
        return {
            "prediction": self.prediction,
            "probability": self.probability,
            **classes,
            "model_id": self.model_id,
            "unscored_reason": self.unscored_reason,
        }


@dataclass(frozen=True, slots=True)
class TokenWeight:
    """A token of a text and its contribution to the prediction; negative weights count against it."""

    token: str
    position: int
    """Its index among the text's tokens, from 0."""
    weight: float
    """Its attention weight if the model pools by attention, else its integrated gradient of the predicted logit."""


def load(
    source: Source | None = None,
    *,
    model: str = LATEST,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    threads: int | None = None,
) -> "Model":
    """Opens a model for scoring in this process.

    Args:
        source: the folder of a lake or a bundle, or the ID of a model in the default lake; None for the default lake:
            the environment's `PIPELINE_LAKE`, else `./data_lake`.
        model: the ID of a model in the lake, or `LATEST` or `LIVE`, the live one.
        device: `cpu`, `cuda`, or `auto`: CUDA if available.
        precision: `fp32`, `bf16`, or `auto`: fp32, so that a text's score does not depend on its batch.
        batch_size: size of a batch, in reviews of 200 tokens.
        threads: number of batches computed in parallel; by default, the number of cores available to torch.

    Raises:
        InputNotFoundError: the model does not exist.
        DataError: the bundle is damaged, or written by a newer release.
        UsageError: an option is invalid.
    """
    for name, value in (("batch_size", batch_size), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value}: expected 1 or more.")
    bundle = _bundle(source, model)
    return Model(bundle, Predictor(bundle, device, batch_size, precision, threads))


class Model:
    """A trained model, ready to score. Create it with `load`. A context manager; safe to share between threads.

    While it is open, torch's CPU kernels in this process use one thread each, because several texts are scored in
    parallel; `close` restores torch's threads. It can be pickled: the copy opens the same bundle.
    """

    def __init__(self, bundle: Bundle, predictor: Predictor) -> None:
        self._bundle = bundle
        self._predictor = predictor
        self._vocabulary = bundle.load_vocabulary()
        self._closed = False

    @property
    def model_id(self) -> str:
        """The model's ID."""
        return self._bundle.model_id

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the column order of `predict_proba`; none if the model predicts numbers."""
        return self._bundle.labels

    def predict(self, texts: Iterable[str | None], *, abstain_below: float | None = None) -> list[Prediction]:
        """Scores texts; returns one `Prediction` per text, in order.

        Args:
            abstain_below: withholds predictions with a lower probability, so that a person can decide.
        """
        self._check_abstain(abstain_below)
        found = []
        for scored in self._scored(_batches_of_texts(texts), "text"):
            found += self._predictions(scored, abstain_below)
        return found

    def predict_proba(self, texts: Iterable[str | None]) -> npt.NDArray[np.float32]:
        """Returns the probability of each label, float32 (N, C); columns as in `labels`, rows sum to 1.

        Texts that cannot be scored, because none of their words are in the vocabulary, give a row of NaN.

        Raises:
            UsageError: the model predicts numbers; `predict_values` returns them.
        """
        if not self.labels:
            raise UsageError(f"{self.model_id} predicts numbers, which have no probability. Use predict_values.")
        parts = [scored.probability_NC for scored in self._scored(_batches_of_texts(texts), "text")]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *parts])

    def predict_values(self, texts: Iterable[str | None]) -> npt.NDArray[np.float32]:
        """Returns the number that a regression model predicts for each text, float32 (N,); NaN for texts not scored.

        Raises:
            UsageError: the model predicts labels.
        """
        if self.labels:
            raise UsageError(f"{self.model_id} predicts labels, not numbers. Use predict or predict_proba.")
        parts = [scored.probability_NC[:, 0] for scored in self._scored(_batches_of_texts(texts), "text")]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def predict_table(
        self,
        data: Any,
        text_column: str = "text",
        *,
        keep: Sequence[str] | None = None,
        abstain_below: float | None = None,
    ) -> Any:
        """Adds the columns of `pipeline score` to a table: `prediction`, `probability`, `probability_<label>` for each
        label, `model_id`, `unscored_reason`; of a model that predicts numbers, `predicted_value` and the last two. Rows
        keep their order, the other columns their values.

        Args:
            data: a `pyarrow.Table`, `RecordBatch` or `RecordBatchReader`, or any object that exports an Arrow stream, such
                as a pandas or Polars DataFrame or a DuckDB relation.
            text_column: the column with the texts.
            keep: the columns to keep; None for all.
            abstain_below: withholds predictions with a lower probability.

        Returns:
            a `pyarrow.RecordBatchReader` if `data` is one: rows are read and scored lazily, in bounded memory. Else a
            `pyarrow.Table`.

        Raises:
            TypeError: `data` does not export an Arrow stream.
            DataError: the text column is missing, or does not contain strings.
            UsageError: a column of `keep` is missing, or the table already has a column of the prediction.
        """
        self._check_abstain(abstain_below)
        reader = _reader(data)
        _check_text(reader.schema, text_column)
        kept = _kept(reader.schema, keep)
        added = prediction_schema(self.labels)
        if clash := [name for name in added.names if name in kept.names]:
            raise UsageError(
                f"the table already has the columns {', '.join(clash)}. Exclude them with keep=[…], or rename them."
            )
        schema = pa.schema([*kept, *added], kept.metadata)
        batches = self._scored_batches(reader, text_column, kept, schema, abstain_below)
        if isinstance(data, pa.RecordBatchReader):
            return pa.RecordBatchReader.from_batches(schema, batches)
        return pa.Table.from_batches(batches, schema)

    def explain(self, text: str) -> list[TokenWeight]:
        """Returns the tokens that contribute most to the prediction, strongest first; none if the text is not scored."""
        self._check_open()
        (batch,) = _batches_of_texts([text])
        ids, _ = encode_texts(self._vocabulary, batch.column("text"))
        probability_NC = self._predictor.predict(ids)
        (found,) = explanations(self._predictor, self._vocabulary, ids, probability_NC).to_pylist()
        return [TokenWeight(**weight) for weight in found or []]

    def close(self) -> None:
        """Stops the scoring threads and restores torch's. The model cannot be used afterwards."""
        self._closed = True
        self._predictor.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        labels = printable(", ".join(self._predictor.task.outputs))
        return f"<pipeline.Model {self.model_id} ({self._bundle.arch}: {labels}) on {self._predictor.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        options = self._predictor
        return _reopened, (str(self._bundle.folder.resolve()), options.device.type, options.precision, options.batch_size)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the model is closed. Open it again with pipeline.load.")

    def _scored(self, batches: Iterable[Any], text_column: str) -> "Iterator[_Scored]":
        """Scores record batches in windows; threads tokenize ahead, and the window after is scored meanwhile."""

        self._check_open()

        def encode(batch: Any) -> tuple[Any, Any, Reasons]:
            return batch, *encode_texts(self._vocabulary, batch.column(text_column))

        workers = max(1, min(4, (os.cpu_count() or 1) // 2))
        before: tuple[_Window, Any] | None = None
        with ParallelMap(IterableWrapper(batches), encode, workers) as encoded:
            for window in _windows(encoded):
                pending = self._predictor.submit(window.ids)
                if before is not None:
                    yield _Scored(before[0].batches, before[1].result(), before[0].reason_N)
                before = window, pending
        if before is not None:
            yield _Scored(before[0].batches, before[1].result(), before[0].reason_N)

    def _scored_batches(
        self, reader: Any, text_column: str, kept: Any, schema: Any, abstain_below: float | None
    ) -> Iterator[Any]:
        for scored in self._scored(_cut(reader), text_column):
            reason_N = with_abstained(scored.probability_NC, scored.reason_N, abstain_below)
            columns = predicted_columns(scored.probability_NC, reason_N, self.labels, self.model_id)
            rows = pa.Table.from_batches([batch.select(kept.names) for batch in scored.batches], kept)
            yield from pa.Table.from_arrays([*rows.columns, *columns], schema=schema).to_batches()

    def _predictions(self, scored: "_Scored", abstain_below: float | None) -> list[Prediction]:
        if not self.labels:
            numbers = zip(scored.probability_NC[:, 0].tolist(), scored.reason_N.tolist(), strict=True)
            return [self._number(value, place) for value, place in numbers]
        reason_N = with_abstained(scored.probability_NC, scored.reason_N, abstain_below)
        best_N = best_labels(scored.probability_NC)
        found = []
        for probability_C, best, place in zip(
            scored.probability_NC.tolist(), best_N.tolist(), reason_N.tolist(), strict=True
        ):
            reason = REASONS[place]
            known = reason in (None, ABSTAINED)
            found.append(
                Prediction(
                    prediction=self.labels[best] if reason is None else None,
                    probability=probability_C[best] if reason is None else None,
                    probabilities=dict(zip(self.labels, probability_C, strict=True)) if known else None,
                    model_id=self.model_id,
                    unscored_reason=reason,
                    labels=self.labels,
                )
            )
        return found

    def _number(self, value: float, place: int) -> Prediction:
        return Prediction(
            prediction=None,
            probability=None,
            probabilities=None,
            model_id=self.model_id,
            unscored_reason=REASONS[place],
            value=value if REASONS[place] is None else None,
            is_number=True,
        )

    def _check_abstain(self, below: float | None) -> None:
        _check_share(below)
        check_abstain(self.model_id, self.labels, below)


def _reopened(folder: str, device: str, precision: str, batch_size: int) -> Model:
    return load(folder, device=device, precision=precision, batch_size=batch_size)


@dataclass(frozen=True, slots=True)
class _Window:
    batches: list[Any]
    ids: Any
    reason_N: Reasons


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows with their probabilities, NaN if not scored; see `predicted_columns`."""

    batches: list[Any]
    probability_NC: npt.NDArray[np.float32]
    reason_N: Reasons


def prediction_schema(labels: Sequence[str]) -> Any:
    """The columns that `predict_table` adds."""
    return pa.schema(prediction_fields(labels))


def _windows(encoded: Iterable[tuple[Any, Any, Reasons]]) -> Iterator[_Window]:
    """Gathers batches into windows of growing size, so that scoring starts early and sorting soon has many reviews."""
    size, rows = READ_ROWS, 0
    parts: list[tuple[Any, Any, Reasons]] = []
    for part in encoded:
        parts.append(part)
        rows += len(part[2])
        if rows >= size:
            yield _window(parts)
            parts, rows, size = [], 0, min(2 * size, WINDOW_ROWS)
    if parts:
        yield _window(parts)


def _window(parts: list[tuple[Any, Any, Reasons]]) -> _Window:
    batches, ids, reasons = zip(*parts, strict=True)
    return _Window(list(batches), pa.concat_arrays(ids), np.concatenate(reasons))


def _batches_of_texts(texts: Iterable[str | None]) -> Iterator[Any]:
    if isinstance(texts, str | bytes):
        raise TypeError(f"expected a list of texts, got one {type(texts).__name__}. Put it into a list: [text].")
    iterator = iter(texts)
    while part := list(itertools.islice(iterator, READ_ROWS)):
        try:
            column = _column(part)
        except UnicodeEncodeError:
            column = _column([_encodable(value) for value in part])
        yield pa.RecordBatch.from_arrays([column], names=["text"])


def _column(texts: Sequence[str | None]) -> Any:
    """The texts as an Arrow array; what pandas uses for missing values is null."""
    try:
        return pa.array(texts, pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        wrong = next((value for value in texts if not isinstance(value, str | None) and value == value), None)
        raise TypeError(f"expected texts or None, got {type(wrong).__name__} ({wrong!r:.80}).") from error


def _encodable(text: Any) -> Any:
    """None for a text with lone surrogates, which cannot be encoded as UTF-8; other values stay."""
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError:
            return None
    return text


def _reader(data: Any) -> Any:
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if isinstance(data, pa.Table):
        return data.to_reader(READ_ROWS)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    raise TypeError(
        "predict_table accepts pyarrow tables and readers, and objects that export an Arrow stream, such as pandas and "
        f"Polars DataFrames; got {type(data).__name__}."
    )


def _cut(reader: Iterable[Any]) -> Iterator[Any]:
    for batch in reader:
        for begin in range(0, len(batch), READ_ROWS):
            yield batch.slice(begin, READ_ROWS)


def _check_text(schema: Any, name: str) -> None:
    texts = [field.name for field in schema if is_text(_decoded(field.type))]
    if schema.names.count(name) != 1:
        found = f"has {schema.names.count(name)} columns" if name in schema.names else "has no column"
        raise DataError(
            f"the table {found} {name!r}. Columns of strings: {', '.join(texts) or 'none'}. Choose one with text_column=…."
        )
    kind = _decoded(schema.field(name).type)
    if not is_text(kind) and not pa.types.is_null(kind):
        raise DataError(f"the column {name!r} is {kind}, not strings. Columns of strings: {', '.join(texts) or 'none'}.")


def _decoded(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _kept(schema: Any, keep: Sequence[str] | None) -> Any:
    names = list(schema.names) if keep is None else list(keep)
    for name in names:
        if schema.names.count(name) != 1:
            raise UsageError(f"keep: the table has {schema.names.count(name)} columns {name!r}: {', '.join(schema.names)}.")
    return pa.schema([schema.field(name) for name in schema.names if name in names], schema.metadata)


def _check_share(abstain_below: float | None) -> None:
    if abstain_below is not None and not 0 <= abstain_below <= 1:
        raise UsageError(f"abstain_below={abstain_below}: expected a probability from 0 to 1.")


def _bundle(source: Source | None, model: str) -> Bundle:
    if source is None:
        return find_bundle(_opened(), model)
    if isinstance(source, str) and is_uri(source):
        return find_bundle(_opened(source), model)
    path = Path(source).expanduser()
    if (path / DESCRIPTION).is_file():
        if model not in LIVE:
            raise UsageError(f"{path} is a bundle, so model={model!r} cannot select another. Omit it, or pass the lake.")
        return read_bundle(path)
    if (path / "models").is_dir():
        return find_bundle(_opened(path), model)
    if not path.exists() and isinstance(source, str) and "/" not in source:
        lake = _opened()
        if (lake.models / source / DESCRIPTION).is_file():
            return find_bundle(lake, source)
        raise InputNotFoundError(
            f"{source}: no such folder, and no model with that ID in {lake.models}. Pass a lake, a bundle or a model ID."
        )
    raise InputNotFoundError(f"{path} contains neither models/ nor {DESCRIPTION}. Pass the folder of a lake or a bundle.")


def _opened(place: Source | None = None) -> Lake:
    lake = Lake.find(place)
    lake.open()
    return lake
