"""`csv_records` of `_kernels.c` in NumPy, for installations without a compiler."""

import numpy as np
import numpy.typing as npt

LF, CR = 10, 13

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def csv_records(data: bytes, delimiter: int, quote: int, limit: int) -> tuple[Integers, bool]:
    """Finds the records of a CSV that begins with one, up to the first that is incomplete or looks wrong.

    It may stop at a valid record if an unquoted field contains a quotation mark.

    Args:
        delimiter: a byte.
        quote: a byte; -1 without quoting.
        limit: maximum length of a record in bytes.

    Returns:
        (R, 5): start, end of content, start of the next record, number of fields (0 for a blank line), and number of
        line ends in quotes; and whether only the end of the data stopped it.
    """
    block = np.frombuffer(data, np.uint8)
    if not len(block):
        return np.empty((0, 5), np.int64), True
    at = _marks(data, delimiter, quote)
    kind = block[at]
    ends_line = (kind == LF) | (kind == CR)
    ends_line[1:] &= ~((kind[1:] == LF) & (kind[:-1] == CR) & (at[1:] == at[:-1] + 1))  # the LF of a CRLF
    inside, fault_at = _inside(block, at, ends_line, kind == quote, delimiter)
    inner, separates = ends_line & inside, (kind == delimiter) & ~inside
    which = np.flatnonzero(ends_line & ~inside)
    end = len(block) - 1 if block[-1] == CR else len(block)  # that CR may be half of a CRLF
    which = which[: np.searchsorted(at[which], min(fault_at, end))]
    stop = at[which]
    after = stop + 1
    after += (block[stop] == CR) & (block[np.minimum(after, len(block) - 1)] == LF) & (after < len(block))
    start = np.concatenate(([0], after))[: len(after)]
    long = np.flatnonzero(stop - start > limit)
    columns = np.diff(np.cumsum(separates)[which], prepend=0) + 1
    columns[start == stop] = 0
    records = np.stack((start, stop, after, columns, np.diff(np.cumsum(inner)[which], prepend=0)), axis=1)
    return records[: long[0] if len(long) else None], fault_at == len(block) and not len(long)


def _marks(data: bytes, delimiter: int, quote: int) -> Integers:
    """Positions of delimiters, quotation marks and line ends."""
    block = np.frombuffer(data, np.uint8)
    special = (block == delimiter) | (block == LF)
    for mark in (CR, quote):
        if mark >= 0 and mark in data:
            special |= block == mark
    return np.flatnonzero(special)


def _inside(block: Bytes, at: Integers, ends_line: Flags, is_quote: Flags, delimiter: int) -> tuple[Flags, int]:
    """Which of the bytes `at` are in quotes, and the position of the first fault, up to which the answer is valid."""
    inside = np.logical_xor.accumulate(is_quote)
    fault_at = _first_fault(block, at[is_quote], delimiter)
    if fault_at == len(block):
        return inside, fault_at
    # On a line where no field begins with one, quotation marks are text, unless the line itself is in quotes.
    line: Integers = np.cumsum(ends_line) - ends_line
    opens = is_quote & _follows_field_end(block, at, delimiter)
    is_text = is_quote & ~np.isin(line, line[opens])
    inside_then = np.logical_xor.accumulate(is_quote & ~is_text)
    wrong = at[is_text & inside_then]
    fault_then = min(_first_fault(block, at[is_quote & ~is_text], delimiter), int(wrong[0]) if len(wrong) else len(block))
    return (inside_then, fault_then) if fault_then > fault_at else (inside, fault_at)


def _first_fault(block: Bytes, quotes: Integers, delimiter: int) -> int:
    """Position of the first quotation mark that neither opens nor closes a field, and is not one of a pair inside it."""
    if not len(quotes):
        return len(block)
    quote = block[quotes[0]]
    opening, closing = quotes[::2], quotes[1::2]
    opens = _follows_field_end(block, opening, delimiter) | (block[np.maximum(opening - 1, 0)] == quote)
    following = block[np.minimum(closing + 1, len(block) - 1)]
    closes = (following == delimiter) | (following == LF) | (following == CR) | (following == quote)
    closes |= closing == len(block) - 1
    faults = [int(places[np.argmin(fine)]) for places, fine in ((opening, opens), (closing, closes)) if not fine.all()]
    return min(faults, default=len(block))


def _follows_field_end(block: Bytes, at: Integers, delimiter: int) -> Flags:
    before = block[np.maximum(at - 1, 0)]
    follows: Flags = (before == delimiter) | (before == LF) | (before == CR) | (at == 0)
    return follows
