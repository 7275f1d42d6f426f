"""`pipeline report`: a model's page."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of
from pipeline.errors import UsageError


@app.command()
def report(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL...]", help="With --compare: the models.", show_default=False)
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the models named, side by side, instead of reporting on one.")
    ] = False,
    model: Annotated[str, typer.Option(metavar="MODEL", help="LATEST, a model's id, or the path of a bundle.")] = "LATEST",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The page.  [default: report.html in the bundle, or models/comparison.html in the lake]",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A scored file to take the examples from.  [default: the bundle's own]", show_default=False
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="That file's column with the text.")] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="That file's column with the true label.  [default: none]", show_default=False)
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Write a model's page: what it is worth, its mistakes, the tokens that decide, examples, configuration.

    Or compare models on the reviews that all of them have scored.

    Example: pipeline report --predictions data_lake/predictions/new.parquet --output /tmp/report.html

    Example: pipeline report --compare LATEST bilstm-20260131T040000Z-1a2b3c
    """
    from jobs import report as job

    config = job.ReportConfig(
        lake=lake_of(context, lake).root,
        model=model,
        compare=_compared(models or [], compare),
        output=output,
        predictions=predictions,
        text_column=text_column,
        label_column=label_column,
    )
    finish(job.run(config))


def _compared(models: list[str], compare: bool) -> tuple[str, ...]:
    if not compare and models:
        raise UsageError(f"{' '.join(models)}: name one model with --model {models[0]}, or several with --compare.")
    if compare and len(models) < 2:
        raise UsageError("--compare needs two models or more, such as: pipeline report --compare LATEST MODEL")
    return tuple(models)
