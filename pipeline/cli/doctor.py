"""`pipeline doctor`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import LakeOption, app, lake_of
from pipeline.cli.derive import configs
from pipeline.cli.finish import whoever_reads
from pipeline.cli.panels import PanelCommand
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.doctor.check import Check

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


@app.command(cls=PanelCommand)
def doctor(
    context: typer.Context,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every committed byte, not only sizes, row counts and footers.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    lake: LakeOption = None,
) -> None:
    """Check the environment and the lake, and suggest fixes.

    Exits with 0 if no check fails (warnings are fine), else with the code of the first failure: 2 invalid pipeline.toml,
    65 damaged data, 66 missing file, 70 broken environment, 73 lake not writable.

    Example: pipeline doctor --lake /srv/reviews
    """
    import json
    from dataclasses import asdict

    from pipeline.doctor.check import exit_code
    from pipeline.doctor.environment import environment_checks
    from pipeline.doctor.lake import lake_checks
    from pipeline.doctor.options import option_checks

    place = lake_of(context, lake)
    checks = [*environment_checks(), *lake_checks(place, verify), *option_checks(place, configs())]
    code = exit_code(checks)
    with whoever_reads():
        if as_json:
            typer.echo(json.dumps({"exit_code": code, "checks": [asdict(check) for check in checks]}, indent=2))
        else:
            for check in checks:
                _print(check, max(len(check.name) for check in checks))
            typer.echo(f"\n{verdict(checks)}")
    raise typer.Exit(code)


def _print(check: "Check", width: int) -> None:
    state = typer.style(f"{check.state:<4}", fg=COLOURS[check.state], bold=True)
    typer.echo(f"{state}  {check.name:<{width}}  {printable(check.detail)}")
    if check.state != "OK" and check.remedy:
        typer.echo(f"      {'':<{width}}→ {printable(check.remedy)}")


def verdict(checks: "Sequence[Check]") -> str:
    """All checks in a sentence."""
    failures, warnings = (sum(check.state == state for check in checks) for state in ("FAIL", "WARN"))
    if not failures and not warnings:
        return f"All {len(checks)} checks passed."
    found = [(failures, "failure"), (warnings, "warning")]
    counted = " and ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in found if count)
    arrows = "the arrow says how to fix it" if failures + warnings == 1 else "the arrows say how to fix them"
    return f"{counted} in {len(checks)} checks; {arrows}."
