r"""Text from outside, such as a file name, a label or a token, made safe for terminals, logs and JSON.

A name can hold escape sequences that clear a screen or retitle a window, line breaks that forge a line of a log, and marks
that reverse the order of what is shown. All of them are escaped here: `\x1b`, `\n`, `\u202e`, and a byte that is not UTF-8
as `\xff`. Nothing else changes, not even a backslash: the result is for reading, not for parsing.
"""

import copy
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_LINE_BREAKS = "\u2028\u2029"
_LONE_SURROGATES = "\ud800-\udfff"
_WITHIN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{_BIDIRECTIONAL}{_LINE_BREAKS}{_LONE_SURROGATES}]")
_ANYWHERE = re.compile(f"\n|{_WITHIN_LINES.pattern}")
_SHOWN: dict[str, str] = {}
"""Folders, and what they are called where people read."""


def show_as(folder: "str | os.PathLike[str]", name: str) -> None:
    """From now on, paths in `folder` are shown as those in `name`: a file of a working copy under its URI in the store."""
    _SHOWN[os.fspath(folder)] = name


def shown(text: str) -> str:
    """Text with folders under the names that people know them by."""
    deepest_first = sorted(_SHOWN.items(), key=lambda known: len(known[0]), reverse=True)
    for folder, name in deepest_first:  # what is fetched from a bucket may lie in a working copy, and has a name of its own
        text = text.replace(folder, name)
    return text


def printable(text: str) -> str:
    """Text as one line that is safe to show: controls, line breaks, bidirectional marks and lone surrogates are escaped."""
    return _ANYWHERE.sub(_escaped, shown(text))


def printable_lines(text: str) -> str:
    """`printable` for output of several lines: line feeds stay."""
    return _WITHIN_LINES.sub(_escaped, shown(text))


def printable_json(document: str) -> str:
    """A JSON document that is safe to show and still means the same: `json.dumps` escapes only a part of the controls."""
    return _WITHIN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", shown(document))


def utf8_name(name: str) -> str:
    """A file name as text that can be stored: bytes that are not UTF-8, lone surrogates in Python, are escaped.

    Nothing else is: a stored name has to identify its file.
    """
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def short_path(path: "str | os.PathLike[str]") -> str:
    """A path as people write it: relative to the working folder where it lies in there. For reading and for typing. A URI
    stays as it is."""
    text = shown(os.fspath(path))
    if "://" in text:
        return text
    full, here = Path(path), Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)


class PrintableFormatter(logging.Formatter):
    """Formats log records so that no line holds a control character.

    Text that fills a gap of a message (`%s`) is escaped, line breaks included. The line breaks of the message itself and of
    a traceback stay.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        shown = copy.copy(record)
        shown.msg = record.msg if isinstance(record.msg, str) else printable(str(record.msg))
        if isinstance(record.args, Mapping):
            shown.args = {name: _argument(value) for name, value in record.args.items()}
        elif record.args:
            shown.args = tuple(map(_argument, record.args))
        return printable_lines(super().format(shown))


class JsonFormatter(PrintableFormatter):
    """Formats log records as lines of JSON: `time` (UTC), `level`, `logger`, `message`, and `traceback` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line of JSON."""
        message, _, trace = super().format(record).partition("\nTraceback (most recent call last):\n")
        fields = {"logger": record.name, "traceback": trace} if trace else {"logger": record.name}
        return json_line(record.levelname, message, record.created, **fields)


def json_line(level: str, message: str, seconds: float | None = None, **fields: str) -> str:
    """A log line of JSON; `seconds` since the epoch, by default now."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": stamp, "level": level.lower(), **fields, "message": message}
    return printable_json(json.dumps(line, ensure_ascii=False))


def _argument(value: Any) -> Any:
    # Numbers stay what they are, for %d and %.1f; lists and the like show their strings escaped anyway.
    return printable(str(value)) if isinstance(value, str | os.PathLike | BaseException) else value


_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")
