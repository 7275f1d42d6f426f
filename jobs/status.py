"""The job behind `pipeline status`: looks at a lake and, if asked to, writes the morning page. Leaves no run record."""

from pipeline.config.status import StatusConfig
from pipeline.lake.paths import Lake
from pipeline.status.facts import Limits
from pipeline.status.status import Status, look


def run(config: StatusConfig) -> Status:
    """The status of the lake.

    Raises:
        InputNotFoundError: there is no such lake.
        CannotWriteError: the page cannot be written.
        UsageError: jinja2, which writes the page, is not installed.
    """
    limits = Limits(max_age=config.max_age, max_unknown=config.max_unknown, min_free=config.min_free)
    lake = Lake(config.lake)
    status = look(lake, limits)
    if config.page:
        from pipeline.status.write import write_page

        write_page(status)
        lake.push("status")
    return status
