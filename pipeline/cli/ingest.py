"""`pipeline ingest`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.ingest import IngestConfig
from pipeline.readers.registry import described


@config_command(IngestConfig, words=lambda: {"formats": described()})
def ingest(config: IngestConfig, finish: Finish) -> None:
    """Turn raw reviews into token shards and a vocabulary.

    Reads folders, files and globs of {formats}. In the layout of aclImdb, SPLIT/LABEL/N_STARS.txt, paths give split,
    label and stars. Known reviews are skipped and changed ones replaced. Bad rows and unreadable files go to rejects/
    with the reason.

    Example: pipeline ingest reviews.csv.gz --label-column sentiment --id-column order_id
    """
    from pipeline.process import collector_paused

    with collector_paused():
        from jobs import ingest as job

    finish(job.run(config))
