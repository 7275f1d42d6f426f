"""`pipeline schema`."""

from typing import Annotated

import typer

from pipeline.cli.app import app
from pipeline.cli.panels import PanelCommand


@app.command(cls=PanelCommand)
def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Contract to print.  [default: all]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the contracts of the files we read and write.

    Shows columns, versions, and which changes are allowed.

    Example: pipeline schema token
    """
    import json

    from pipeline.errors import unknown_choice
    from schemas.contract import RULE
    from schemas.registry import CONTRACTS

    if name is not None and name not in CONTRACTS:
        raise unknown_choice("schema", name, CONTRACTS)
    chosen = [CONTRACTS[name]] if name else list(CONTRACTS.values())
    if as_json:
        typer.echo(json.dumps([contract.to_dict() for contract in chosen], indent=2))
        return
    for contract in chosen:
        typer.echo(f"{contract.name}, version {contract.version}: {contract.description}")
        columns = contract.listing()
        width = max(len(column.name) for column in columns)
        kinds = max(len(column.type) for column in columns)
        for column in columns:
            null = "null ok" if column.nullable else "not null"
            typer.echo(f"  {column.name:<{width}}  {column.type:<{kinds}}  {null:<8}  {column.description}")
        typer.echo()
    typer.echo(f"Rule: {RULE}")
