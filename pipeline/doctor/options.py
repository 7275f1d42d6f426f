"""Checks the lake's `pipeline.toml` for every command, before a scheduled run meets a mistake in it."""

from collections.abc import Iterator, Mapping

from pipeline.doctor.check import Check, fail, guarded, ok
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.options.files import LAKE_FILE, file_values

REMEDY = "Fix it; 'pipeline COMMAND --help' shows the allowed values."


def option_checks(lake: Lake, configs: Mapping[str, type]) -> Iterator[Check]:
    """One finding, or one for each command whose table is invalid; none without a file. `configs`: by command."""
    if not (lake.root / LAKE_FILE).exists():
        return
    yield from guarded(LAKE_FILE, lambda: _tables(lake, configs))


def _tables(lake: Lake, configs: Mapping[str, type]) -> Iterator[Check]:
    options = 0
    wrong: list[str] = []
    for command, config in configs.items():
        try:
            options += len(file_values(config, command, lambda: configs, lake.root))
        except UsageError as error:
            wrong.append(str(error))
    for detail in dict.fromkeys(wrong):  # a file that is wrong as a whole is wrong for each command
        yield fail(LAKE_FILE, detail.removesuffix("."), REMEDY, UsageError.exit_code)
    if not wrong:
        yield ok(LAKE_FILE, f"{options} {'option' if options == 1 else 'options'}")
