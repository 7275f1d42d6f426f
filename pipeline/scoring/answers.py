"""A few reviews scored at once, for a person who asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.datapipes.score_encode import encode_texts
from pipeline.printable import printable
from pipeline.scoring.outputs import predicted_columns, with_abstained
from pipeline.scoring.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The prediction for a text and its probability, both None where `unscored_reason` says why."""

    text: str
    prediction: str | None
    probability: float | None
    unscored_reason: str | None

    def line(self) -> str:
        """Prediction, probability and text with tabs between them, safe for a terminal."""
        if self.prediction is None or self.probability is None:
            return f"-\t-\t{printable(self.text)}\t({self.unscored_reason})"
        return f"{printable(self.prediction)}\t{self.probability:.3f}\t{printable(self.text)}"


def answer(predictor: Predictor, texts: Sequence[str], abstain_below: float | None = None) -> list[Answer]:
    """Scores texts, in their order."""
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]
    ids, reason_N = encode_texts(predictor.bundle.load_vocabulary(), pa.array(raw, pa.binary()))
    probability_NC = predictor.predict(ids)
    reason_N = with_abstained(probability_NC, reason_N, abstain_below)
    columns = predicted_columns(probability_NC, reason_N, predictor.bundle.labels, predictor.bundle.model_id)
    values = zip(texts, columns[0].to_pylist(), columns[1].to_pylist(), columns[-1].to_pylist(), strict=True)
    return [
        Answer(text=text, prediction=prediction, probability=probability, unscored_reason=reason)
        for text, prediction, probability, reason in values
    ]
