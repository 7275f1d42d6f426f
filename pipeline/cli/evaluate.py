"""`pipeline evaluate`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of
from pipeline.cli.options import DeviceOption, PrecisionOption, TokensOption, VocabularyOption


@app.command()
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="A model's id, a bundle's folder, or LATEST.")] = "LATEST",
    split: Annotated[str, typer.Option(help="test, valid or train.")] = "test",
    tokens: TokensOption = None,
    vocabulary: VocabularyOption = None,
    table_version: Annotated[
        int | None,
        typer.Option(show_default=False, help="Version of the table.  [default: the one the model was trained on]"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Reviews in a batch.")] = 128,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    workers: Annotated[int, typer.Option(help="Threads that read and decode; 0 for none.")] = 2,
    lake: LakeOption = None,
) -> None:
    """Evaluate a model on a labelled split: loss, accuracy, confusion matrix, figures of each class.

    The figures stand in the receipt, under "metrics". The validation part is the one that training held out.

    Example: pipeline evaluate --model LATEST --split valid
    """
    from jobs import evaluate as job

    config = job.EvaluateConfig(
        lake=lake_of(context, lake),
        model=model,
        split=split,
        tokens=tokens,
        vocabulary=vocabulary,
        table_version=table_version,
        batch_size=batch_size,
        device=device,
        precision=precision,
        workers=workers,
    )
    finish(job.run(config))
