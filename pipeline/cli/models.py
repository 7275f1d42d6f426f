"""`pipeline models`: the trained models of the lake, and the architectures there are."""

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import LakeOption, app, lake_of
from pipeline.printable import printable, printable_json

if TYPE_CHECKING:
    from pipeline.lake.paths import Lake

log = logging.getLogger(__name__)

WORDS = 30_000
"""Vocabulary for which `--archs` counts parameters: the default of `pipeline ingest --max-vocab`."""


@app.command()
def models(
    context: typer.Context,
    archs: Annotated[
        bool, typer.Option("--archs", help="The architectures that --arch takes, not the trained models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON: a list of objects.")] = False,
    lake: LakeOption = None,
) -> None:
    """List the trained models of the lake, or the architectures.

    Example: pipeline models --json
    """
    rows = _architectures() if archs else _models(lake_of(context, lake))
    if as_json:
        typer.echo(printable_json(json.dumps(rows, ensure_ascii=False)))
    elif archs:
        counted = [{**row, "parameters": f"{row['parameters']:,}"} for row in rows]
        _print(counted, ("arch", "year", "parameters", "summary", "paper"))
        typer.echo(f"\nParameters with the defaults, {WORDS:,} words and two classes.")
    elif rows:
        _print([{**row, "": "LATEST" if row["latest"] else ""} for row in rows], (*_COLUMNS, ""))
    else:
        typer.echo("No models yet. Train one with 'pipeline train'.")


_COLUMNS = ("model_id", "arch", "accuracy", "measured_on", "table_version", "created")


def _models(lake: "Lake") -> list[dict[str, Any]]:
    """What there is to say of each bundle, oldest first; a broken one is a warning."""
    from pipeline.errors import PipelineError
    from pipeline.models.bundle import model_ids, read_bundle

    latest = None
    if lake.latest.exists():
        try:
            latest = lake.latest_model()
        except PipelineError as error:
            log.warning("%s", error)
    rows = []
    for model_id in model_ids(lake):
        try:
            bundle = read_bundle(lake.models / model_id)
        except PipelineError as error:
            log.warning("left out: %s", error)
            continue
        measured_on = next((part for part in ("test", "valid") if f"{part}_accuracy" in bundle.metrics), None)
        rows.append(
            {
                "model_id": model_id,
                "arch": bundle.arch,
                "accuracy": bundle.metrics[f"{measured_on}_accuracy"] if measured_on else None,
                "measured_on": measured_on,
                "labels": list(bundle.labels),
                "table_version": bundle.table_version,
                "vocabulary": bundle.vocabulary,
                "created": bundle.created,
                "latest": model_id == latest,
            }
        )
    return sorted(rows, key=lambda row: (row["created"], row["model_id"]))


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


def _print(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Columns side by side, numbers to the right."""
    cells = [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[place]) for line in cells)) for place, column in enumerate(columns)]
    numeric = [all(_is_number(line[place]) for line in cells) for place in range(len(columns))]
    for line in ([column.replace("_", " ") for column in columns], *cells):
        parts = zip(line, widths, numeric, strict=True)
        typer.echo("  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in parts).rstrip())


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").isdigit()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
