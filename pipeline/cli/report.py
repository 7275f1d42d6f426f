"""`pipeline report`: a model's page."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.report import ReportConfig


@config_command(ReportConfig)
def report(config: ReportConfig, finish: Finish) -> None:
    """Write a model's page: what it is worth, its mistakes, the tokens that decide, examples, configuration.

    With --compare, put the models named side by side, on the reviews that all of them have scored.

    Example: pipeline report --predictions data_lake/predictions/new.parquet --output /tmp/report.html
    """
    from jobs import report as job

    finish(job.run(config))
