"""How a table of text is written: what the file's beginning shows of what was not given."""

import csv
import io
import logging
import re
from codecs import BOM_UTF8
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UsageError
from pipeline.progress import AS_IT_IS
from pipeline.readers import encoding
from pipeline.readers.base import Dialect, Source
from pipeline.readers.csv_escapes import ESCAPE, doubled
from pipeline.readers.csv_split import SOUND, Marks, TooLongError, split

log = logging.getLogger(__name__)

SAMPLE_BYTES = 1 << 20
"""As much of a file's beginning is looked at for its encoding, and less for the rest."""
SHAPE_BYTES = 128 << 10
DELIMITERS = ",;\t|"
NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "vertical bar", " ": "space"}
NOTHING_GIVEN = Dialect()
TSV = "tsv"
"""The format whose name says that tabs delimit and nothing is quoted."""
NEARLY = 0.9
"""The format's own delimiter stays where it explains so much of what the best one explains."""
ENOUGH = 0.5
"""Another delimiter has to give so large a share of the records the header's width."""
MAX_NAME = 60
"""Column names are shorter, in characters."""
SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n"]?)"?')
"""What Excel writes before the header to name the delimiter."""
BLANK_LINES = re.compile(rb"\A(?:[ \t]*[\r\n])+")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniffed:
    """The dialect of a text table.

    Args:
        delimiter: one character.
        quote: one character; empty if there is no quoting.
        encoding: Python's name of it.
        escape: the character before quotation marks inside fields; empty if they are doubled.
        has_header: whether the first record looks like column names. A guess that decides nothing in `read`.
    """

    delimiter: str
    quote: str
    encoding: str
    has_header: bool
    escape: str = ""

    @property
    def fixed(self) -> Dialect:
        """This dialect as one that was given, so that nothing is detected again."""
        return Dialect(delimiter=self.delimiter, quote=self.quote, encoding=self.encoding, escape=self.escape)

    @property
    def marks(self) -> Marks:
        """Delimiter and quotation mark as they stand in the file's UTF-8, once its escapes are rewritten."""
        return Marks(self.delimiter.encode(), self.quote.encode())


def sniff(sample: bytes, format_name: str = "csv", given: Dialect = NOTHING_GIVEN, *, whole: bool = False) -> Sniffed:
    """Detects the dialect from the beginning of a file; values in `given` are used unchanged, but see `encoding.given`.

    The same sample gives the same result. A delimiter other than the format's default must fit the sample better.

    Args:
        whole: the sample is the whole file.

    Raises:
        UsageError: the delimiter or quotation mark is not one ASCII character, or the encoding is not known.
    """
    codec = encoding.guessed(sample) if given.encoding is None else encoding.given(given.encoding, sample)
    text = _beginning(sample, codec)
    named = SEPARATOR_LINE.match(text)
    if named and text[named.end() : named.end() + 1] in (b"\r", b"\n"):
        text = BLANK_LINES.sub(b"", text[named.end() :], count=1)
    else:
        named = None
    final = whole and len(sample) <= SHAPE_BYTES
    default = "\t" if format_name == TSV else ","
    quote = ("" if format_name == TSV else '"') if given.quote is None else _one(given.quote, "--quote")
    escape = given.escape
    if escape is None:
        escape = ESCAPE if quote and _escapes(text, given.delimiter or default, quote, final) else ""
    if escape and quote:
        text = doubled(text, escape, quote)
    if given.delimiter is not None:
        delimiter = _one(given.delimiter, "--delimiter")
    else:
        told = named[1].decode() if named and named[1] and named[1] in DELIMITERS.encode() else ""
        delimiter = told or (default if format_name == TSV else _delimiter(text, default, quote, final))
    if delimiter == quote or not delimiter:
        raise UsageError(f"--delimiter: {delimiter!r} is not allowed. Use one character other than the quotation mark.")
    if given.quote is None and quote and _quotes_singly(text, delimiter, final):
        quote = "'"
    has_header = _has_header(text, delimiter, quote, final)
    return Sniffed(delimiter=delimiter, quote=quote, encoding=codec, has_header=has_header, escape=escape if quote else "")


def announce(source: Source, found: Sniffed, given: Dialect) -> None:
    """Logs what was found out about a file and is not usual for its format."""
    if given.encoding is None and found.encoding != encoding.UTF8:
        log.warning(
            "%s is not UTF-8; reading it as %s. If characters look wrong, set the encoding with --encoding.",
            source.name,
            found.encoding,
            extra=AS_IT_IS,
        )
    elif given.encoding is not None and found.encoding != encoding.checked(given.encoding):
        log.info("%s is %s, so it is not read as %s (--encoding).", source.name, found.encoding, given.encoding)
    usual = ("\t", "") if source.format == TSV else (",", '"')
    if (given.delimiter is None and found.delimiter != usual[0]) or (given.quote is None and found.quote != usual[1]):
        log.info(
            "%s: detected delimiter %s and quotation mark %s; override them with --delimiter and --quote.",
            source.name,
            NAMES.get(found.delimiter, repr(found.delimiter)),
            found.quote or "none",
        )
    if given.escape is None and found.escape:
        log.info(
            "%s: quotation marks inside fields have %s before them; if they are doubled, use --escape none.",
            source.name,
            found.escape,
        )


def _one(character: str, option: str) -> str:
    if len(character) > 1 or not character.isascii() or character in ("\r", "\n", "\0"):
        raise UsageError(f"{option}: {character!r} is not allowed. Use one ASCII character.")
    return character


def _beginning(sample: bytes, codec: str) -> bytes:
    """The sample's first part as UTF-8, without blank lines and a byte order mark before its first record."""
    try:
        text = next(encoding.utf8_blocks(iter([sample[:SHAPE_BYTES]]), codec), b"")
    except UnicodeError:
        return b""
    return BLANK_LINES.sub(b"", text.removeprefix(BOM_UTF8), count=1)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Fields of the first record, and the share of the records that have as many."""

    width: int
    share: float


def _fit(text: bytes, delimiter: str, quote: str, final: bool) -> _Fit:
    try:
        pieces = split(text, Marks(delimiter.encode(), quote.encode()), final)
    except TooLongError:
        return _Fit(0, 0.0)
    sound = pieces.fault == SOUND
    width = pieces.columns[sound & ~pieces.blank]
    if not len(width):
        return _Fit(text.count(delimiter.encode()) + 1, 0.0)
    faulty = len(pieces) - np.count_nonzero(sound)
    rows = len(width) - 1 + faulty
    return _Fit(int(width[0]), float(np.count_nonzero(width[1:] == width[0])) / rows if rows else 1.0)


def _delimiter(text: bytes, default: str, quote: str, final: bool) -> str:
    """The delimiter that the header has and that gives most records its width; the default where none is better."""
    fits = {delimiter: _fit(text, delimiter, quote, final) for delimiter in DELIMITERS if delimiter != quote}
    several = {delimiter: fit for delimiter, fit in fits.items() if fit.width > 1}
    if not several:
        # A table of one column, in which the delimiter is one that no text has.
        return max(fits, key=lambda delimiter: (fits[delimiter].share, delimiter == default))
    best = max(several, key=lambda delimiter: (several[delimiter].share, several[delimiter].width))
    if default in several and (several[default].share >= NEARLY * several[best].share or several[best].share < ENOUGH):
        return default
    if default not in several and several[best].share < ENOUGH <= fits[default].share:
        return default
    return best


def _escapes(text: bytes, delimiter: str, quote: str, final: bool) -> bool:
    """Whether more records have the header's width where a backslash escapes a quotation mark."""
    if (ESCAPE + quote).encode() not in text:
        return False

    def share(text: bytes) -> float:
        return _fit(text, _delimiter(text, delimiter, quote, final), quote, final).share

    return share(doubled(text, ESCAPE, quote)) > share(text)


def _quotes_singly(text: bytes, delimiter: str, final: bool) -> bool:
    """Whether fields are quoted with apostrophes: no field has the usual mark, and half of the records have those."""
    before = b"(?:^|[\r\n" + re.escape(delimiter.encode()) + b"])"
    if re.search(before + b'"', text):
        return False
    records = len(re.findall(rb"[^\r\n]+", text))
    opened = len(re.findall(before + b"'", text))
    fit = _fit(text, delimiter, "'", final)
    return opened * 2 >= records > 1 and fit.share >= max(NEARLY, _fit(text, delimiter, '"', final).share)


def _has_header(text: bytes, delimiter: str, quote: str, final: bool) -> bool:
    """Whether the first record looks like names: short, different, no numbers, and not values of the rows below."""
    try:
        pieces = split(text, Marks(delimiter.encode(), quote.encode()), final)
    except TooLongError:
        return True
    good = np.flatnonzero((pieces.fault == SOUND) & (pieces.columns > 0)).tolist()
    records = [_cells(text[pieces.start[at] : pieces.stop[at]], delimiter, quote) for at in good[:100]]
    if not records:
        return True
    first, below = records[0], records[1:]
    names = [name.strip() for name in first]
    if len(set(names)) < len(names) or any(NUMBER.fullmatch(name) or len(name) > MAX_NAME for name in names):
        return False
    return not any(name and any(row[at : at + 1] == [name] for row in below) for at, name in enumerate(first))


def _cells(record: bytes, delimiter: str, quote: str) -> list[str]:
    text = io.StringIO(record.decode("utf-8", "replace"), newline="")
    try:
        if quote:
            return next(csv.reader(text, delimiter=delimiter, quotechar=quote), [])
        return next(csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
    except csv.Error:  # a field longer than the module takes
        return []
