"""`pipeline ingest`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.ingest import IngestConfig
from pipeline.readers.registry import described


@config_command(IngestConfig, words=lambda: {"formats": described()})
def ingest(config: IngestConfig, finish: Finish) -> None:
    """Raw reviews to token shards and a vocabulary.

    Reads folders, files and globs of {formats}. Folders SPLIT/LABEL/N_STARS.txt, as aclImdb lays reviews out, name split,
    label and stars. Known reviews are passed over, changed ones replaced. Bad rows, and files that cannot be read, land in
    rejects/ with their reason.

    Example: pipeline ingest reviews.csv.gz --label-column sentiment --id-column order_id
    """
    from pipeline.process import collector_paused

    with collector_paused():
        from jobs import ingest as job

    finish(job.run(config))
