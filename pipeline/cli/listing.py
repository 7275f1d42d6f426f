"""Tables and details that commands list on stdout, within the width of a terminal, and ids that are given in part."""

import difflib
import shutil
import sys
import textwrap
from collections.abc import Container, Iterable, Iterator, Sequence

import typer

from pipeline.errors import InputNotFoundError
from pipeline.printable import printable

USUAL_WIDTH = 80
NEAREST = 5
"""Ids that an error names."""


def width() -> int:
    """Columns of the terminal that stdout is, else what fits everywhere."""
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns if sys.stdout.isatty() else USUAL_WIDTH


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Container[str] = ()) -> Iterator[str]:
    """Lines with columns side by side; those whose head is in `right` stand to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in (head, *rows):
        parts = zip(head, line, widths, strict=True)
        cells = (text.rjust(wide) if name in right else text.ljust(wide) for name, text, wide in parts)
        yield "  ".join(cells).rstrip()


def details(facts: Iterable[tuple[str, object]]) -> None:
    """Prints names and values below each other, long values wrapped."""
    listed = [(name, printable(_text(value))) for name, value in facts if value not in (None, "", [], {})]
    margin = max(len(name) for name, _ in listed) + 2
    for name, value in listed:
        for place, line in enumerate(wrapped(value, wide=width() - margin)):
            typer.echo((name if place == 0 else "").ljust(margin) + line)


def wrapped(text: str, indent: str = "", wide: int | None = None) -> list[str]:
    """A text in lines that begin with `indent` and fit the terminal, or `wide`; longer words, such as paths, stay whole."""
    return textwrap.wrap(
        text.lstrip(),
        max(wide or width(), 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def shortened(text: str, wide: int) -> str:
    """A text cut to so many characters, with an ellipsis where it was longer."""
    return text if len(text) <= wide else text[: wide - 1] + "…"


def reason(error: str | None) -> str:
    """Why a run failed, in a sentence: its error without the name of the class and without what to do."""
    if not error:
        return ""
    kind, separator, message = error.partition(": ")
    return (message if separator and kind.isidentifier() else error).split(". ")[0].removesuffix(".")


def find_id(what: str, given: str, known: Sequence[str], listing: str) -> str:
    """The id that `given` is, or that alone begins with it.

    Args:
        what: what the ids name, for messages.
        listing: the command that lists them all.

    Raises:
        InputNotFoundError: none or several begin so; the message names the nearest.
    """
    if given in known:
        return given
    begin = [one for one in known if one.startswith(given)]
    if len(begin) == 1:
        return begin[0]
    if not known:
        raise InputNotFoundError(f"no {what} {given!r}: the lake has none yet. Is it the right lake? --lake names another.")
    if begin:
        raise InputNotFoundError(f"{len(begin)} {what}s begin with {given!r}: {_named(begin)}. Give more of the id.")
    ranked = sorted(known, key=lambda name: (-difflib.SequenceMatcher(None, given, name).ratio(), name))
    raise InputNotFoundError(f"no {what} {given!r}. The nearest: {_named(ranked)}. {listing!r} lists them.")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _named(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - NEAREST:,} more" if len(ids) > NEAREST else ""
    return ", ".join(ids[:NEAREST]) + rest
