"""The help of a command."""

from typing import Any

from typer.core import TyperCommand

from pipeline.options.option import MAIN, PANELS


class PanelCommand(TyperCommand):
    """A command whose help shows its options in panels, without needing rich, and arguments without Python's types."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes a section of help for each panel that has options."""
        panels: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", *PANELS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                panels["Arguments"].append((record[0].partition(" ")[0], record[1]))
            else:
                panels[getattr(parameter, "rich_help_panel", None) or MAIN].append(record)
        for name, records in panels.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
