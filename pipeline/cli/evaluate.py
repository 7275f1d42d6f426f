"""`pipeline evaluate`."""

from collections.abc import Mapping
from typing import Any

from pipeline.cli.derive import Inherits, config_command
from pipeline.cli.finish import Finish
from pipeline.config.evaluate import EvaluateConfig

LABELS = ("label_column", "label_map", "skip_labels")
COLUMNS = ("text_column", *LABELS, "target_column", "split_column", "delimiter", "quote", "escape", "encoding")


def _as_ingested(ingest: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Files are read with the lake's [ingest] settings unless options override them."""
    if not given.get("sources"):
        return {}
    found = {name: ingest[name] for name in COLUMNS if name in ingest}
    return found | {"inherited": tuple(name for name in found if name not in given)}


@config_command(EvaluateConfig, inherits=Inherits("ingest", _as_ingested))
def evaluate(config: EvaluateConfig, finish: Finish) -> None:
    """Evaluate a model on labelled reviews, with 95% intervals.

    Computes accuracy, macro F1, ROC AUC, calibration error and the metrics of each label; of a regression model, mean
    absolute and root mean squared error and Spearman's rank correlation. Evaluates a split of the lake's table ('valid' is
    the split held out during training), or the given files and folders. Files are read with the lake's [ingest] settings
    unless options here override them. The receipt has all figures under "metrics".

    Example: pipeline evaluate --split valid

    Example: pipeline evaluate reviews.csv --label-column stars --label-map 'neg=1..2 pos=4..5'
    """
    from jobs import evaluate as job

    finish(job.run(config))
