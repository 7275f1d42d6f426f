"""Tables whose quotation marks inside fields have a backslash before them, as Spark and MySQL write them.

RFC 4180 doubles a quotation mark inside a quoted field; these programs write `\\"`, and `\\\\` for a backslash. Rewritten
to doubled marks, such a table reads as any other. Line ends stay, so rows keep their numbers.
"""

import re
from collections.abc import Iterator

ESCAPE = "\\"
"""What is detected; another one can be given."""


def doubled(data: bytes, escape: str, quote: str) -> bytes:
    """`data` with escaped quotation marks doubled, and escaped escapes single."""
    mark, sign = quote.encode(), escape.encode()
    pattern = re.compile(re.escape(sign) + b"([" + re.escape(mark) + re.escape(sign) + b"])")
    return pattern.sub(lambda match: mark + mark if match[1] == mark else sign, data)


def doubled_blocks(blocks: Iterator[bytes], escape: str, quote: str) -> Iterator[bytes]:
    """The blocks of a table as `doubled` rewrites them; an escape at a block's end waits for what it escapes."""
    if not escape:
        yield from blocks
        return
    sign = escape.encode()
    rest = b""
    for block in blocks:
        data = rest + block
        open_escapes = len(data) - len(data.rstrip(sign))
        rest = sign if open_escapes % 2 else b""
        yield doubled(data[: len(data) - len(rest)], escape, quote)
    if rest:
        yield rest
