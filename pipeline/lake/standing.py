"""Which row that came back a retracted row stands for, in a file without a column of IDs.

There a row is known by its place. A retracted row may stay in its file, and what it had replaced is back in the table at its
place; when lines are inserted or removed above, both move together, though the file has only the retracted one.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pyarrow as pa

STANDING_SCHEMA = pa.schema(
    [pa.field("source", pa.string()), pa.field("row", pa.int64()), pa.field("stands_for", pa.uint64())]
)
"""Where a retracted row stands, and the content that the table has in its place."""
Contents = Mapping[int, int]
"""Row → content."""


def standing_for(brought: Contents, restored: Contents) -> dict[int, int]:
    """Row → content that came back, for rows of one file that a retracted run brought and that took the place of others.

    Args:
        brought: what the run brought. What it only moved is told by its content.
        restored: what was there before, and comes back, or what is there `past_the_end`.
    """
    moved = _moved(brought, restored)
    came_back = set(moved.values())
    left = sorted(row for row in restored if row not in came_back)
    found: dict[int, int] = {}
    for rows, first, end in _gaps(brought, restored, moved):
        between = left[bisect_right(left, first) : bisect_left(left, end)]
        # If lines were removed or inserted here, too, any of them may be the one that is missing or new.
        likely = between[max(0, len(between) - len(rows)) :]
        found.update((row, restored[old]) for row, old in zip(rows, likely, strict=False))
    return found


def past_the_end(brought: Contents, restored: Contents) -> range:
    """The rows that the file seems to have lost at its end when its lines moved up. What the table had there has stayed, so
    it is not among the restored. If the table has the first row after them, too, the file went on, and lost none."""
    moved = _moved(brought, restored)
    last = max(moved, default=0)
    end = max(brought, default=0) + 1
    return range(end, end + max(0, moved.get(last, 0) - last))


def _moved(brought: Contents, restored: Contents) -> dict[int, int]:
    """The row where it was → of each row that says the same as one that comes back, in their order."""
    where = defaultdict[int, list[int]](list)
    for row in sorted(restored, reverse=True):
        where[restored[row]].append(row)
    return {row: where[brought[row]].pop() for row in sorted(brought) if where.get(brought[row])}


def _gaps(brought: Contents, restored: Contents, moved: Mapping[int, int]) -> Iterator[tuple[list[int], int, float]]:
    """Runs of rows that are not moved ones, and where the rows around them were: places of what they may stand for lie in
    between."""

    def was(row: int) -> int | None:
        """Where a row was, of which that is known: one that moved, or that nobody touched."""
        if row in brought:
            return moved.get(row)
        return None if row in restored else row

    changed = sorted(row for row in brought if row not in moved)
    last = max(max(brought, default=0), max(restored, default=0))
    at = 0
    while at < len(changed):
        end = at + 1
        while end < len(changed) and all(was(row) is None for row in range(changed[end - 1] + 1, changed[end])):
            end += 1
        before, after = changed[at] - 1, changed[end - 1] + 1
        while before >= 0 and was(before) is None:
            before -= 1
        while after <= last and was(after) is None:
            after += 1
        first = -1 if before < 0 else was(before)
        beyond = float("inf") if after > last else was(after)
        assert first is not None and beyond is not None
        yield changed[at:end], first, beyond
        at = end
