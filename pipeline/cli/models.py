"""`pipeline models`: the lake's trained models, and the available architectures."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import listing
from pipeline.cli.app import LakeOption, app, lake_there
from pipeline.cli.complete import complete_model
from pipeline.cli.finish import print_json
from pipeline.cli.panels import PanelCommand
from pipeline.cli.summary import taught
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.lake.paths import Lake
    from pipeline.models.bundle import Bundle

log = logging.getLogger(__name__)

HEADS = ("model", "accuracy", "on", "table", "")
"""The last column says that a model is live, and since when."""
WORDS = 30_000
"""Vocabulary for which `--archs` counts parameters: the default of `pipeline ingest --max-vocab`."""


models = typer.Typer(rich_markup_mode=None)
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True)
def list_models(
    context: typer.Context,
    archs: Annotated[
        bool, typer.Option("--archs", help="List the architectures for --arch instead of trained models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON: a list of objects.")] = False,
    lake: LakeOption = None,
) -> None:
    """List the lake's trained models, or the architectures.

    A model that was not promoted is followed by the reason; 'pipeline models promote' makes it live all the same.

    Example: pipeline models --json

    Example: pipeline models show LATEST

    Example: pipeline models rollback
    """
    if context.invoked_subcommand is not None:
        return
    rows = _architectures() if archs else _models(lake_there(context, lake))
    if as_json:
        print_json(rows)
    elif archs:
        _print_architectures(rows)
    elif rows:
        head, *lines = listing.columns(HEADS, list(map(_row, rows)), ("accuracy", "table"))
        typer.echo(head)
        for row, line in zip(rows, lines, strict=True):
            typer.echo(line)
            if row["live_since"] is None and (decision := row["decision"]) is not None:
                for text in listing.wrapped(printable(_decided(decision)), "  "):
                    typer.echo(text)
    else:
        typer.echo("No models yet. Train one with 'pipeline train'.")


@models.command(cls=PanelCommand)
def show(
    context: typer.Context,
    model_id: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model ID, a unique prefix of it, or LATEST or LIVE for the live one.",
            autocompletion=complete_model,
        ),
    ] = "LATEST",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the bundle's model.json, since when it is live, and the decision about it.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Show one model: metrics, labels, training data, options, and whether it went live and why.

    Example: pipeline models show bilstm-20260131
    """
    from pipeline.models.bundle import DESCRIPTION, LIVE, model_ids, read_bundle

    where = lake_there(context, lake)
    known = sorted(model_ids(where))
    given = where.latest_model() if model_id in LIVE else model_id
    bundle = read_bundle(where.models / listing.find_id("model", given, known, "pipeline models"))
    if as_json:
        described = json.loads((bundle.folder / DESCRIPTION).read_bytes())
        print_json(described | _standing(where, [bundle.model_id], _latest(where))[bundle.model_id])
    else:
        listing.details(_details(bundle, where))


@models.command(cls=PanelCommand)
def promote(
    context: typer.Context,
    model_id: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model ID, or a unique prefix of it.", autocompletion=complete_model)
    ],
    lake: LakeOption = None,
) -> None:
    """Make a model the live one, which 'pipeline score' uses.

    Exit code 99 if it already is.

    Example: pipeline models promote bilstm-20260131
    """
    from pipeline.lake.live import PROMOTED
    from pipeline.models.bundle import model_ids

    where = lake_there(context, lake)
    known = sorted(model_ids(where))
    _go_live(where, listing.find_id("model", model_id, known, "pipeline models"), PROMOTED)


@models.command(cls=PanelCommand)
def rollback(context: typer.Context, lake: LakeOption = None) -> None:
    """Make the model live that was live before the current one.

    Run it again to go back further.

    Example: pipeline models rollback
    """
    from pipeline.errors import InputNotFoundError
    from pipeline.lake.live import ROLLED_BACK, before_live
    from pipeline.models.bundle import model_ids

    where = lake_there(context, lake)
    before = before_live(where, frozenset(model_ids(where)))
    if before is None:
        raise InputNotFoundError(
            f"no model in {where.models} was live before the current one. Choose one with 'pipeline models promote MODEL'; "
            "'pipeline models' lists them."
        )
    _go_live(where, before, ROLLED_BACK)


def _go_live(lake: "Lake", model_id: str, reason: str) -> None:
    """Points LATEST to an intact model, and says so."""
    from pipeline.errors import EXIT_NOTHING_NEW, PipelineError
    from pipeline.lake.live import make_live
    from pipeline.models.bundle import read_bundle, verify_bundle

    verify_bundle(read_bundle(lake.models / model_id))
    try:
        live = lake.latest_model()
    except PipelineError:
        live = ""
    if live == model_id:
        typer.echo(f"{model_id} is live already.")
        raise typer.Exit(EXIT_NOTHING_NEW)
    make_live(lake, model_id, reason)
    lake.push("models")
    typer.echo(f"{model_id} is live now" + (f", in place of {live}." if live else "."))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.4f}"
    if row["mae"] is not None:
        accuracy = f"MAE {row['mae']:.4g}"
    version = "-" if row["table_version"] is None else str(row["table_version"])
    live = "LATEST" if row["latest"] else ""
    if row["latest"] and row["live_since"]:
        live += f" {row['live_since'][:10]}"
    return (printable(row["model_id"]), accuracy, row["measured_on"] or "-", version, live)


def _models(lake: "Lake") -> list[dict[str, Any]]:
    """The facts about each bundle, oldest first; logs a warning for broken ones."""
    from pipeline.errors import PipelineError
    from pipeline.models.bundle import model_ids, read_bundle

    latest = _latest(lake)
    known = model_ids(lake)
    standing = _standing(lake, known, latest)
    rows = []
    for model_id in known:
        try:
            bundle = read_bundle(lake.models / model_id)
        except PipelineError as error:
            log.warning("skipped: %s", error)
            continue
        measured_on, figures = _headline(bundle.metrics)
        rows.append(
            {
                "model_id": model_id,
                "arch": bundle.arch,
                "task": bundle.task.get("name", "classification"),
                "accuracy": figures.get("accuracy"),
                "mae": figures.get("mae"),
                "measured_on": measured_on,
                "labels": list(bundle.labels),
                "table_version": bundle.table_version,
                "vocabulary": bundle.vocabulary,
                "created": bundle.created,
                "latest": model_id == latest,
                **standing[model_id],
            }
        )
    return sorted(rows, key=lambda row: (row["created"], row["model_id"]))


def _headline(metrics: Mapping[str, Any]) -> tuple[str | None, dict[str, float]]:
    """The part that a model's first figure is of, and that figure by its name."""
    for part in ("test", "valid"):
        figures = {name: metrics[f"{part}_{name}"] for name in ("accuracy", "mae") if f"{part}_{name}" in metrics}
        if figures:
            return part, figures
    return None, {}


def _latest(lake: "Lake") -> str | None:
    """The model that LATEST names; logs a warning if it is damaged."""
    from pipeline.errors import PipelineError

    if not lake.latest.exists():
        return None
    try:
        return lake.latest_model()
    except PipelineError as error:
        log.warning("%s", error)
        return None


def _standing(lake: "Lake", known: Sequence[str], latest: str | None) -> dict[str, dict[str, Any]]:
    """Of each model, since when it is or was last live (`live_since`, null if never), and the decision about it."""
    from dataclasses import asdict

    from pipeline.lake.decisions import decisions
    from pipeline.lake.live import history

    live = {entry.model_id: entry.since for entry in history(lake)}
    decided = {decision.model_id: asdict(decision) for decision in decisions(lake)}
    return {name: {"live": name == latest, "live_since": live.get(name), "decision": decided.get(name)} for name in known}


def _decided(decision: Mapping[str, Any]) -> str:
    from pipeline.lake.decisions import FIRST

    why = "" if decision["reason"] == FIRST else f" ({decision['reason']})"  # the message says it
    return f"{decision['decision']} on {decision['decided'][:10]}{why}: {decision['message']}"


def _architectures() -> list[dict[str, Any]]:
    from pipeline.models.registry import architectures, build_model

    rows = []
    for name in architectures():
        # The embedding is counted, not made: it would take a second to draw them all.
        model = build_model(name, {"vocab_size": 2, "num_classes": 2})
        per_word = getattr(model.config, "embedding_dim", 0)
        rows.append(
            {
                "arch": name,
                "year": model.year,
                "parameters": model.num_parameters() + WORDS * per_word,
                "parameters_without_words": model.num_parameters() - 2 * per_word,
                "summary": model.summary,
                "paper": model.paper,
                "defaults": {key: value for key, value in model.config.to_dict().items() if key not in _GIVEN},
            }
        )
    return sorted(rows, key=lambda row: (row["year"], row["arch"]))


_GIVEN = ("vocab_size", "num_classes")
_SAID = ("arch", "model", "vocabulary", "table_version")
"""Training options that other lines show."""


def _details(bundle: "Bundle", lake: "Lake") -> Iterator[tuple[str, object]]:
    from dataclasses import asdict

    from pipeline.lake.decisions import decision_of
    from pipeline.lake.live import history

    latest = lake.latest.exists() and lake.latest.read_text(encoding="utf-8", errors="replace").strip() == bundle.model_id
    yield "model", bundle.model_id + (" (LATEST)" if latest else "")
    live = [entry for entry in history(lake) if entry.model_id == bundle.model_id]
    yield "live", "; ".join(f"since {entry.since} ({entry.reason})" for entry in live[-1:]) if latest and live else None
    decision = decision_of(lake, bundle.model_id)
    yield "decision", None if decision is None else _decided(asdict(decision))
    yield "architecture", bundle.arch
    yield "created", bundle.created
    yield "labels", ", ".join(bundle.labels) or None
    yield "predicts", f"the numbers in {bundle.task['column']!r}" if bundle.task else None
    for part, words in (("test", "test"), ("valid", "validation")):
        if any(f"{part}_{name}" in bundle.metrics for name in ("accuracy", "mae")):
            yield f"{words}", _figures(bundle.metrics, part)
    baseline = bundle.metrics.get("baseline")
    if baseline is not None:
        _, figures = _headline(baseline)
        yield "baseline", "".join(f"{_WORDS[name]} {value:.4f} by {baseline['arch']}" for name, value in figures.items())
    if "teacher" in bundle.metrics:
        yield "teacher", taught(bundle.metrics["teacher"])
    yield "table", None if bundle.table_version is None else f"version {bundle.table_version}"
    yield "vocabulary", f"{bundle.vocabulary} ({bundle.tokenizer})"
    yield "options", listing.plain({name: value for name, value in bundle.model_config.items() if name not in _GIVEN})
    training = {name: value for name, value in bundle.training.items() if value not in (None, "") and name not in _SAID}
    yield "training", listing.plain(training)
    yield "size", f"{sum(path.stat().st_size for path in bundle.folder.iterdir()) / (1 << 20):,.1f} MiB"
    yield "folder", bundle.folder
    report = bundle.folder / "report.html"
    yield "page", report if report.exists() else None


_WORDS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "spearman": "Spearman",
    "loss": "loss",
    "ece": "calibration error",
}


def _figures(metrics: Mapping[str, Any], part: str) -> str:
    """The figures on one part in words."""
    found = [f"{words} {metrics[f'{part}_{name}']:.4f}" for name, words in _WORDS.items() if f"{part}_{name}" in metrics]
    rows = metrics.get(f"{part}_rows")
    return ", ".join(found) + (f" on {rows:,} reviews" if rows is not None else "")


def _print_architectures(rows: Sequence[dict[str, Any]]) -> None:
    """One architecture per line, with its paper below."""
    named = [(row["arch"], str(row["year"]), f"{row['parameters']:,}") for row in rows]
    head, *lines = listing.columns(("arch", "year", "parameters"), named, ("parameters",))
    indent = "  "
    typer.echo(head)
    for row, line in zip(rows, lines, strict=True):
        room = listing.width() - len(line) - len(indent)
        first, *rest = listing.wrapped(row["summary"], wide=room)
        typer.echo(f"{line}{indent}{first}")
        for text in (*rest, *listing.wrapped(row["paper"], wide=room)):
            typer.echo(" " * len(line) + indent + text)
    typer.echo(f"\nParameters are counted with default options, {WORDS:,} words and two classes.")
