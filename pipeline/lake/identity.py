r"""When two reviews are the same: what a content digest is taken of, byte for byte.

A review's place (`review_id`) says which review it is; its content digest says whether it is unchanged. Digests are stored
in every lake, so what stands here never changes.

`content_sha256` is the hexadecimal SHA-256, in lower case, of these bytes:

1. the text, as it was read (UTF-8; nothing is normalised);
2. a byte 0, which no text holds;
3. `[LABEL, STARS, SPLIT, GROUP]` in UTF-8: four values between brackets, each followed by a comma and a blank but the last;
   of a review with a number for regression, five: `[LABEL, STARS, SPLIT, GROUP, TARGET]`.

A value is written

- as `None` if it is missing;
- as decimal digits, after `-` if negative, if it is a whole number (stars);
- as the shortest decimal that gives the same double, as Python's `repr` writes it (`7.0`, `1e-07`), if it is a target;
- else as a quoted string. The quotation mark is `'`, or `"` if the string contains `'` but no `"`. Inside, a backslash
  precedes each backslash and each quotation mark of the kind around it; tab, line feed and carriage return are
  `\t`, `\n`, `\r`; all other characters that are not printable (`lake.unprintable`) are given by their code point, in
  lower case hexadecimal: `\xNN` below 256, `\uNNNN` below 65,536, else `\UNNNNNNNN`. All others are unchanged.

So a review "Good." with the label pos, 9 stars, in the split train, without a group, is digested as

    Good.<byte 0>['pos', 9, 'train', None]

Groups from a separate file (`urls_*.txt` of aclImdb) count as none: in an archive, that file may follow the reviews.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache

from pipeline.lake.unprintable import unprintable

Value = str | int | float | None
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def content_sha256(
    text: bytes, label: str | None, stars: int | None, split: str | None, group: str | None, target: float | None = None
) -> str:
    """The digest of one review; see the module's text for what is digested."""
    return content_digests([text], [label], [stars], [split], [group], [target])[0]


def content_digests(
    texts: Iterable[bytes],
    labels: Sequence[str | None],
    stars: Sequence[int | None],
    splits: Sequence[str | None],
    groups: Sequence[str | None],
    targets: Sequence[float | None] | None = None,
) -> list[str]:
    """`content_sha256` of each review; equal facts of several reviews are written once."""
    written: dict[tuple[Value, ...], bytes] = {}
    digests = []
    beside: Iterable[tuple[Value, ...]] = zip(labels, stars, splits, groups, strict=True)
    if targets is not None:
        numbers = ((() if target is None else (float(target),)) for target in targets)
        beside = (facts + number for facts, number in zip(beside, numbers, strict=True))
    for text, facts in zip(texts, beside, strict=True):
        suffix = written.get(facts)
        if suffix is None:
            suffix = written[facts] = _facts(facts)
        digests.append(hashlib.sha256(text + suffix).hexdigest())
    return digests


def _facts(values: Iterable[Value]) -> bytes:
    return b"\0[" + ", ".join(map(_literal, values)).encode() + b"]"


def _literal(value: Value) -> str:
    if value is None:
        return "None"
    if isinstance(value, int | float):
        return repr(value)
    if value.isascii() and value.isprintable() and "'" not in value and "\\" not in value:  # nothing to escape
        return f"'{value}'"
    mark = '"' if "'" in value and '"' not in value else "'"
    return mark + _to_escape(mark).sub(_escaped, value) + mark


@cache
def _to_escape(mark: str) -> re.Pattern[str]:
    ranges = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in unprintable())
    return re.compile(f"[{mark}\\\\{ranges}]")


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in "\\'\"":
        return "\\" + character
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
