"""Scores a few reviews given on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.datapipes.score_encode import encode_texts
from pipeline.printable import printable
from pipeline.scoring.explain import explanations
from pipeline.scoring.outputs import check_abstain, predicted_columns, prediction_fields, with_abstained
from pipeline.scoring.predictor import Predictor
from schemas.prediction import VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The prediction for a text and its probability, or a number; None if `unscored_reason` is set."""

    text: str
    columns: Mapping[str, Any]
    """The columns of `pipeline score`, by name."""
    explanation: tuple[tuple[str, float], ...] | None = None
    """The tokens that contribute most to the prediction and their weights, if requested."""

    @property
    def prediction(self) -> str | None:
        """The most probable label, if there is one."""
        found: str | None = self.columns.get("prediction")
        return found

    @property
    def probability(self) -> float | None:
        """The probability of the prediction."""
        found: float | None = self.columns.get("probability")
        return found

    @property
    def value(self) -> float | None:
        """The predicted number of a regression model."""
        found: float | None = self.columns.get(VALUE)
        return found

    @property
    def unscored_reason(self) -> str | None:
        """Why there is no prediction."""
        found: str | None = self.columns["unscored_reason"]
        return found

    def line(self) -> str:
        """Prediction, probability (or a number alone), text and explanation, separated by tabs; safe for a terminal."""
        text = printable(self.text)
        if self.unscored_reason is not None:
            nothing = "-" if VALUE in self.columns else "-\t-"
            return f"{nothing}\t{text}\t({self.unscored_reason})"
        if self.value is not None:
            line = f"{self.value:.4g}\t{text}"
        else:
            line = f"{printable(self.prediction or '')}\t{self.probability:.3f}\t{text}"
        if self.explanation is None:
            return line
        return line + "\t" + " ".join(f"{printable(token)} {weight:+.2f}" for token, weight in self.explanation)

    def to_dict(self) -> dict[str, Any]:
        """The text and the columns of `pipeline score`, for JSON; the explanation only if requested."""
        values = {"text": self.text, **self.columns}
        if self.explanation is None:
            return values
        return values | {"explanation": [{"token": token, "weight": weight} for token, weight in self.explanation]}


def answer(
    predictor: Predictor, texts: Sequence[str], abstain_below: float | None = None, *, explain: bool = False
) -> list[Answer]:
    """Scores texts, in order; with `explain`, adds the tokens that contribute most to each prediction."""
    labels = predictor.bundle.labels
    check_abstain(predictor.bundle.model_id, labels, abstain_below)
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]
    vocabulary = predictor.bundle.load_vocabulary()
    ids, reason_N = encode_texts(vocabulary, pa.array(raw, pa.binary()))
    probability_NC = predictor.predict(ids)
    reason_N = with_abstained(probability_NC, reason_N, abstain_below)
    added = predicted_columns(probability_NC, reason_N, labels, predictor.bundle.model_id)
    rows = pa.Table.from_arrays(added, schema=pa.schema(prediction_fields(labels))).to_pylist()
    tokens: list[tuple[tuple[str, float], ...] | None] = [None] * len(texts)
    if explain:
        found = explanations(predictor, vocabulary, ids, probability_NC).to_pylist()
        tokens = [tuple((part["token"], part["weight"]) for part in parts or ()) for parts in found]
    return [
        Answer(text=text, columns=columns, explanation=weights)
        for text, columns, weights in zip(texts, rows, tokens, strict=True)
    ]
