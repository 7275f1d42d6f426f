"""`pipeline report`: a model's page."""

from collections.abc import Mapping
from typing import Any

from pipeline.cli.derive import Inherits, config_command
from pipeline.cli.finish import Finish
from pipeline.config.report import ReportConfig


def _as_ingested(ingest: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Scored files are read with the lake's [ingest] columns unless options override them."""
    if not given.get("predictions"):
        return {}
    from pipeline.reports.examples import column_names

    found = {name: ingest[name] for name in ("text_column", "label_map") if name in ingest}
    if ingest.get("label_column") in column_names(given["predictions"]):  # reviews to score have none as a rule
        found["label_column"] = ingest["label_column"]
    return found


@config_command(ReportConfig, inherits=Inherits("ingest", _as_ingested))
def report(config: ReportConfig, finish: Finish) -> None:
    """Write a model's report page, or compare several models.

    The page shows how good the model is, its mistakes, its most influential tokens, examples and its configuration. With
    --compare, shows the given models side by side on the reviews that all of them have scored.

    Example: pipeline report --predictions data_lake/predictions/new.parquet --output /tmp/report.html
    """
    from jobs import report as job

    finish(job.run(config))
