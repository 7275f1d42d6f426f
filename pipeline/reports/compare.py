"""Several models side by side, on the reviews that all of them have scored."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError, UsageError
from pipeline.lake.atomic import write_text
from pipeline.reports.data import ReportData, Scored, read_report_data
from pipeline.reports.history import Rival, own_line
from pipeline.reports.metrics import Measures, mcnemar
from pipeline.reports.page import NONE, SPLITS, environment, percent, plain
from pipeline.reports.score_plots import MOST_CURVES, precision_recall_plot, roc_plot
from pipeline.version import __version__


def write_comparison(folders: Sequence[Path], output: Path) -> Path:
    """Writes the page that compares the bundles in `folders`, the first with each of the others; gives its path.

    Raises:
        InputNotFoundError: no bundle.
        DataError: a bundle is damaged, has no scored reviews, or none in common with the others.
        UsageError: the models have different labels, or one is named twice.
        CannotWriteError: the page cannot be written.
    """
    models = [read_report_data(folder) for folder in folders]
    if len({model.model_id for model in models}) < len(models):
        raise UsageError(f"--compare {' '.join(model.model_id for model in models)}: pass each model only once.")
    for model in models[1:]:
        if model.labels != models[0].labels:
            raise UsageError(
                f"--compare: {models[0].model_id} has the labels {', '.join(models[0].labels)}, {model.model_id} has "
                f"{', '.join(model.labels)}. Only models with the same labels can be compared."
            )
    write_text(output, render_comparison(models))
    return output


def render_comparison(models: Sequence[ReportData]) -> str:
    """The whole page."""
    split, common = _common(models)
    first = common[0].measures
    lines = [own_line(model, scored) for model, scored in zip(models, common, strict=True)]
    lines = [
        replace(line, note=model.arch, test=mcnemar(first.right, scored.measures.right))
        for line, model, scored in zip(lines, models, common, strict=True)
    ]
    named = [(model.model_id, scored.measures) for model, scored in zip(models, common, strict=True)]
    of_reviews = f"the {first.rows:,} {SPLITS[split]} reviews that all of them scored"
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            version=__version__,
            rivals=lines,
            of_reviews=of_reviews,
            verdict=_verdict(lines, of_reviews),
            pairs=_pairs(named),
            pictures=_pictures(named),
            labels=models[0].labels,
            f1=[(name, [found["f1"] for found in measures.per_class().values()]) for name, measures in named],
            differences=_differences(models),
        )
    )


def _common(models: Sequence[ReportData]) -> tuple[str, list[Scored]]:
    """The split, and of each model the reviews of it that all have scored, in one order."""
    for split in ("test", "valid"):
        found = [model.scored(split) for model in models]
        scored = [one for one in found if one is not None]
        if len(scored) < len(models):
            continue
        shared = set.intersection(*(set(one.review_ids) for one in scored))
        if shared:
            return split, [_only(one, shared) for one in scored]
    without = [model.model_id for model in models if model.judged is None]
    if without:
        raise DataError(
            f"--compare: {', '.join(without)} has no scored reviews. Run 'pipeline report --model {without[0]}' in the lake "
            "where it was trained."
        )
    raise DataError("--compare: no held-out review was scored by all of these models. Train them on the same table.")


def _only(scored: Scored, shared: set[str]) -> Scored:
    rows = [row for row, review_id in enumerate(scored.review_ids) if review_id in shared]
    rows.sort(key=lambda row: scored.review_ids[row])
    place = np.array(rows)
    measures = scored.measures
    return Scored(
        split=scored.split,
        review_ids=[scored.review_ids[row] for row in rows],
        lengths=scored.lengths[place],
        measures=Measures(
            names=measures.names, labels_N=measures.labels_N[place], probability_NC=measures.probability_NC[place]
        ),
        all_rows=len(rows),
    )


def _verdict(lines: list[Rival], of_reviews: str) -> str:
    ranked = sorted(lines, key=lambda line: -(line.accuracy.value if line.accuracy else 0.0))
    best = ranked[0]
    assert best.accuracy is not None
    said = f"On {of_reviews}, {best.name} labels most correctly: {percent(best.accuracy.value)}."
    behind = [line for line in lines[1:] if line.test is not None and line.test.p_value >= 0.05]
    if len(lines) == 2:
        return said + (" The difference may be chance." if behind else " The difference is unlikely to be chance.")
    names = ", ".join(line.name for line in behind)
    return said + (f" Not distinguishable from {lines[0].name} on these reviews: {names}." if behind else "")


def _pairs(named: list[tuple[str, Measures]]) -> list[tuple[str, str, Rival]]:
    return [
        (first, second, Rival(name=second, accuracy=None, test=mcnemar(ours.right, theirs.right)))
        for (first, ours), (second, theirs) in itertools.combinations(named, 2)
    ]


def _pictures(named: list[tuple[str, Measures]]) -> list[tuple[str, str, str]]:
    names = named[0][1].names
    of = names[1] if len(names) == 2 else names[int(named[0][1].confusion.sum(axis=1).argmax())]
    areas = ", ".join(f"{name} {found.roc(names.index(of)).area:.3f}" for name, found in named)
    precisions = ", ".join(f"{name} {found.precision_recall(names.index(of)).area:.3f}" for name, found in named)
    few = f" The first {MOST_CURVES} models." if len(named) > MOST_CURVES else ""
    pictures = [
        (roc_plot(named), f"ROC curves of “{of}”, and the area under them.{few}", f"ROC curves; areas: {areas}."),
        (
            precision_recall_plot(named),
            f"Precision and recall of “{of}”, and the average precision.{few}",
            f"Precision-recall curves; average precisions: {precisions}.",
        ),
    ]
    return [(svg, caption, alt) for svg, caption, alt in pictures if svg]


def _differences(models: Sequence[ReportData]) -> list[tuple[str, list[str]]]:
    """Options and facts in which the models differ, flat."""
    flat = [_flat(model.description) for model in models]
    names = dict.fromkeys(name for facts in flat for name in facts)
    rows = [(name, [facts.get(name, NONE) for facts in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(description: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("model_config", "training"):
        for name, value in (description.get(part) or {}).items():
            nested = value.items() if isinstance(value, dict) else [("", value)]
            found |= {f"{name} {inner}".strip().replace("_", " "): plain(one) for inner, one in nested}
    facts = ("arch", "parameters", "tokenizer", "max_length", "table_version", "vocabulary")
    return {name.replace("_", " "): plain(description.get(name)) for name in facts} | found
