"""The report as one HTML page that needs nothing from outside itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from pipeline.reports.data import ReportData, Scored
from pipeline.reports.examples import Shown, shown_examples
from pipeline.reports.history import Rival, rivals
from pipeline.reports.metrics import Estimate, accuracy_by_length
from pipeline.reports.plots import NAMES, curve, lengths_histogram
from pipeline.reports.score_plots import length_plot, precision_recall_plot, reliability_plot, roc_plot
from pipeline.version import __version__
from schemas.report import RIGHT, UNSURE, WRONG

Facts = list[tuple[str, str]]
NONE = "–"
DATA_FIELDS: tuple[str, ...] = ("tokenizer", "max_length", "table_version", "vocabulary", "weights_sha256")
SHOWN_PULLS = 15
SPLITS = {"test": "test", "valid": "validation"}
KINDS = {
    WRONG: "Surest mistakes",
    RIGHT: "Surest of each label",
    UNSURE: "Undecided",
}


def environment() -> jinja2.Environment:
    """Templates with this package's filters; every value is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(fixed=fixed, percent=percent, whole=whole, interval=interval, p_value=p_value)
    return made


def render_page(data: ReportData, *, models: Path | None = None, added: tuple[str, pa.Table] | None = None) -> str:
    """The whole page.

    Args:
        models: the folder with the lake's bundles, for the comparison; None leaves it at the baselines.
        added: more examples, with what they are from.
    """
    judged = data.judged
    shown = [] if data.examples is None else shown_examples(data.examples)
    compared = rivals(data, models)
    best = data.best
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            version=__version__,
            arch=data.arch,
            created=data.description.get("created") or "",
            verdict=_verdict(judged) if judged else "",
            figures=_worth(judged) if judged else _training_figures(data),
            rivals=compared,
            judged=judged,
            of_split=SPLITS[judged.split] if judged else "",
            classes=judged.measures.per_class() if judged else {},
            score_pictures=_score_pictures(judged) if judged else [],
            pulls=_pulls(data),
            example_groups=_grouped(shown),
            added_name=added[0] if added else "",
            added_groups=_grouped(shown_examples(added[1])) if added else [],
            balance=_balance(data),
            names=NAMES,
            rate=_rate,
            best_note=f" The dotted line is epoch {best['epoch']}, whose weights were kept." if best else "",
            loss=curve(data, "loss"),
            loss_alt=_curve_alt(data, "loss"),
            accuracy=curve(data, "accuracy"),
            accuracy_alt=_curve_alt(data, "accuracy"),
            lengths=lengths_histogram(data),
            lengths_note=_lengths_note(data),
            lengths_alt=f"Histogram of review lengths. {_lengths_note(data)}",
            configurations=_configurations(data),
        )
    )


def _verdict(judged: Scored) -> str:
    """What the model is worth, in a few sentences."""
    found = judged.measures
    label, share = found.majority
    right = found.accuracy
    reviews = f"{found.rows:,} {SPLITS[judged.split]} reviews"
    if judged.all_rows > found.rows:
        reviews += f", a sample of {judged.all_rows:,},"
    sentences = [
        f"Of {reviews} the model labels {percent(right.value)} correctly; calling each of them “{label}” would be right for "
        f"{percent(share)}."
    ]
    if right.low <= share:
        sentences.append("That is no better than guessing: do not score with it.")
    gap = float(found.probability_NC.max(axis=1).mean()) - right.value
    way = ", mostly too high" if gap > 0.01 else ", mostly too low" if gap < -0.01 else ""
    sentences.append(f"Its probabilities are off by {points(found.ece)} on average{way}.")
    if judged.split == "valid":
        sentences.append("The epoch was chosen on these reviews, so expect a little less on new ones.")
    return " ".join(sentences)


def _worth(judged: Scored) -> list[dict[str, str]]:
    """The figures that decide."""
    found = judged.measures
    figures = [
        _figure("Accuracy", percent(found.accuracy.value), interval(found.accuracy)),
        _figure("Macro F1", percent(found.macro_f1.value), interval(found.macro_f1)),
    ]
    if found.auc:
        figures.append(_figure("Area under ROC", fixed(found.auc.value, 3), interval(found.auc, 3)))
    return [*figures, _figure("Calibration error", percent(found.ece), "0 is best")]


def _training_figures(data: ReportData) -> list[dict[str, str]]:
    """The figures of a bundle whose held-out reviews nobody has scored."""
    figures = []
    if test := data.phase("test"):
        figures.append(_figure("Test accuracy", percent(test[-1]["accuracy"]), f"loss {fixed(test[-1]['loss'], 3)}"))
    if data.best is not None:
        figures.append(_figure("Validation accuracy", percent(data.best["accuracy"]), f"epoch {data.best['epoch']}, kept"))
    elif train := data.phase("train"):
        figures.append(_figure("Training accuracy", percent(train[-1]["accuracy"]), "nothing was held out"))
    return figures


def _figure(name: str, value: str, note: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _score_pictures(judged: Scored) -> list[tuple[str, str, str]]:
    """Picture, caption and text for who cannot see it."""
    found = judged.measures
    binary = len(found.names) == 2
    per_class = {name: figures for name, figures in found.per_class().items() if figures["auc"] is not None}
    shown = {found.names[1]: per_class.get(found.names[1])} if binary else per_class
    areas = ", ".join(f"{name} {figures['auc']:.3f}" for name, figures in shown.items() if figures)
    precisions = ", ".join(f"{name} {figures['average_precision']:.3f}" for name, figures in shown.items() if figures)
    against = f"of “{found.names[1]}”" if binary else "of a class against the rest"
    bins = "; ".join(
        f"{percent(confidence)} said, {percent(accuracy)} right ({rows:,})"
        for confidence, accuracy, rows in zip(*(part.tolist() for part in _bins(judged)), strict=True)
    )
    lengths = "; ".join(
        f"{low:,} to {high:,} tokens {percent(share.value)}"
        for low, high, share, _ in accuracy_by_length(judged.lengths, found.right)
    )
    pictures = [
        (roc_plot([("", found)]), f"ROC curve {against}, and the area under it.", f"ROC curve; area under it: {areas}."),
        (
            precision_recall_plot([("", found)]),
            f"Precision and recall {against}, and the average precision.",
            f"Precision-recall curve; average precision: {precisions}.",
        ),
        (
            reliability_plot(found),
            "How often a prediction of a given probability is right. Below the dotted line the model is too sure. Bars: "
            "where the reviews are.",
            f"Reliability diagram: {bins}.",
        ),
        (
            length_plot(judged),
            "Accuracy by length; each point stands for about the same number of reviews.",
            f"Accuracy by length: {lengths}.",
        ),
    ]
    return [(svg, caption, alt) for svg, caption, alt in pictures if svg]


def _bins(judged: Scored) -> tuple[Any, Any, Any]:
    bins = judged.measures.reliability
    return bins.confidence, bins.accuracy, bins.rows


def _pulls(data: ReportData) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each label its strongest tokens; `share` is that of the strongest of all."""
    rows = [] if data.token_weights is None else data.token_weights.to_pylist()
    largest = max((row["weight"] for row in rows), default=0.0)
    found = []
    for label in data.labels:
        mine = [row for row in rows if row["label"] == label][:SHOWN_PULLS]
        if mine:
            found.append(
                (label, [{**row, "share": row["weight"] / largest} for row in sorted(mine, key=lambda row: -row["weight"])])
            )
    return found


def _grouped(shown: list[Shown]) -> list[tuple[str, list[Shown]]]:
    groups = [(title, [example for example in shown if example.kind == kind]) for kind, title in KINDS.items()]
    return [(title, examples) for title, examples in groups if examples]


def _balance(data: ReportData) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """For each split the labels with their reviews and their share."""
    return [
        (NAMES[split], [(label, rows, rows / sum(counts)) for label, rows in zip(data.labels, counts, strict=False)])
        for split, counts in data.label_rows.items()
    ]


def _configurations(data: ReportData) -> list[tuple[str, Facts]]:
    described = data.description
    rest = {name: described[name] for name in DATA_FIELDS if name in described}
    seconds = sum(row["seconds"] or 0.0 for row in data.metrics)
    size = {"parameters": whole(described["parameters"])} if described.get("parameters") else {}
    size |= _temperature(described.get("blend"))
    return [
        ("Model", _facts({"arch": described.get("arch")} | size | dict(described.get("model_config") or {}))),
        ("Training", _facts({"time": _duration(seconds)} | dict(described.get("training") or {}))),
        ("Labels", [(f"id {number}", label) for number, label in enumerate(data.labels)]),
        ("Data", _facts(rest)),
        ("Vocabulary", _vocabulary_facts(data)),
        *_teacher(described.get("metrics") or {}),
        ("Metrics", _facts({name: value for name, value in (described.get("metrics") or {}).items() if name != "teacher"})),
    ]


def _teacher(metrics: Mapping[str, Any]) -> list[tuple[str, Facts]]:
    """Who labelled reviews for the training, and how well."""
    teacher = metrics.get("teacher")
    if not isinstance(teacher, dict):
        return []
    shown = {"model_id": "model", "labelled_rows": "labelled reviews", "unlabelled_rows": "unlabelled reviews"}
    shown |= {"weight": "share in the targets of labelled reviews", "valid_accuracy": "accuracy on validation reviews"}
    shown |= {"same_validation": "validated on the same reviews"}
    return [("Teacher", _facts({shown.get(str(name), str(name)): value for name, value in teacher.items()}))]


def _temperature(blend: Any) -> dict[str, Any]:
    """What the logits are divided by, of a model whose scale was fitted."""
    scale = blend.get("scale") if isinstance(blend, dict) else None
    return {"temperature": 1 / scale} if isinstance(scale, float) and scale > 0 else {}


def _facts(values: Mapping[str, Any]) -> Facts:
    return [(name.replace("_", " "), plain(value)) for name, value in values.items()]


def plain(value: Any) -> str:
    """A value of a configuration as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _vocabulary_facts(data: ReportData) -> Facts:
    vocabulary = data.vocabulary
    counted = int(np.sum(vocabulary.counts.to_numpy(zero_copy_only=False)))
    facts = {"tokens known": whole(len(vocabulary)), "occurrences": whole(counted), "tokenizer": vocabulary.tokenizer}
    return [*facts.items(), *_facts(vocabulary.options), ("fingerprint", vocabulary.fingerprint)]


def _lengths_note(data: ReportData) -> str:
    if data.lengths is None or data.lengths.num_rows == 0:
        return ""
    lengths, counts = data.lengths["length"].to_numpy(), data.lengths["count"].to_numpy()
    order = np.argsort(lengths)
    median = lengths[order][np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)]
    note = f"{counts.sum():,} reviews; half of them have at most {median:,} tokens, the longest {lengths.max():,}."
    limit = int(data.description.get("max_length") or 0)
    if limit and (longer := counts[lengths > limit].sum()):
        note += f" The model reads the first {limit:,} tokens: {longer / counts.sum():.1%} of the reviews are cut."
    return note


def _curve_alt(data: ReportData, measure: str) -> str:
    parts = []
    for phase in ("train", "valid", "test"):
        values = [row[measure] for row in data.phase(phase) if row[measure] is not None]
        if values:
            shown = percent if measure == "accuracy" else lambda value: fixed(value, 3)
            way = f"from {shown(values[0])} to {shown(values[-1])}" if len(values) > 1 else shown(values[0])
            parts.append(f"{NAMES[phase]} {way}")
    return f"Chart of {measure} by epoch: {', '.join(parts)}."


def _rate(row: Mapping[str, Any]) -> str:
    return whole(row["tokens"] / row["seconds"]) if row["seconds"] and row["tokens"] else NONE


def fixed(value: float | None, digits: int) -> str:
    """A number with this many decimal places."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal place."""
    return NONE if value is None else f"{value:.1%}"


def points(value: float) -> str:
    """A difference between shares."""
    return f"{100 * value:.1f} percentage points"


def whole(value: float | None) -> str:
    """A number without decimal places, thousands separated."""
    return NONE if value is None else f"{value:,.0f}"


def interval(estimate: Estimate | None, digits: int | None = None) -> str:
    """The bounds of a 95% interval, as percentages or with this many decimal places."""
    if estimate is None:
        return ""
    low, high = (percent(bound) if digits is None else fixed(bound, digits) for bound in (estimate.low, estimate.high))
    return f"{low} to {high}"


def p_value(rival: Rival) -> str:
    """The p value of the comparison with the first model, as text."""
    if rival.test is None:
        return NONE
    return "< 0.001" if rival.test.p_value < 0.001 else f"{rival.test.p_value:.3f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"
