"""The report of a model of numbers as one HTML page that needs nothing from outside itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reports.data import ReportData, number_measures_of
from pipeline.reports.files import read_number_examples, read_numbers
from pipeline.reports.metrics import Estimate
from pipeline.reports.numbers import NumberMeasures
from pipeline.reports.page import SPLITS, environment
from pipeline.reports.plots import MUTED, NAMES, curve, lengths_histogram, new_figure, style, svg_of
from pipeline.reports.score_plots import COLOURS
from pipeline.version import __version__

MOST_POINTS = 2000
"""A scatter plot of more reviews shows as many of them, at equal distances."""
BINS = 8


def render_number_page(data: ReportData, folder: Path) -> str:
    """The whole page, given what else the bundle's folder holds."""
    table = read_numbers(folder)
    split, judged = _judged(table)
    examples = read_number_examples(folder)
    return (
        environment()
        .get_template("number_report.html.j2")
        .render(
            data=data,
            version=__version__,
            column=str(data.description["task"]["column"]),
            created=data.description.get("created") or "",
            verdict=_verdict(data, judged, split) if judged else "",
            figures=_figures(judged) if judged else [],
            rows=judged.rows if judged else 0,
            of_split=SPLITS.get(split, ""),
            pictures=[_scatter(judged), _errors(judged)] if judged else [],
            examples=[] if examples is None else examples.to_pylist(),
            names=NAMES,
            loss=curve(data, "loss"),
            mae=curve(data, "mae"),
            lengths=lengths_histogram(data),
        )
    )


def _judged(table: pa.Table | None) -> tuple[str, NumberMeasures | None]:
    """The reviews that the figures are of: the test part, else the validation part."""
    for split in ("test", "valid"):
        rows = None if table is None else table.filter(pc.equal(table["split"], split))
        if rows is not None and len(rows):
            return split, number_measures_of(rows)
    return "", None


def _verdict(data: ReportData, judged: NumberMeasures, split: str) -> str:
    """What the model is worth, in a few sentences."""
    found = judged.points
    sentences = [
        f"On {found.rows:,} {SPLITS[split]} reviews the model is off by {found.mae:.4g} on average; always predicting the "
        f"median would be off by {found.constant_mae:.4g}."
    ]
    if judged.mae.high >= found.constant_mae:
        sentences.append("That is no better than guessing: do not score with it.")
    baseline = data.description["metrics"].get("baseline") or {}
    if f"{split}_mae" in baseline:
        sentences.append(f"A linear model of n-grams ({baseline['arch']}) is off by {baseline[f'{split}_mae']:.4g}.")
    if split == "valid":
        sentences.append("The epoch was chosen on these reviews, so expect a little less on new ones.")
    return " ".join(sentences)


def _figures(judged: NumberMeasures) -> list[dict[str, str]]:
    def figure(name: str, found: Estimate) -> dict[str, str]:
        return {"name": name, "value": f"{found.value:.4g}", "note": f"{found.low:.4g} to {found.high:.4g}"}

    return [
        figure("Mean absolute error", judged.mae),
        figure("Root mean squared error", judged.rmse),
        figure("Spearman", judged.spearman),
    ]


def _scatter(judged: NumberMeasures) -> tuple[str, str, str]:
    """Targets and predictions: picture, caption, alternative text."""
    step = max(1, -(-judged.rows // MOST_POINTS))
    target_N, predicted_N = judged.target_N[::step], judged.predicted_N[::step]
    low, high = (float(bound) for bound in (judged.target_N.min(), judged.target_N.max()))
    with style("scatter"):
        figure, axes = new_figure()
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.scatter(target_N, predicted_N, s=5, alpha=0.25, color=COLOURS[0], linewidths=0)
        axes.set_xlabel("target")
        axes.set_ylabel("predicted")
        picture = svg_of(figure, "scatter")
    caption = "Predictions by target; on the dotted line, they are right."
    return picture, caption, f"Scatter plot. {caption} Spearman's rank correlation is {judged.points.spearman:.3f}."


def _errors(judged: NumberMeasures) -> tuple[str, str, str]:
    """The mean prediction and its spread by target."""
    edges = np.unique(np.quantile(judged.target_N, np.linspace(0, 1, BINS + 1), method="closest_observation"))
    place_N = np.clip(np.searchsorted(edges, judged.target_N, side="left") - 1, 0, max(len(edges) - 2, 0))
    groups = [(judged.target_N[place_N == place], judged.predicted_N[place_N == place]) for place in np.unique(place_N)]
    rows: list[tuple[float, Any]] = [
        (float(targets.mean()), np.quantile(predicted, (0.25, 0.5, 0.75))) for targets, predicted in groups
    ]
    with style("by-target"):
        figure, axes = new_figure()
        x = [mean for mean, _ in rows]
        axes.plot(x, x, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.vlines(x, [q[0] for _, q in rows], [q[2] for _, q in rows], color=COLOURS[0], linewidth=1.2)
        axes.plot(x, [q[1] for _, q in rows], color=COLOURS[0], marker="o", markersize=4.5)
        axes.set_xlabel("mean target of a group of reviews")
        axes.set_ylabel("predicted")
        picture = svg_of(figure, "by-target")
    caption = "Median and middle half of the predictions, in groups of reviews with similar targets."
    return picture, caption, f"Line plot. {caption}"
