"""`pipeline score`."""

import typer

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json
from pipeline.config.score import ScoreConfig
from pipeline.readers.registry import described


@config_command(ScoreConfig, words=lambda: {"formats": described()})
def score(config: ScoreConfig, finish: Finish) -> None:
    """Score reviews with a trained model.

    Reads files, folders and globs of {formats}. Keeps the order of the rows and the columns of the input; adds
    prediction, probability, the probability of each class, model_id and unscored_reason. A review without text, or
    without a token that the model knows, gets no prediction. Several files make one output; a file that cannot be read
    is left out and named. Ends with 99 when the output is there already, made from the same input by the same model.

    Example: pipeline score reviews.csv --text-column body --output scored.csv
    """
    from jobs import score as job

    if config.text:
        for answer in job.answers(config):
            if finish.as_json:
                print_json(answer.to_dict())
            else:
                typer.echo(answer.line())
        return
    finish(job.run(config), to_stderr=config.to_stdout)
