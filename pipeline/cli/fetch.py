"""`pipeline fetch`: a public data set."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.fetch import FetchConfig


@config_command(FetchConfig)
def fetch(config: FetchConfig, finish: Finish) -> None:
    """Download a public data set into raw/, its hash checked.

    Ingest reads the archive as it is.     What is there already with the right hash is left alone (exit code 99).

    Example: pipeline fetch imdb
    """
    from jobs import fetch as job

    finish(job.run(config))
