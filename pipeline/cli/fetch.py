"""`pipeline fetch`: a public data set."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.fetch import FetchConfig


@config_command(FetchConfig)
def fetch(config: FetchConfig, finish: Finish) -> None:
    """Download a public data set into raw/ and check its hash.

    Ingest reads the archive directly. If the file is already there with the right hash, exits with 99.

    Example: pipeline fetch imdb
    """
    from jobs import fetch as job

    finish(job.run(config))
