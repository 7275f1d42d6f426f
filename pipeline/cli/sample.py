"""`pipeline sample`: a small synthetic corpus."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish_of, lake_of
from pipeline.cli.finish import JsonOption


@app.command()
def sample(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="Where aclImdb/ is put.  [default: the lake's raw/]", show_default=False)
    ] = None,
    reviews: Annotated[int, typer.Option(help="Labelled reviews in train/.")] = 2000,
    test_reviews: Annotated[int, typer.Option(help="Labelled reviews in test/, of other films.")] = 1000,
    unsup: Annotated[int, typer.Option(help="Reviews without a label, in train/unsup/.")] = 500,
    classes: Annotated[int, typer.Option(help="2 (neg, pos), 3 (and neutral) or 5 classes.")] = 2,
    noise: Annotated[float, typer.Option(help="Share of reviews whose label contradicts their text.")] = 0.02,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    score_input: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a Parquet file of raw reviews to score.  [default: none]")
    ] = None,
    score_reviews: Annotated[int, typer.Option(help="Reviews in that file.")] = 500,
    as_json: JsonOption = False,
    lake: LakeOption = None,
) -> None:
    """Write a small synthetic corpus in aclImdb's layout.

    Made-up film reviews whose verdict depends on word order.     What is there already, to the byte, is left alone (exit
    code 99); a folder that holds something else is refused.

    Example: pipeline sample /tmp/reviews --reviews 4000 --seed 7 --score-input /tmp/new.parquet
    """
    from jobs import sample as job
    from pipeline.text.synthetic.corpus import Corpus

    corpus = Corpus(reviews=reviews, test_reviews=test_reviews, unsup=unsup, classes=classes, noise=noise, seed=seed)
    config = job.SampleConfig(
        lake=lake_of(context, lake).root, folder=folder, corpus=corpus, score_input=score_input, score_reviews=score_reviews
    )
    finish_of(context, lake, as_json)(job.run(config))
