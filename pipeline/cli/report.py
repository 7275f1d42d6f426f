"""`pipeline report`: a model's page."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def report(
    context: typer.Context,
    model: Annotated[str, typer.Option(metavar="MODEL", help="LATEST, a model's id, or the path of a bundle.")] = "LATEST",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.  [default: report.html in the bundle]", show_default=False)
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
    """Write a model's report: one HTML page with curves, review lengths, frequent tokens, examples, configuration.

    Example: pipeline report --predictions data_lake/predictions/new.parquet --output /tmp/report.html
    """
    from jobs import report as job

    config = job.ReportConfig(
        lake=lake_of(context, lake).root,
        model=model,
        output=output,
        predictions=predictions,
        text_column=text_column,
        label_column=label_column,
    )
    finish(job.run(config))
