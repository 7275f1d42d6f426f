"""The lines of plain text files in batches, and files of lines that were taken for one review."""

from collections.abc import Iterator

from pipeline.readers.base import BATCH_ROWS, Reading, Source
from pipeline.readers.json_records import BOM, every_line
from pipeline.readers.opening import READ_ERRORS, opened, readable
from pipeline.readers.registry import COMPRESSIONS

FEW_FILES = 8
"""Only where there are so few `.txt` files is each looked at: a table of lines comes alone, reviews come in masses."""
LOOKED_AT = 1 << 16
"""Bytes of a file's beginning."""
MANY_LINES = 20
FASTTEXT_LABEL = b"__label__"


def line_batches(source: Source, reading: Reading) -> Iterator[tuple[list[bytes], int]]:
    """Every line without its line end, blank ones too, in batches with the number of the first line, from 0.

    Raises:
        FileFault: the file cannot be read, is not UTF-8, or has a line that is too long.
    """
    lines: list[bytes] = []
    first = size = 0
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        for number, line in enumerate(every_line(source, stream)):
            lines.append(line.removesuffix(b"\r") if number else line.removesuffix(b"\r").removeprefix(BOM))
            size += len(line)
            if len(lines) == BATCH_ROWS or size >= reading.bounds.batch:
                yield lines, first
                lines, first, size = [], number + 1, 0
        if lines:
            yield lines, first


def lines_in_one_review(sources: list[Source]) -> Iterator[str]:
    """Warnings of `.txt` files of many lines, which count as one review each. Files that cannot be read are passed over:
    whoever reads them says what is wrong."""
    texts = [source for source in sources if source.format == "txt"]
    if sum(source.num_files for source in texts) > FEW_FILES:
        return
    for source in texts:
        for name in source.files:
            path = source.path / name
            try:
                with opened(path, COMPRESSIONS.get(path.suffix.lower())) as stream:
                    lines = stream.read(LOOKED_AT).splitlines()
            except READ_ERRORS:
                continue
            if sum(bool(line.strip()) for line in lines) < MANY_LINES:
                continue
            labelled = sum(line.startswith(FASTTEXT_LABEL) for line in lines)
            format = "fasttext" if labelled * 2 > len(lines) else "lines"
            yield (
                f"{source.name}/{name} has many lines but counts as one review. If every line is a review, pass the file "
                f"with --format {format}; if it is a table, with --format csv."
            )
