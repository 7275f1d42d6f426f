"""Prints the findings of `inspect` and `init`: as tables on a terminal, as plain lines elsewhere."""

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from pipeline.cli import listing
from pipeline.printable import printable
from pipeline.readers.dialect import NAMES
from pipeline.readers.labels import LabelMap
from schemas.reject import CHOSEN, REASONS, num_chosen
from schemas.review import SPLITS

if TYPE_CHECKING:
    from collections import Counter

    from jobs.inspect import FileReport, Inspection
    from pipeline.inspection.columns import Column

EXAMPLE = 40
"""Maximum length of an example, in characters."""
FOLDING = ("file", "column", "example")
"""Columns whose cells may take several lines."""
FOLDED = 12
"""Narrowest width of these columns, in characters."""
LISTED = 10
"""Maximum number of labels and files listed; the rest are counted."""


@dataclass(frozen=True)
class Grid:
    """A table: its head, its rows, and which columns are numbers."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()


def show(found: "Inspection") -> None:
    """Prints files, columns, labels, rejects and notes to stdout."""
    for part in _parts(found):
        if isinstance(part, Grid):
            _grid(part)
        else:
            indent = " " * (len(part) - len(part.lstrip()))
            for line in listing.wrapped(part, indent) if sys.stdout.isatty() else [part]:
                typer.echo(line)


def _parts(found: "Inspection") -> Iterator[Grid | str]:
    good = [file for file in found.files if file.fault is None]
    if good:
        yield Grid(("file", "format", "rows", "delimiter", "quote", "encoding", "rejects"), _files(good), frozenset({2, 6}))
    if found.total > len(found.files):
        yield f"Inspected {len(found.files)} of {found.total:,} files and folders."
    for fault in found.all_faults:
        yield f"Unreadable: {printable(fault.place)}: {printable(fault.detail)}."
    if found.passed_over:
        yield f"Skipped, unsupported type: {_some(list(map(printable, found.passed_over)))}."
    if found.columns:
        yield ""
        yield Grid(("column", "type", "empty", "distinct", "used as", "example"), _columns(found), frozenset({2, 3}))
    if found.rows:
        yield ""
        yield from _labels(found)
        yield from _rejects(found)
    if found.guess.notes:
        yield ""
        yield from map(printable, found.guess.notes)


def _files(files: Sequence["FileReport"]) -> list[tuple[str, ...]]:
    return [_file(file) for file in files[: 2 * LISTED]]


def _file(file: "FileReport") -> tuple[str, ...]:
    sample = file.sample
    kind = sample.source.format + (f" ({sample.source.compression})" if sample.source.compression else "")
    rows = file.rehearsal.read if file.rehearsal else sample.rows
    more = "" if file.whole else "+"
    rejects = f"{file.rehearsal.rejected:,}" if file.rehearsal else "-"
    dialect = ("-", "-", "-")
    if sample.dialect is not None:
        delimiter = NAMES.get(sample.dialect.delimiter, sample.dialect.delimiter)
        dialect = (delimiter, sample.dialect.escape + sample.dialect.quote or "none", sample.dialect.encoding)
    return (printable(file.name), kind, f"{rows:,}{more}", *map(printable, dialect), rejects)


def _columns(found: "Inspection") -> list[tuple[str, ...]]:
    return [_column(column, found.guess.role_of(column.name) or "") for column in found.columns]


def _column(column: "Column", role: str) -> tuple[str, ...]:
    example = printable(_cut(column.example, EXAMPLE))
    share = f"{column.empty_share:.0%}"
    if share == "0%" and column.present < column.rows:
        share = "<1%"
    distinct = f"{len(column.distinct):,}" if column.distinct else "-"
    return (printable(column.name) or "(no name)", column.kind, share, distinct, role, example)


def _labels(found: "Inspection") -> Iterator[str]:
    guess = found.guess
    column = next((column for column in found.columns if column.name == guess.label), None)
    if column is not None and column.counts:
        yield f"Labels in {printable(column.name)}: {_counted(column.counts)}"
    if guess.label_map is not None:
        yield f"Classes: {printable(str(LabelMap.parse(guess.label_map)))}"
    if guess.skip_labels:
        yield f"Left out on purpose: {printable(guess.skip_labels)}"
    kept = found.counted("labels")
    labelled = {label: count for label, count in kept.items() if label}
    if labelled:
        unlabelled = f"; {kept['']:,} without a label" if kept[""] else ""
        classes = [f"{printable(label)} {count:,}" for label, count in sorted(labelled.items())]
        yield f"Reviews: {_some(classes)}{unlabelled}"
    elif kept:
        yield f"Reviews: {kept['']:,} without a label"
    splits = found.counted("splits")
    if len(splits) > 1:
        yield f"Splits: {', '.join(f'{name} {splits[name]:,}' for name in SPLITS if splits[name])}"


def _rejects(found: "Inspection") -> Iterator[str]:
    rejects = found.counted("rejects")
    if chosen := num_chosen(rejects):
        yield f"Left out {chosen:,} of {found.rows:,} rows on purpose (--skip-labels)"
    yield f"Rejected {rejects.total() - chosen:,} of {found.rows:,} rows"
    for reason, count in rejects.most_common():
        if reason in CHOSEN:
            continue
        details = (file.rehearsal.details.get(reason) for file in found.files if file.rehearsal)
        first = next((detail for detail in details if detail), "")
        example = f"{'' if count == 1 else 'for example '}{printable(first)}"
        yield f"  {count:,} {reason}: {example if first else REASONS[reason]}"


def _counted(counts: "Counter[str]") -> str:
    listed = [f"{printable(value)} ({count:,})" for value, count in counts.most_common(LISTED)]
    return ", ".join(listed) + (f" and {len(counts) - LISTED:,} more" if len(counts) > LISTED else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _grid(grid: Grid) -> None:
    if sys.stdout.isatty():
        _on_terminal(grid)
        return
    lines = [grid.head, *grid.rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [_padded(cell, widths[place], place in grid.numeric) for place, cell in enumerate(line)]
        typer.echo("  ".join(cells).rstrip())


def _on_terminal(grid: Grid) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    narrowest = 0
    for place, (name, *cells) in enumerate(zip(grid.head, *grid.rows, strict=True)):
        longest = max(map(_width, (name, *cells)))
        # Names of files, columns and examples can be long and may fold; the other cells are short and stay whole.
        least = min(longest, FOLDED) if name in FOLDING else longest
        justify: Literal["left", "right"] = "right" if place in grid.numeric else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=least)
        narrowest += least + 2
    for row in grid.rows:
        table.add_row(*map(Text, row))
    console = Console()
    console.width = max(console.width, narrowest)
    console.print(table)


def _padded(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    """Width of a text in terminal cells: two per wide character, none per combining one."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
