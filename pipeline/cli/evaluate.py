"""`pipeline evaluate`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.evaluate import EvaluateConfig


@config_command(EvaluateConfig)
def evaluate(config: EvaluateConfig, finish: Finish) -> None:
    """Evaluate a model on labelled reviews: accuracy, macro F1 and ROC area with 95% intervals, calibration, each label.

    The reviews are a split of the lake's table, or whatever files and folders are named; the validation part is the one
    that training held out. The figures stand in the receipt, under "metrics".

    Example: pipeline evaluate --split valid

    Example: pipeline evaluate reviews.csv --label-column stars --label-map 'neg=1..2 pos=4..5'
    """
    from jobs import evaluate as job

    finish(job.run(config))
