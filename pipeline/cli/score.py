"""`pipeline score`."""

import typer

from pipeline.cli.app import CLOSED
from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json
from pipeline.config.score import ScoreConfig
from pipeline.errors import CannotWriteError
from pipeline.readers.registry import described


@config_command(ScoreConfig, words=lambda: {"formats": described()})
def score(config: ScoreConfig, finish: Finish) -> None:
    """Score reviews with a trained model.

    Reads files, folders and globs of {formats}. Keeps the row order and the columns of the input, and adds prediction,
    probability, the probability of each class, model_id and unscored_reason. Reviews without text or without any token
    known to the model get no prediction. Unreadable files are skipped with a warning.

    Each input of a folder, a glob or a list has an output of its own, and only new and changed inputs are scored; with
    --output FILE, all are written to one output. Exits with 99 if there is nothing new to score.

    Example: pipeline score reviews.csv --text-column body --output scored.csv
    """
    from jobs import score as job

    if "stdout" in CLOSED and (config.text or config.to_stdout):
        raise CannotWriteError("stdout is closed, so the predictions would be lost. Open it, or name a file with --output.")
    if config.text:
        for answer in job.answers(config):
            if finish.as_json:
                print_json(answer.to_dict())
            else:
                typer.echo(answer.line())
        return
    finish(job.run(config), to_stderr=config.to_stdout)
