"""`pipeline nightly`."""

import sys
from dataclasses import replace

from pipeline.cli.console import log_formatter, silence
from pipeline.cli.derive import config_command, configs
from pipeline.cli.finish import Finish, tell
from pipeline.config.nightly import NightlyConfig
from pipeline.config.score import STDOUT, ScoreConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import UsageError
from pipeline.options.files import file_values


@config_command(NightlyConfig)
def nightly(config: NightlyConfig, finish: Finish) -> None:
    """Run a whole night: ingest, train, score what waits, clean up.

    Each step has its options from pipeline.toml. Unless stderr is a terminal, it gets only what a person must know, in a
    few lines. All else is in logs/, a file for each night. Exits with the code of the first step that failed, or with 99
    if there was nothing to do.

    Example: pipeline nightly --retrain rows:1000,days:7 --on-attention 'mail -s reviews team@example.org'
    """
    from jobs import nightly as job

    scoring = file_values(ScoreConfig, "score", configs, config.lake)
    if scoring.get("output") == STDOUT:
        raise UsageError(
            f'output = "{STDOUT}" in [score] of pipeline.toml: nobody reads the stdout of a night. Remove it, '
            "or name a file or folder."
        )
    _refuse_fold(config)
    if not config.input:
        config = replace(config, input=scoring.get("sources", ()))
    attended = sys.stderr.isatty()
    if not attended and not finish.session.verbose:
        silence()
    formatter = log_formatter(finish.session.log_format)
    finish(job.run(config, finish.session.arguments, formatter, tell if finish.is_for_scripts else _say_nothing))


def _refuse_fold(config: NightlyConfig) -> None:
    """A model that holds out a fold never goes live, so a night that trains one would change nothing.

    Raises:
        UsageError: a fold in the options of train.
    """
    try:
        in_file = file_values(TrainConfig, "train", configs, config.lake).get("fold")
    except UsageError:
        return  # the step says it, and the others have work of their own
    if in_file is not None or any(word.split("=")[0] == "--fold" for word in config.train_words):
        raise UsageError(
            "--fold: a model trained for cross-validation never goes live, so a night cannot use it. Remove it from [train] "
            "of pipeline.toml or from --train-options; 'pipeline crossval' trains all folds."
        )


def _say_nothing(line: str) -> None:
    """On a terminal the summary has the lines."""
