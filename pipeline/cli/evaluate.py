"""`pipeline evaluate`."""

from pipeline.cli.app import finish
from pipeline.cli.derive import config_command
from pipeline.config.evaluate import EvaluateConfig


@config_command(EvaluateConfig)
def evaluate(config: EvaluateConfig) -> None:
    """Evaluate a model on a labelled split: loss, accuracy, confusion matrix, figures of each class.

    The figures stand in the receipt, under "metrics". The validation part is the one that training held out.

    Example: pipeline evaluate --model LATEST --split valid
    """
    from jobs import evaluate as job

    finish(job.run(config))
