"""Tables and details on stdout that fit the terminal, and lookup of abbreviated IDs."""

import shutil
import sys
import textwrap
from collections.abc import Container, Iterable, Iterator, Sequence

import typer

from pipeline.errors import InputNotFoundError, nearest
from pipeline.printable import printable

USUAL_WIDTH = 80
NEAREST = 5
"""Number of IDs that an error lists."""


def width() -> int:
    """Width of the terminal in columns; a safe default if stdout is not a terminal."""
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns if sys.stdout.isatty() else USUAL_WIDTH


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Container[str] = ()) -> Iterator[str]:
    """Lines with aligned columns; those whose head is in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in (head, *rows):
        parts = zip(head, line, widths, strict=True)
        cells = (text.rjust(wide) if name in right else text.ljust(wide) for name, text, wide in parts)
        yield "  ".join(cells).rstrip()


def details(facts: Iterable[tuple[str, object]]) -> None:
    """Prints one name and value per line; long values wrap."""
    listed = [(name, printable(_text(value))) for name, value in facts if value not in (None, "", [], {})]
    margin = max(len(name) for name, _ in listed) + 2
    for name, value in listed:
        for place, line in enumerate(wrapped(value, wide=width() - margin)):
            typer.echo((name if place == 0 else "").ljust(margin) + line)


def wrapped(text: str, indent: str = "", wide: int | None = None) -> list[str]:
    """A text wrapped to the terminal, or to `wide`, each line indented; long words, such as paths, stay whole."""
    return textwrap.wrap(
        text.lstrip(),
        max(wide or width(), 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def plain(value: object) -> str:
    """An option or a figure as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items())
    if isinstance(value, float) and abs(value) >= 0.001:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)


def shortened(text: str, wide: int) -> str:
    """A text cut to `wide` characters, with an ellipsis if it was longer."""
    return text if len(text) <= wide else text[: wide - 1] + "…"


def find_id(what: str, given: str, known: Sequence[str], listing: str) -> str:
    """The ID that equals `given`, or the only one that begins with it.

    Args:
        what: what the IDs identify, for messages.
        listing: the command that lists them all.

    Raises:
        InputNotFoundError: no ID or several match; the message suggests the one that was meant, if there is one.
    """
    if given in known:
        return given
    begin = [one for one in known if one.startswith(given)]
    if len(begin) == 1:
        return begin[0]
    if not known:
        raise InputNotFoundError(
            f"no {what} {given!r}: the lake has none yet. Check that it is the right lake; --lake selects another one."
        )
    if begin:
        raise InputNotFoundError(f"{len(begin)} {what}s begin with {given!r}: {_named(begin[::-1])}. Type more of the ID.")
    shortened_ids = {one[: len(given)]: one for one in known}  # an abbreviation may have been mistyped
    near = nearest(given, shortened_ids)
    hint = "" if near is None else f" Did you mean {shortened_ids[near]!r}?"
    raise InputNotFoundError(f"no {what} {given!r}.{hint} {listing!r} lists all.")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _named(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - NEAREST:,} more" if len(ids) > NEAREST else ""
    return ", ".join(ids[:NEAREST]) + rest
