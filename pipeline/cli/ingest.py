"""`pipeline ingest`."""

from pipeline.cli.app import finish
from pipeline.cli.derive import config_command
from pipeline.config.ingest import IngestConfig


@config_command(IngestConfig)
def ingest(config: IngestConfig) -> None:
    """Raw reviews to token shards and a vocabulary.

    Reads folders of .txt (SPLIT/LABEL/N_STARS.txt, as aclImdb lays them out, tells split, label and stars), .tar
    archives of them without unpacking, .csv, .tsv, .jsonl (each also .gz, .zst, .bz2) and .parquet. What is known
    already is passed over, what changed is replaced, what is bad lands in rejects/ with its reason.

    Example: pipeline ingest reviews.csv.gz --label-column sentiment --id-column order_id
    """
    from jobs.runtime import collector_paused

    with collector_paused():
        from jobs import ingest as job

    finish(job.run(config))
