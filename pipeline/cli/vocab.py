"""`pipeline vocab`."""

from typing import Annotated

import typer

from pipeline.cli import listing
from pipeline.cli.app import LakeOption, app, lake_there
from pipeline.cli.numbers import INTEGER, whole_number
from pipeline.cli.panels import PanelCommand
from pipeline.errors import UsageError
from pipeline.printable import printable, printable_json


@app.command(cls=PanelCommand)
def vocab(
    context: typer.Context,
    fingerprint: Annotated[
        str | None,
        typer.Argument(
            metavar="FINGERPRINT", help="Fingerprint of the vocabulary.  [default: the token table's]", show_default=False
        ),
    ] = None,
    lake: LakeOption = None,
    top: Annotated[
        int, typer.Option(help="Number of most frequent tokens to show.", parser=whole_number, metavar=INTEGER)
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a vocabulary: tokenizer, labels, frequent tokens.

    Example: pipeline vocab --top 20
    """
    import json

    from pipeline.lake.table import TokenTable
    from pipeline.lake.vocabularies import read_vocabulary
    from schemas.vocabulary import SPECIALS

    if top < 0:
        raise UsageError(f"--top {top}: expected 0 or more.")
    place = lake_there(context, lake)
    vocabulary = read_vocabulary(place.vocabulary / f"{fingerprint or TokenTable.open(place.tokens).vocabulary}.parquet")
    words = slice(len(SPECIALS), len(SPECIALS) + top)
    frequent = list(zip(vocabulary.tokens[words].to_pylist(), vocabulary.counts[words].to_pylist(), strict=True))
    facts = {
        "fingerprint": vocabulary.fingerprint,
        "tokenizer": vocabulary.tokenizer,
        "labels": list(vocabulary.labels),
        "options": dict(vocabulary.options),
        "tokens": len(vocabulary) - len(SPECIALS),
    }
    if as_json:
        typer.echo(printable_json(json.dumps({**facts, "top": frequent}, ensure_ascii=False)))
        return
    facts |= {"labels": ", ".join(vocabulary.labels), "tokens": f"{facts['tokens']:,}"}
    for name, value in facts.items():
        typer.echo(f"{name:<12} {printable(listing.plain(value))}")
    for token, count in frequent:
        typer.echo(f"{count:>12,} {printable(token)}")
