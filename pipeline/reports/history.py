"""What a model is compared with: the majority class, a baseline, the lake's earlier models; McNemar's test for pairs."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.lake.atomic import PREFIX
from pipeline.reports.data import ReportData, Scored, read_description, read_report_data
from pipeline.reports.metrics import Estimate, Measures, PairedTest, mcnemar, wilson

log = logging.getLogger(__name__)

MOST_EARLIER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A line of the comparison. `test` is McNemar's, on the `test.rows` reviews that both have scored."""

    name: str
    note: str = ""
    accuracy: Estimate | None
    macro_f1: float | None = None
    auc: float | None = None
    ece: float | None = None
    test: PairedTest | None = None


def own_line(data: ReportData, judged: Scored) -> Rival:
    """The model itself."""
    found = judged.measures
    return Rival(
        name=data.model_id,
        note="this model",
        accuracy=found.accuracy,
        macro_f1=found.macro_f1.value,
        auc=found.auc.value if found.auc else None,
        ece=found.ece,
    )


def rivals(data: ReportData, models: Path | None) -> list[Rival]:
    """The model first, then what it has to beat: the lake's earlier models, the baseline, the majority class.

    Args:
        models: the folder with the lake's bundles; None for a bundle outside a lake.
    """
    judged = data.judged
    if judged is None:
        return []
    found = [own_line(data, judged)]
    for other in earlier_models(data, models) if models else []:
        theirs = other.scored(judged.split)
        if theirs is not None:
            test = paired(judged, theirs)
            note = other.arch if test else f"{other.arch}, other reviews"
            found.append(replace(own_line(other, theirs), note=note, test=test))
    return [*found, *_baseline(data, judged), _majority(judged)]


def earlier_models(data: ReportData, models: Path) -> list[ReportData]:
    """The newest of the lake's models with the same labels that were made before this one, newest first."""
    created = str(data.description.get("created") or "")
    candidates = []
    for path in models.glob("*/model.json"):
        name = path.parent.name
        if name.startswith(PREFIX) or name == data.model_id:
            continue
        try:
            described = read_description(path)
        except ValueError as error:
            log.warning("%s is left out of the comparison: %s", name, error)
            continue
        made = str(described.get("created") or "")
        if described.get("labels") == data.labels and made < created:
            candidates.append((made, name))
    found: list[ReportData] = []
    for _, name in sorted(candidates, reverse=True):
        if len(found) == MOST_EARLIER:
            break
        try:
            found.append(read_report_data(models / name))
        except ValueError as error:
            log.warning("%s is left out of the comparison: %s", name, error)
    return found


def paired(first: Scored, second: Scored) -> PairedTest | None:
    """McNemar's test on the reviews that both have scored; None without any."""
    place = {review_id: row for row, review_id in enumerate(second.review_ids)}
    pairs = [(row, place[review_id]) for row, review_id in enumerate(first.review_ids) if review_id in place]
    if not pairs:
        return None
    ours, theirs = np.array(pairs).T
    same = first.measures.labels_N[ours] == second.measures.labels_N[theirs]
    return mcnemar(first.measures.right[ours[same]], second.measures.right[theirs[same]])


def _majority(judged: Scored) -> Rival:
    """What calls every review by the most frequent label."""
    measures = judged.measures
    label, _ = measures.majority
    always_N = np.full(measures.rows, measures.names.index(label))
    certain = Measures(
        names=measures.names, labels_N=measures.labels_N, probability_NC=np.eye(len(measures.names))[always_N]
    )
    return Rival(
        name="majority class",
        note=f"always “{label}”",
        accuracy=certain.accuracy,
        macro_f1=certain.macro_f1.value,
        auc=0.5,
        test=mcnemar(measures.right, certain.right),
    )


def _baseline(data: ReportData, judged: Scored) -> list[Rival]:
    """The linear baseline that training measured, where it did."""
    measured = (data.description.get("metrics") or {}).get("baseline")
    accuracy = measured.get(f"{judged.split}_accuracy") if isinstance(measured, dict) else None
    if not isinstance(measured, dict) or not isinstance(accuracy, float):
        return []
    estimate = wilson(round(accuracy * judged.all_rows), judged.all_rows)
    f1 = measured.get(f"{judged.split}_macro_f1")
    return [Rival(name="linear baseline", note=str(measured.get("arch") or ""), accuracy=estimate, macro_f1=f1)]
