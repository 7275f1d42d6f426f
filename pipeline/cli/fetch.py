"""`pipeline fetch`: a public data set."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def fetch(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="imdb: Maas et al. 2011, 84 MB, 100,000 reviews.")],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="A mirror.  [default: the publisher's]", show_default=False)
    ] = None,
    md5: Annotated[
        str | None, typer.Option(metavar="HEX", help="Expected MD5.  [default: as published]", show_default=False)
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Expected SHA-256, in place of the MD5.  [default: none]", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the server may stay silent.")] = 60.0,
    lake: LakeOption = None,
) -> None:
    """Download a public data set into the lake's raw/, its hash checked; ingest reads the archive as it is.

    What is there already with the right hash is left alone (exit code 99).

    Example: pipeline fetch imdb
    """
    from jobs import fetch as job

    config = job.FetchConfig(
        lake=lake_of(context, lake).root, dataset=dataset, url=url, md5=md5, sha256=sha256, timeout_seconds=timeout
    )
    finish(job.run(config))
