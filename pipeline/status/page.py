"""The morning page: one HTML file that needs nothing from outside itself.

Templates escape every value. The style is that of the models' reports.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from pipeline.printable import printable, utf8_name
from pipeline.status.figures import pictures
from pipeline.status.links import Link, link
from pipeline.status.model_rows import REPORT, KnownModels, model_rows
from pipeline.status.night_rows import night_row
from pipeline.status.night_rules import unknown_limit
from pipeline.status.nights import STEPS, Night, nights
from pipeline.status.records import figure, inside, when
from pipeline.status.status import Status, typed
from pipeline.status.words import FEATURES, NONE, bytes_of, drift, largest_psi, share, took
from pipeline.version import __version__

MOST_NIGHTS = 60
COMPARISON = "comparison.html"


def render_page(status: Status) -> str:
    """The whole page."""
    shown = nights(status.records, MOST_NIGHTS)
    models = KnownModels(status, shown)
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
    lake = utf8_name(status.lake.place)
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
        nights=[night_row(status, night, models) for night in shown],
        most_nights=MOST_NIGHTS,
        pictures=pictures(shown, unknown_limit(status.facts.newest("ingest"), status.limits), _drift_limit(status)),
        models=model_rows(status, models),
        table=_table_facts(status),
        disk=_disk(status),
        links=_links(status),
        version=__version__,
    )


def _drift_limit(status: Status) -> float | None:
    """The index past which the last run of score calls it drift, as its record says."""
    return figure(inside(status.facts.newest("score"), "config").get("drift_warn"))


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
        score = live.model.score
        what = "right" if score is None or score.metric == "accuracy" else "mean absolute error"
        note = f"{what} on {live.model.measured_on} reviews" if live.model.measured_on else "not measured"
        figures.append(_figure("Live model", NONE if score is None else str(score), note))
    if status.unknown_share is not None:
        figures.append(_figure("Unknown tokens", share(status.unknown_share), "of the last ingest"))
    if status.drift:
        psi = largest_psi(status.drift)
        note = f"largest index {psi[1]:.3f}, of {FEATURES.get(psi[0], psi[0])}" if psi else drift(status.drift)
        drifted = "yes" if status.drift.get("drifted") is True else "no"
        figures.append(_figure("Drift", drifted if status.drift.get("measured") is True else NONE, note))
    return figures


def _figure(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": printable(note)}


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
