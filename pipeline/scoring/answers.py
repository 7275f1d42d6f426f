"""A few reviews scored at once, for a person who asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.datapipes.score_encode import encode_texts
from pipeline.printable import printable
from pipeline.scoring.explain import explanations
from pipeline.scoring.outputs import predicted_columns, with_abstained
from pipeline.scoring.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The prediction for a text and its probability, both None where `unscored_reason` says why."""

    text: str
    prediction: str | None
    probability: float | None
    unscored_reason: str | None
    explanation: tuple[tuple[str, float], ...] | None = None
    """The tokens that weigh most for the prediction and their weights, where they were asked for."""

    def line(self) -> str:
        """Prediction, probability and text with tabs between them, safe for a terminal; then the tokens that weigh most."""
        if self.prediction is None or self.probability is None:
            return f"-\t-\t{printable(self.text)}\t({self.unscored_reason})"
        line = f"{printable(self.prediction)}\t{self.probability:.3f}\t{printable(self.text)}"
        if self.explanation is None:
            return line
        return line + "\t" + " ".join(f"{printable(token)} {weight:+.2f}" for token, weight in self.explanation)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON; the explanation only where it was asked for."""
        values = {name: getattr(self, name) for name in ("text", "prediction", "probability", "unscored_reason")}
        if self.explanation is None:
            return values
        return values | {"explanation": [{"token": token, "weight": weight} for token, weight in self.explanation]}


def answer(
    predictor: Predictor, texts: Sequence[str], abstain_below: float | None = None, *, explain: bool = False
) -> list[Answer]:
    """Scores texts, in their order, and says which tokens weigh most."""
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]
    vocabulary = predictor.bundle.load_vocabulary()
    ids, reason_N = encode_texts(vocabulary, pa.array(raw, pa.binary()))
    probability_NC = predictor.predict(ids)
    reason_N = with_abstained(probability_NC, reason_N, abstain_below)
    columns = predicted_columns(probability_NC, reason_N, predictor.bundle.labels, predictor.bundle.model_id)
    tokens: list[tuple[tuple[str, float], ...] | None] = [None] * len(texts)
    if explain:
        found = explanations(predictor, vocabulary, ids, probability_NC).to_pylist()
        tokens = [tuple((part["token"], part["weight"]) for part in parts or ()) for parts in found]
    values = zip(texts, columns[0].to_pylist(), columns[1].to_pylist(), columns[-1].to_pylist(), tokens, strict=True)
    return [
        Answer(text=text, prediction=prediction, probability=probability, unscored_reason=reason, explanation=weights)
        for text, prediction, probability, reason, weights in values
    ]
