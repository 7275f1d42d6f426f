"""`pipeline sample`: a small synthetic corpus."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish_of, in_lake, lake_of
from pipeline.cli.finish import JsonOption
from pipeline.cli.numbers import FLOAT, INTEGER, any_number, whole_number
from pipeline.cli.panels import PanelCommand


@app.command(cls=PanelCommand)
def sample(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Folder for aclImdb/.  [default: the lake's raw/]", show_default=False),
    ] = None,
    reviews: Annotated[
        int, typer.Option(help="Number of labelled reviews in train/.", parser=whole_number, metavar=INTEGER)
    ] = 2000,
    test_reviews: Annotated[
        int,
        typer.Option(help="Number of labelled reviews in test/, about other films.", parser=whole_number, metavar=INTEGER),
    ] = 1000,
    unsup: Annotated[
        int, typer.Option(help="Number of unlabelled reviews in train/unsup/.", parser=whole_number, metavar=INTEGER)
    ] = 500,
    classes: Annotated[
        int,
        typer.Option(help="Number of classes: 2 (neg, pos), 3 (also neutral) or 5.", parser=whole_number, metavar=INTEGER),
    ] = 2,
    noise: Annotated[
        float, typer.Option(help="Share of reviews with a wrong label.", parser=any_number, metavar=FLOAT)
    ] = 0.02,
    seed: Annotated[
        int, typer.Option(help="Random seed; the same seed gives the same bytes.", parser=whole_number, metavar=INTEGER)
    ] = 0,
    score_input: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a Parquet file of raw reviews to score.  [default: none]")
    ] = None,
    score_reviews: Annotated[
        int, typer.Option(help="Number of reviews in that file.", parser=whole_number, metavar=INTEGER)
    ] = 500,
    as_json: JsonOption = False,
    lake: LakeOption = None,
) -> None:
    """Write a small synthetic corpus in aclImdb's layout.

    Writes made-up film reviews whose sentiment depends on word order. Exits with 99 if the same files are already there,
    and refuses a folder with other content.

    Example: pipeline sample /tmp/reviews --reviews 4000 --seed 7 --score-input /tmp/new.parquet
    """
    from jobs import sample as job
    from pipeline.options.check import check_path
    from pipeline.text.synthetic.corpus import Corpus

    corpus = Corpus(reviews=reviews, test_reviews=test_reviews, unsup=unsup, classes=classes, noise=noise, seed=seed)
    place = lake_of(context, lake)
    folder, score_input = in_lake(place, folder), in_lake(place, score_input)
    for label, path in (("FOLDER", folder), ("--score-input", score_input)):
        check_path(label, path or Path())
    config = job.SampleConfig(
        lake=place.root,
        folder=folder,
        corpus=corpus,
        score_input=score_input,
        score_reviews=score_reviews,
    )
    finish_of(context, lake, as_json)(job.run(config))
