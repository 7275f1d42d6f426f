"""`pipeline score`."""

from pipeline.cli.app import finish
from pipeline.cli.derive import config_command
from pipeline.config.score import ScoreConfig


@config_command(ScoreConfig)
def score(config: ScoreConfig) -> None:
    """Score a Parquet file of raw reviews.

    Keeps the rows' order and the input's columns and adds prediction, probability and model_id. Text is tokenized with
    the model's own vocabulary. A row without text gets no prediction. Ends with 99 when the output is there already,
    made from the same input by the same model.

    Example: pipeline score incoming/reviews.parquet --text-column body
    """
    from jobs import score as job

    finish(job.run(config))
