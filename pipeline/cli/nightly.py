"""`pipeline nightly`."""

import sys
from dataclasses import replace

from pipeline.cli.console import log_formatter, silence
from pipeline.cli.derive import config_command, configs
from pipeline.cli.finish import Finish, tell
from pipeline.config.nightly import NightlyConfig
from pipeline.config.score import ScoreConfig
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

    if not config.input:
        config = replace(config, input=file_values(ScoreConfig, "score", configs, config.lake).get("sources", ()))
    attended = sys.stderr.isatty()
    if not attended and not finish.session.verbose:
        silence()
    receipt = job.run(config, finish.session.arguments, log_formatter(finish.session.log_format))
    if finish.is_for_scripts:
        for line in receipt.metrics["attention"]:
            tell(line)
    finish(receipt)
