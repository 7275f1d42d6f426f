"""`pipeline evaluate`."""

from collections.abc import Mapping
from typing import Any

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.evaluate import EvaluateConfig

COLUMNS = ("text_column", "label_column", "label_map", "split_column", "delimiter", "quote", "encoding")


def _as_ingested(ingest: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Files are read as 'pipeline ingest' reads the lake's, unless they are said to be otherwise."""
    return {name: ingest[name] for name in COLUMNS if name in ingest} if given.get("sources") else {}


@config_command(EvaluateConfig, inherits=_as_ingested)
def evaluate(config: EvaluateConfig, finish: Finish) -> None:
    """Evaluate a model on labelled reviews, with 95% intervals.

    Gives accuracy, macro F1, ROC area, calibration error, and the figures of each label.
    The reviews are a split of the lake's table, or whatever files and folders are named; the validation part is the one
    that training held out. Files are read as the lake's [ingest] settings say, unless options here say otherwise. The
    figures stand in the receipt, under "metrics".

    Example: pipeline evaluate --split valid

    Example: pipeline evaluate reviews.csv --label-column stars --label-map 'neg=1..2 pos=4..5'
    """
    from jobs import evaluate as job

    finish(job.run(config))
