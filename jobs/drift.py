"""What `pipeline score` measures beside its predictions: unknown tokens, and drift from the model's test data."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.runtime import Run
from pipeline.config.score import ScoreConfig
from pipeline.config.shared import FEWEST_TOKENS
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.lake.shard_tokens import ShardTokens
from pipeline.progress import IN_FIGURES
from pipeline.status.words import listed_files

if TYPE_CHECKING:
    from pipeline.datapipes.score_window import Window
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.drift import Drift, Reference
    from pipeline.scoring.outputs import Probabilities

log = logging.getLogger(__name__)

LISTED = 100
"""As many files are listed in the receipt; the rest is counted."""


class Watch:
    """Counts scored reviews, window after window, and says what is unusual about them."""

    def __init__(self, config: ScoreConfig, bundle: "Bundle", reference: "Reference | None") -> None:
        from pipeline.scoring.drift import Observed

        self.config, self.bundle, self.reference = config, bundle, reference
        self.observed = None if reference is None else Observed(reference)
        self.rows = self.tokens = self.unknown = 0
        self.parts: list[_Part] = []

    @classmethod
    def of(cls, config: ScoreConfig, bundle: "Bundle") -> "Watch":
        """Nothing counted yet.

        Raises:
            UsageError: `--fail-on-drift`, and the model has no reference.
        """
        from pipeline.scoring.reference import read_reference

        reference = read_reference(bundle.folder)
        if config.fail_on_drift and reference is None:
            raise UsageError(f"--fail-on-drift: {'. '.join(_no_reference(bundle))}, or remove the option.")
        return cls(config, bundle, reference)

    def another(self) -> "Watch":
        """For a part of the reviews, with nothing counted yet; see `absorb`."""
        return Watch(self.config, self.bundle, self.reference)

    def absorb(self, part: "Watch", name: str) -> None:
        """Adds what was counted for the reviews of a file."""
        drift = part.compared()
        share = ShardTokens(part.tokens, part.unknown).unknown_share
        unknown = part.unknown if share is not None and share > self.config.unknown_warn else 0
        self.parts.append(_Part(name, unknown, () if drift is None else drift.over))
        self.rows += part.rows
        self.tokens += part.tokens
        self.unknown += part.unknown
        if self.observed is not None and part.observed is not None:
            self.observed.absorb(part.observed)

    def add(self, window: "Window", probability_NC: "Probabilities") -> None:
        """Counts these reviews. One whose tokens are all unknown counts, too."""
        from pipeline.scoring.drift import Reviews

        reviews = Reviews.counted(window.length_N, window.unknown_N, probability_NC)
        self.rows += len(reviews.length_N)
        self.tokens += int(reviews.length_N.sum())
        self.unknown += int(reviews.unknown_N.sum())
        if self.observed is not None:
            self.observed.add(reviews)

    def conclude(self) -> dict[str, Any]:
        """The metrics `unknown_share` and `drift`, and the files concerned; warns of what is past its limit."""
        share = ShardTokens(self.tokens, self.unknown).unknown_share
        metrics: dict[str, Any] = {"unknown_share": share}
        if share is not None and share > self.config.unknown_warn and self.tokens >= FEWEST_TOKENS:
            metrics["unknown_files"] = self._with_unknown()
            log.warning(
                "%s of the tokens are unknown to the model (--unknown-warn %s): %s. Ingest reviews like these with "
                "'pipeline ingest --rebuild-vocab', then train again.",
                f"{share:.1%}",
                f"{self.config.unknown_warn:.1%}",
                listed_files(metrics["unknown_files"]),
                extra=IN_FIGURES,
            )
        drift = self._drift(share)
        if drift["drifted"]:
            metrics["drift_files"] = self._drifted_files(drift["over"])
        return metrics | {"drift": drift}

    def _with_unknown(self) -> dict[str, Any]:
        """The files of whose tokens too many are unknown, the one with the most first."""
        found = [part for part in self.parts if part.unknown]
        return _listed([part.name for part in sorted(found, key=lambda part: -part.unknown)])

    def _drifted_files(self, over: Sequence[str]) -> dict[str, Any]:
        """The files that have drifted in the same way by themselves; if they have done so only together, all of them."""
        alone = [part.name for part in self.parts if set(part.over) & set(over)]
        return _listed(alone or [part.name for part in self.parts])

    def compared(self) -> "Drift | None":
        """What was counted, compared with the reference; None if there is none."""
        from pipeline.scoring.drift import compare

        if self.observed is None:
            return None
        return compare(self.observed, psi_limit=self.config.drift_warn, p_limit=self.config.drift_p_value)

    def _drift(self, share: float | None) -> dict[str, Any]:
        from pipeline.scoring.drift import Drift, moved

        drift = self.compared()
        if drift is None or self.observed is None:
            cause, remedy = _no_reference(self.bundle)
            log.info("drift was not measured: %s", f"{cause}. {remedy}" if self.bundle.labels else cause)
            unknown_share = {"now": share, "reference": None}
            reason = "no reference" if self.bundle.labels else "the model predicts numbers"
            return Drift(measured=False, reason=reason, rows=self.rows, unknown_share=unknown_share).to_dict()
        if drift.reason is not None:
            log.info("drift was not measured: %s", drift.reason)
        if drift.drifted:
            log.warning(
                "the reviews differ from those that %s was tested on: %s. Check the input. If more reviews like these will "
                "come, ingest and label some of them, and train again.",
                self.bundle.model_id,
                "; ".join(moved(self.observed, drift.over, self.bundle.labels)),
                extra=IN_FIGURES,
            )
        return drift.to_dict()


@dataclass(frozen=True, slots=True)
class _Part:
    """A file: its unknown tokens if they are past the limit, else 0, and the features that have drifted in it alone."""

    name: str
    unknown: int
    over: tuple[str, ...]


def _listed(names: Sequence[str]) -> dict[str, Any]:
    """Files as a metric lists them."""
    return {"total": len(names), "listed": list(names[:LISTED])}


def note_drift(this: Run, config: ScoreConfig, metrics: dict[str, Any]) -> None:
    """Adds what was measured; with `--fail-on-drift`, a run over drifted reviews does not end with 0 or 99."""
    this.metrics |= metrics
    this.failed_check = config.fail_on_drift and bool(metrics.get("drift", {}).get("drifted"))


def recorded_drift(config: ScoreConfig, lake: Lake, output: Path, model_id: str, rows: int) -> dict[str, Any] | None:
    """What the newest run measured that wrote `output` with this model, judged by today's limits; None where no record says.

    A warning says it again, because a run that ends with 65 must say why.

    Args:
        rows: rows of today's input. A run over other ones says nothing about these, as when a drifted file was taken away.
    """
    for path in sorted(lake.runs.glob("*-score-*.json"), reverse=True):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(path.read_bytes())
            outputs, drift = record["receipt"]["outputs"], record["receipt"]["metrics"]["drift"]
            if (outputs["predictions"], outputs["model"]) != (str(output), model_id) or record["outcome"] != "done":
                continue
            if record["receipt"]["written"] + record["receipt"]["known"] != rows:
                return None
            over = [
                name
                for name, psi in drift["psi"].items()
                if psi > config.drift_warn and drift["p_value"][name] < config.drift_p_value
            ]
            if over:
                text = "when %s was written, the reviews differed from the test data of %s: %s"
                log.warning(text, output, model_id, ", ".join(over), extra=IN_FIGURES)
            return {**drift, "over": over, "drifted": bool(over)}
    return None


def _no_reference(bundle: "Bundle") -> tuple[str, str]:
    """Why a model has no reference, and what gives one."""
    if not bundle.labels:
        return f"{bundle.model_id} predicts numbers, and drift is measured for models of labels only", "Use such a model"
    return f"{bundle.model_id} has no reference to compare reviews with", "Train again ('pipeline train --force')"
