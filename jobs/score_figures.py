"""What a run of `pipeline score` counts for its receipt."""

from typing import TYPE_CHECKING, Any

from pipeline.lake.reject_writer import RejectCounts
from pipeline.readers.base import FileFault

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.datapipes.score_window import Window
    from pipeline.engines.score import Scoring
    from pipeline.scoring.outputs import Probabilities, Reasons


class Figures:
    """Counts of scored rows, of one output or, after `absorb`, of several.

    `written` is counted by the writer, `rows` by the reader; `faults` are unreadable files of one review each.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        from pipeline.scoring.outputs import REASONS

        self.labels = labels
        self.predicted = dict.fromkeys(labels, 0)
        self.numbers = 0
        self.sum = 0.0
        self.least, self.greatest = float("inf"), float("-inf")
        self.unscored = {reason: 0 for reason in REASONS if reason is not None}
        self.rows = self.tokens = self.written = 0
        self.rejects = RejectCounts()
        self.faults: list[FileFault] = []

    def add(self, window: "Window", probability_NC: "Probabilities", reason_N: "Reasons") -> None:
        """Counts the rows of a window."""
        import numpy as np

        from pipeline.tasks.columns import best_labels

        self.rows += len(window)
        self.tokens += int(window.length_N.sum())
        self.rejects.count(window.bad)
        self.faults += window.faults
        for reason, count in zip(self.unscored, np.bincount(reason_N, minlength=len(self.unscored) + 1)[1:], strict=True):
            self.unscored[reason] += int(count)
        if not self.labels:
            self._add_numbers(probability_NC[reason_N == 0, 0])
            return
        counts = np.bincount(best_labels(probability_NC[reason_N == 0]), minlength=len(self.labels))
        for label, count in zip(self.labels, counts.tolist(), strict=True):
            self.predicted[label] += count

    def _add_numbers(self, predicted_N: "npt.NDArray[np.float32]") -> None:
        if len(predicted_N):
            self.numbers += len(predicted_N)
            self.sum += float(predicted_N.sum(dtype=float))
            self.least = min(self.least, float(predicted_N.min()))
            self.greatest = max(self.greatest, float(predicted_N.max()))

    def absorb(self, other: "Figures") -> None:
        """Adds the counts of another output."""
        self.rows += other.rows
        self.tokens += other.tokens
        self.written += other.written
        self.rejects.absorb(other.rejects)
        self.faults += other.faults
        self.numbers += other.numbers
        self.sum += other.sum
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        for label, count in other.predicted.items():
            self.predicted[label] += count
        for reason, count in other.unscored.items():
            self.unscored[reason] += count

    def _predicted(self) -> dict[str, Any]:
        """How often each label was predicted; of numbers, their mean and range."""
        if self.labels:
            return {"predicted": self.predicted}
        mean = self.sum / self.numbers if self.numbers else None
        bounds = (self.least, self.greatest) if self.numbers else (None, None)
        return {"predicted_value": {"mean": mean, "least": bounds[0], "greatest": bounds[1]}}

    def summary(self, scoring: "Scoring") -> dict[str, Any]:
        """The metrics of the receipt."""
        return {
            "unscored": self.unscored,
            "tokens": self.tokens,
            **self._predicted(),
            "device": scoring.device_type,
            "precision": scoring.precision,
            "threads": scoring.threads,
            **self.rejects.metrics,
        }
