"""The morning page: one HTML file that needs nothing from outside itself.

Templates escape every value. The style is that of the models' reports.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from pipeline.printable import printable, utf8_name
from pipeline.status.chart import Line, line_chart
from pipeline.status.links import Link, link
from pipeline.status.models import (
    NOT_PROMOTED,
    PROMOTED,
    Decision,
    Model,
    decisions,
    describe,
    live_at,
    measured,
    newest_models,
)
from pipeline.status.nights import STEPS, Night, Step, nights
from pipeline.status.records import figure, inside, moment, texts, went_well, when
from pipeline.status.status import Status, typed
from pipeline.status.words import NONE, bytes_of, drift, largest_psi, share, took
from pipeline.version import __version__

MOST_NIGHTS = 60
MOST_MODELS = 12
MOST_LINKS = 3
"""So many files of a kind are linked for a night; the others are counted."""
REPORT = "report.html"
COMPARISON = "comparison.html"
UNKNOWN_LINES = (
    ("new reviews", "train", "", "unknown_share", ("ingest",)),
    ("scored reviews", "valid", "7 4", "unknown_share", ("score",)),
    ("whole table", "test", "2 4", "unknown_share_table", ("ingest",)),
)
DRIFT_LINES = (
    ("length", "train", ""),
    ("unknown", "valid", "7 4"),
    ("prediction", "test", "2 4"),
    ("confidence", "unsup", "10 4 2 4"),
)


@dataclass(frozen=True, kw_only=True)
class NightRow:
    """A night as the table shows it."""

    name: str
    record: Link
    well: bool
    ended: str
    read: str
    written: str
    rejected: str
    reasons: str
    skipped: str
    scored: str
    unknown: str
    drift: str
    drifted: bool
    times: list[tuple[str, str]]
    model: str
    accuracy: str
    files: list[Link]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model as the table shows it. `tag`: live, not promoted, was live, or ""."""

    name: Link
    tag: str
    date: str
    why: str
    accuracy: str
    compared: str


@dataclass
class _Models:
    """Descriptions of models, each read once; of deleted ones, what their training has left in the nights."""

    status: Status
    nights: Sequence[Night]
    known: dict[str, Model] = field(default_factory=dict)

    def __getitem__(self, model_id: str) -> Model:
        if model_id not in self.known:
            found = describe(self.status.lake, model_id)
            self.known[model_id] = self._remembered(model_id) if found.fault else found
        return self.known[model_id]

    def _remembered(self, model_id: str) -> Model:
        for night in self.nights:
            for step in night.steps:
                if step.command == "train" and step.outputs.get("model_id") == model_id:
                    accuracy, measured_on, rows = measured(step.metrics)
                    return Model(model_id=model_id, accuracy=accuracy, measured_on=measured_on, rows=rows)
        return Model(model_id=model_id)


def render_page(status: Status) -> str:
    """The whole page."""
    shown = nights(status.records, MOST_NIGHTS)
    models = _Models(status, shown)
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("pipeline", "status"), jinja2.PackageLoader("pipeline", "reports")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    head, _, rest = status.verdict.partition(": ")
    lake = utf8_name(str(status.lake.root))
    return made.get_template("page.html.j2").render(
        lake=printable(lake),
        lake_name=printable(utf8_name(status.lake.root.name)),
        well=not status.found,
        head=head,
        rest=printable(rest[:1].upper() + rest[1:]),
        attention=[(printable(finding.message), printable(typed(finding.command, lake))) for finding in status.found],
        figures=_figures(status, shown),
        checked=when(status.facts.now.isoformat()),
        checked_at=status.facts.now.isoformat(),
        max_age=status.limits.max_age,
        refresh=printable(f"pipeline --lake {shlex.quote(lake)} status --page"),
        nights=[_night_row(status, night, models) for night in shown],
        most_nights=MOST_NIGHTS,
        unknown=_unknown_chart(shown, status.limits.max_unknown),
        unknown_alt=_alt("Share of unknown tokens", _unknown_lines(shown), share),
        drift=_drift_chart(shown),
        drift_alt=_alt("Population stability index", _drift_lines(shown), "{:.3f}".format),
        models=_model_rows(status, models),
        table=_table_facts(status),
        disk=_disk(status),
        links=_links(status),
        version=__version__,
    )


def _figures(status: Status, shown: Sequence[Night]) -> list[dict[str, str]]:
    """The figures at the top."""
    figures = []
    if shown:
        night = shown[0]
        scored, written = night.sum("written", "score"), night.sum("written", "ingest")
        seconds = sum(step.seconds for step in night.steps)
        figures += [
            _figure("Reviews scored", NONE if scored is None else f"{scored:,}", when(night.started)),
            _figure("New reviews", NONE if written is None else f"{written:,}", f"the night took {took(seconds)}"),
        ]
    live = status.facts.live
    if live is not None and live.model.model_id:
        note = f"on {live.model.measured_on} reviews" if live.model.measured_on else "not measured"
        figures.append(_figure("Accuracy of the live model", share(live.model.accuracy), note))
    if status.unknown_share is not None:
        figures.append(_figure("Unknown tokens", share(status.unknown_share), "of the last ingest"))
    if status.drift:
        psi = largest_psi(status.drift)
        note = f"largest index {psi[1]:.3f}, of {psi[0]}" if psi else drift(status.drift)
        figures.append(_figure("Drift", "yes" if status.drift.get("drifted") is True else "no", note))
    return figures


def _figure(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": printable(note)}


def _night_row(status: Status, night: Night, models: _Models) -> NightRow:
    ingest, score = night.last("ingest"), night.last("score")
    found = inside(score.metrics if score else {}, "drift")
    psi = largest_psi(found)
    model = live_at(status.facts.changes, night.finished) or (str(score.outputs.get("model") or "") if score else "")
    accuracy = models[model].accuracy if model else None
    reasons = _reasons(night.steps)
    return NightRow(
        name=f"{found_at:%Y-%m-%d %H:%M}" if (found_at := moment(night.started)) else printable(night.started),
        record=link(status.lake, f"runs/{night.run_id}.json") if night.run_id else Link(name=""),
        well=went_well(night.exit_code),
        ended=_ended(night),
        read=_counted(night.sum("read", "ingest")),
        written=_counted(night.sum("written", "ingest")),
        rejected=_counted(night.sum("rejected", "ingest", "score")),
        reasons=printable(", ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number)),
        skipped=_counted(night.sum("quarantined", "ingest", "score")),
        scored=_counted(night.sum("written", "score")),
        unknown=share(figure(ingest.metrics.get("unknown_share")) if ingest else None),
        drift=f"{psi[1]:.3f}" if psi else NONE,
        drifted=found.get("drifted") is True,
        times=_times(night.steps),
        model=printable(model),
        accuracy=share(accuracy) if accuracy is not None else "",
        files=_files(status, night),
    )


def _ended(night: Night) -> str:
    """The exit code of a night, with the command that it came from where it failed."""
    failed = next((step for step in night.steps if step.exit_code == night.exit_code), None)
    if went_well(night.exit_code) or failed is None:
        return str(night.exit_code)
    return f"{night.exit_code} {printable(failed.command)}"


def _reasons(steps: Sequence[Step]) -> dict[str, int]:
    """Rejected rows by reason, over all steps, most first."""
    found: dict[str, int] = {}
    for step in steps:
        for reason, number in step.rejects.items():
            found[reason] = found.get(reason, 0) + number
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _times(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Commands and the time they took; several runs of a command together."""
    seconds: dict[str, float] = {}
    for step in steps:
        seconds[step.command] = seconds.get(step.command, 0.0) + step.seconds
    return [(printable(command), took(spent)) for command, spent in seconds.items() if command]


def _files(status: Status, night: Night) -> list[Link]:
    """The files of a night that are still there."""
    found = [link(status.lake, night.log, "log")] if night.log else []
    for step in night.steps:
        for name, shown in (("rejects", "rejects"), ("predictions", "")):
            paths = list(dict.fromkeys(texts(step.outputs.get(name))))
            links = [made for path in paths[:MOST_LINKS] if (made := link(status.lake, path, shown)).href]
            found += links
            if len(paths) > MOST_LINKS:
                found.append(Link(name=f"and {len(paths) - MOST_LINKS:,} more"))
        if step.command == "train" and (path := step.outputs.get("report")) and isinstance(path, str):
            found.append(link(status.lake, path, "report"))
    return [made for made in dict.fromkeys(found) if made.href or made.name.startswith("and ")]


def _counted(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def _unknown_lines(shown: Sequence[Night]) -> list[Line]:
    return [
        Line(
            name=name,
            colour=colour,
            dashes=dashes,
            points=[
                (at, value, f"{name}, {when(night.started)}: {share(value)}")
                for night in shown
                if (at := moment(night.started)) and (value := night.value(measure, *commands)) is not None
            ],
        )
        for name, colour, dashes, measure, commands in UNKNOWN_LINES
    ]


def _unknown_chart(shown: Sequence[Night], limit: float) -> str:
    lines = _unknown_lines(shown)
    largest = max((value for line in lines for _, value, _ in line.points), default=0.0)
    # A limit far above all values would press them to the ground.
    return line_chart(lines, lambda value: f"{100 * value:g}%", limit if limit < 4 * largest else None)


def _drift_lines(shown: Sequence[Night]) -> list[Line]:
    return [
        Line(name=name, colour=colour, dashes=dashes, points=[*_psi(shown, name)]) for name, colour, dashes in DRIFT_LINES
    ]


def _psi(shown: Sequence[Night], name: str) -> Any:
    for night in shown:
        score, at = night.last("score"), moment(night.started)
        found = inside(score.metrics if score else {}, "drift")
        value = figure(inside(found, "psi").get(name))
        if at and value is not None:
            mark = " (drifted)" if found.get("drifted") is True else ""
            yield at, max(value, 0.0), f"{name}, {when(night.started)}: {value:.3f}{mark}"


def _drift_chart(shown: Sequence[Night]) -> str:
    return line_chart(_drift_lines(shown), "{:g}".format)


def _alt(what: str, lines: Sequence[Line], text: Any) -> str:
    """A chart for who cannot see it."""
    parts = []
    for line in lines:
        values = [value for _, value, _ in sorted(line.points)]
        if len(values) == 1:
            parts.append(f"{line.name} {text(values[0])}")
        elif values:
            parts.append(f"{line.name} from {text(values[0])} to {text(values[-1])}, at most {text(max(values))}")
    return f"{what} by night: {'; '.join(parts)}."


def _model_rows(status: Status, models: _Models) -> list[ModelRow]:
    """The live model, then the newest others."""
    decided = {decision.model_id: decision for decision in decisions(status.lake)}
    live = status.facts.live.model.model_id if status.facts.live else ""
    newest = newest_models(status.lake, MOST_MODELS)
    names = dict.fromkeys([*([live] if live else []), *newest, *reversed(decided)])
    return [_model_row(status, models[name], decided.get(name), name == live) for name in list(names)[:MOST_MODELS]]


def _model_row(status: Status, model: Model, decision: Decision | None, live: bool) -> ModelRow:
    entries = [entry for entry in status.facts.changes if entry.model_id == model.model_id]
    refused = decision is not None and decision.decision == NOT_PROMOTED
    tag = "live" if live else "was live" if entries else "not promoted" if refused else ""
    since = entries[-1].since if entries else ""
    date = since or (decision.decided if decision else "") or model.created
    why = entries[-1].reason if entries else decision.reason if decision else ""
    if decision is not None and decision.message and (refused or why in ("", "trained", PROMOTED)):
        why = decision.message
    report = link(status.lake, f"models/{model.model_id}/{REPORT}", model.model_id)
    accuracy = f"{share(model.accuracy)} ({model.measured_on})" if model.accuracy is not None else NONE
    return ModelRow(
        name=report if report.href else Link(name=printable(model.model_id)),
        tag=tag,
        date=when(date) if date else NONE,
        why=printable(why),
        accuracy=accuracy,
        compared=_compared(decision) if decision else "",
    )


def _compared(decision: Decision) -> str:
    """How a challenger did against the live model on the same reviews."""
    if decision.challenger_accuracy is None:
        return ""
    against = "" if decision.live_accuracy is None else f" against {share(decision.live_accuracy)}"
    rows = f" on {decision.rows:,} reviews" if decision.rows else ""
    p_value = (
        "" if decision.p_value is None else f", p {'< 0.001' if decision.p_value < 0.001 else f'= {decision.p_value:.3f}'}"
    )
    return f"{share(decision.challenger_accuracy)}{against}{rows}{p_value}"


def _table_facts(status: Status) -> list[tuple[str, str]]:
    table = status.facts.table
    facts: list[tuple[str, str]] = []
    if table is not None and not table.fault:
        labelled = [] if table.labelled is None else [("labelled", f"{table.labelled:,}")]
        facts = [("version", str(table.version)), ("reviews", f"{table.rows:,}"), *labelled]
        facts += [("labels", printable(", ".join(table.labels)) or NONE)]
    if status.unknown_share_table is not None:
        facts.append(("unknown tokens", share(status.unknown_share_table)))
    for command in STEPS:
        run = status.facts.newest(command)
        if run is not None:
            facts.append((f"last {command}", f"{when(run['finished'])}, exit code {run['exit_code']}"))
    return facts


def _disk(status: Status) -> Mapping[str, Any]:
    disk = status.disk
    largest = max(disk.parts.values(), default=0)
    return {
        "used": bytes_of(disk.used),
        "free": bytes_of(disk.free),
        "total": bytes_of(disk.total),
        "parts": [
            (name, ("more than " if name in disk.partial else "") + bytes_of(size), size / largest)
            for name, size in disk.parts.items()
        ],
    }


def _links(status: Status) -> list[Link]:
    """Pages and files that belong to no night."""
    live = status.facts.live.model.model_id if status.facts.live else ""
    found = [link(status.lake, f"models/{live}/{REPORT}", "report of the live model")] if live else []
    found += [
        link(status.lake, f"models/{COMPARISON}", "comparison of models"),
        link(status.lake, "pipeline.toml", "settings (pipeline.toml)"),
    ]
    return [made for made in found if made.href]
