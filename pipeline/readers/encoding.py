"""The encoding of text files: guessed from a sample, and a stream turned into UTF-8 block by block."""

import codecs
import re
from codecs import BOM_UTF8
from collections.abc import Iterator

from pipeline.errors import UsageError

UTF8 = "utf-8"
WESTERN = "cp1252"
"""What a text of Latin letters that is not UTF-8 is taken for: Excel's encoding in the West."""
OTHERS = ("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp874")
"""Encodings of other scripts than Latin, which can be told from it."""
MARKS = (  # UTF-32's begins with that of UTF-16
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ASCII_LETTER = re.compile("[A-Za-z]")
FOREIGN_BYTE = re.compile("[\udc80-\udcff]")
"""As `surrogateescape` stands for a byte that the encoding does not have."""
NOT_ASCII = re.compile("[^\x00-\x7f]")
IDEOGRAPH = re.compile("[\u3040-\u9fff\uac00-\ud7a3]")
FEWEST_LETTERS = 4
"""Fewer letters of two bytes each may be UTF-8 and ideographs at once."""
GUESSED_BYTES = 64 << 10
"""As much text with other than ASCII letters is shown to the guesser."""


def checked(name: str) -> str:
    """The codec's own name for an encoding, `utf-8` for ASCII, its part.

    Raises:
        UsageError: there is no such encoding of text.
    """
    try:
        codec = codecs.lookup(name)
        "a".encode(codec.name)
    except (LookupError, UnicodeError, ValueError, TypeError) as error:
        raise UsageError(
            f"--encoding: {name!r} is unknown. Use one that Python supports, such as utf-8, utf-16, cp1252 or shift_jis."
        ) from error
    return UTF8 if codec.name in ("ascii", "utf-8-sig") else codec.name


def guessed(sample: bytes) -> str:
    """The encoding of a file that begins with `sample`: by its byte order mark, else by what its bytes can be.

    A sample that is UTF-8 but for a few bytes is UTF-8: those are faults of their rows.
    """
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if wide := _wide(sample):
        return wide
    if sample.isascii():
        return UTF8
    decoded = codecs.getincrementaldecoder(UTF8)("surrogateescape").decode(sample)
    foreign = len(FOREIGN_BYTE.findall(decoded))
    if not foreign or foreign * 2 <= len(NOT_ASCII.findall(decoded)):
        return UTF8
    lines = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())[:GUESSED_BYTES]
    import charset_normalizer  # only now: it is slow to import, and most files are UTF-8

    best = charset_normalizer.from_bytes(lines, cp_isolation=[WESTERN, *OTHERS], enable_fallback=False).best()
    return WESTERN if best is None or _mixes_scripts(str(best)) else best.encoding


def given(name: str, sample: bytes) -> str:
    """The encoding of a file that begins with `sample` where `name` was given: that, unless the file has the byte order mark
    of another one, or letters beyond ASCII that are UTF-8. Of text in another encoding that is hardly ever so.

    Raises:
        UsageError: see `checked`.
    """
    codec = checked(name)
    for mark, marked in MARKS:
        if sample.startswith(mark):
            return marked
    if codec == UTF8 or codec.startswith("utf") or sample.isascii():
        return codec
    try:
        text = codecs.getincrementaldecoder(UTF8)().decode(sample)
    except UnicodeDecodeError:
        return codec
    return UTF8 if len(NOT_ASCII.findall(text)) >= (FEWEST_LETTERS if _has_ideographs(codec) else 1) else codec


def _has_ideographs(codec: str) -> bool:
    try:
        return bool("中".encode(codec))
    except UnicodeError:
        return False


def likely_encoding(text: bytes) -> str:
    """`WESTERN` for a text that can be that and has no character of UTF-8 beyond ASCII; "" for any other."""
    decoded = text.decode(UTF8, "surrogateescape")
    if len(FOREIGN_BYTE.findall(decoded)) < len(NOT_ASCII.findall(decoded)):
        return ""
    try:
        text.decode(WESTERN)
    except UnicodeDecodeError:
        return ""
    return WESTERN


def utf8_blocks(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Blocks of text in UTF-8, without a byte order mark.

    Bytes that the encoding does not know stay as they are, which is not UTF-8: a fault of their row.

    Raises:
        UnicodeError: it is not in that encoding.
    """
    if encoding != UTF8:
        blocks = _transcoded(blocks, encoding)
    start = b""
    for block in blocks:
        start += block
        if len(start) >= len(BOM_UTF8) or not BOM_UTF8.startswith(start):
            yield start.removeprefix(BOM_UTF8)
            yield from blocks
            return
    yield start


def _transcoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    errors = "surrogatepass" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for block in blocks:
        yield decoder.decode(block).encode(UTF8, errors)
    yield decoder.decode(b"", final=True).encode(UTF8, errors)


def _mixes_scripts(text: str) -> bool:
    """Whether words have letters of Latin and of another alphabet: `żałuję`, read as Arabic, has."""
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii() and not IDEOGRAPH.search(word)]
    return sum(ASCII_LETTER.search(word) is not None for word in words) * 5 > len(words) > 0


def _wide(sample: bytes) -> str | None:
    """UTF-16 without its mark: of Latin text every other byte is zero."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if half < 4 or max(even, odd) < half * 0.4 or min(even, odd) > half * 0.05:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"
