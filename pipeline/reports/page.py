"""The report as one HTML page that needs nothing from outside itself."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np

from pipeline import __version__
from pipeline.reports.data import ReportData
from pipeline.reports.examples import Shown, shown_examples
from pipeline.reports.plots import NAMES, curve, lengths_histogram, token_bars

Facts = list[tuple[str, str]]
NONE = "–"
DATA_FIELDS: tuple[str, ...] = ("tokenizer", "max_length", "table_version", "vocabulary", "weights_sha256")


def render_page(data: ReportData) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(fixed=_fixed, percent=_percent, whole=_whole)
    description = data.description
    shown = [] if data.examples is None else shown_examples(data.examples, data.labels)
    best = data.best
    return environment.get_template("report.html.j2").render(
        data=data,
        version=__version__,
        arch=description.get("arch", "model"),
        created=description.get("created") or "",
        figures=_figures(data),
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
        tokens=token_bars(data),
        tokens_alt="Bar chart: " + ", ".join(f"{token} {count:,}" for token, count in data.top_tokens()),
        vocabulary_facts=_vocabulary_facts(data),
        examples=shown,
        examples_right=_examples_right(shown),
        configurations=_configurations(data),
    )


def _figures(data: ReportData) -> list[dict[str, str]]:
    """The few figures that a reader wants first."""
    figures = []
    if test := data.phase("test"):
        figures.append(_figure("Test accuracy", _percent(test[-1]["accuracy"]), f"loss {_fixed(test[-1]['loss'], 3)}"))
    if data.best is not None:
        figures.append(_figure("Validation accuracy", _percent(data.best["accuracy"]), f"epoch {data.best['epoch']}, kept"))
    elif train := data.phase("train"):
        figures.append(_figure("Training accuracy", _percent(train[-1]["accuracy"]), "nothing was held out"))
    if parameters := data.description.get("parameters"):
        figures.append(_figure("Parameters", _whole(parameters)))
    figures.append(_figure("Vocabulary", _whole(len(data.vocabulary)), data.vocabulary.tokenizer))
    train = data.phase("train")
    if seconds := sum(row["seconds"] or 0.0 for row in data.metrics):
        tokens = sum(row["tokens"] or 0 for row in train)
        figures.append(_figure("Time", _duration(seconds), f"{_whole(tokens)} tokens trained on"))
    return figures


def _figure(name: str, value: str, note: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _configurations(data: ReportData) -> list[tuple[str, Facts]]:
    described = data.description
    rest = {name: described[name] for name in DATA_FIELDS if name in described}
    return [
        ("Model", _facts({"arch": described.get("arch")} | dict(described.get("model_config") or {}))),
        ("Training", _facts(described.get("training") or {})),
        ("Labels", [(f"id {number}", label) for number, label in enumerate(data.labels)]),
        ("Data", _facts(rest)),
        ("Metrics", _facts(described.get("metrics") or {})),
    ]


def _facts(values: Mapping[str, Any]) -> Facts:
    return [(name.replace("_", " "), _plain(value)) for name, value in values.items()]


def _plain(value: Any) -> str:
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
    facts = {"tokens known": _whole(len(vocabulary)), "occurrences": _whole(counted), "tokenizer": vocabulary.tokenizer}
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
            shown = _percent if measure == "accuracy" else lambda value: _fixed(value, 3)
            way = f"from {shown(values[0])} to {shown(values[-1])}" if len(values) > 1 else shown(values[0])
            parts.append(f"{NAMES[phase]} {way}")
    return f"Chart of {measure} by epoch: {', '.join(parts)}."


def _examples_right(shown: list[Shown]) -> str:
    known = [example for example in shown if example.right is not None]
    if not known:
        return ""
    right = sum(bool(example.right) for example in known)
    return f"{right} of these {len(known)} are right; they were picked, so it is no measure."


def _rate(row: Mapping[str, Any]) -> str:
    return _whole(row["tokens"] / row["seconds"]) if row["seconds"] and row["tokens"] else NONE


def _fixed(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"
