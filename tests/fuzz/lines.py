"""How many lines a file of lines has, counted without the product's readers."""

import codecs
import csv
import re

LINE_END = re.compile(rb"\r\n|\r|\n")
BLANKS = b" \t\r\n"


def text_lines(content: bytes) -> list[bytes]:
    """Lines that are not empty; LF, CRLF and CR end them, in quotation marks too."""
    return [line for line in LINE_END.split(content) if line]


def lines_of_table(content: bytes) -> list[bytes]:
    """Lines of a CSV or TSV file in UTF-8 that are not blank.

    Before the header a line of spaces is blank; after it, it is a row.
    """
    lines = text_lines(content.removeprefix(codecs.BOM_UTF8))
    while lines and not lines[0].strip():
        del lines[0]
    return lines


def lines_of_header(lines: list[bytes], delimiter: str, quote: str, escape: str = "") -> int:
    """How many of the lines the header takes, which may have quoted line breaks in it."""
    if not lines or not quote:
        return min(len(lines), 1)
    texts = (f"{line.decode('utf-8', 'surrogateescape')}\n" for line in lines)
    reader = csv.reader(texts, delimiter=delimiter, quotechar=quote, escapechar=escape or None)
    next(reader)
    return reader.line_num


def lines_of_json(content: bytes) -> list[int]:
    """Numbers of the lines that are not blank, from 0; LF alone ends them."""
    return [number for number, line in enumerate(content.split(b"\n")) if line.strip(BLANKS)]


def inner_lines(value: bytes) -> int:
    """Lines that a value adds to its row; empty ones do not count."""
    parts = LINE_END.split(value)
    return len(parts) - 1 - sum(not part for part in parts[1:-1])
