"""Star scales, and the classes usually derived from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from pipeline.inspection.names import listed, plain

STARS = listed(
    "stars star rating score overall grade sterne bewertung note etoiles puntuacion calificacion valoracion estrellas nota "
    "avaliacao estrelas voto valutazione stelle sterren waardering betyg ocena puan оценка рейтинг 评分 星级 評価 별점 평점"
)
"""Words in names of star columns."""
MOST_VALUES = 21
"""From 0 to 10 in steps of a half."""


STRAY_SHARE = 0.2
"""A column of stars may have up to this share of other values, such as `n/a`."""


def stray_values(counts: Mapping[str, int]) -> dict[str, int]:
    """Values that are not numbers, with their counts."""
    return {value: count for value, count in counts.items() if not _is_number(value)}


def are_few(strays: Mapping[str, int], counts: Mapping[str, int]) -> bool:
    """Whether a column with these values is one of stars although it has the strays."""
    return sum(strays.values()) <= STRAY_SHARE * sum(counts.values())


def _is_number(value: str) -> bool:
    try:
        return isfinite(float(value))
    except ValueError:
        return False


@dataclass(frozen=True)
class Scale:
    """The classes usually derived from a scale, as for `--label-map`, and its middle, as for `--skip-labels`."""

    label_map: str
    skip_labels: str


def stars_scale(name: str, values: Iterable[str]) -> Scale | None:
    """`neg=1,2 pos=4,5` without 3 for stars from 1 to 5, `neg=1..4 pos=7..10` without 5 and 6 for 1 to 10, as in IMDb. None
    if the values are not a star scale.

    A column without a name for stars must have nearly all values of a scale.
    """
    try:
        numbers = sorted(float(value) for value in values)
    except ValueError:
        return None
    if not numbers or len(numbers) > MOST_VALUES or any(number * 2 % 1 for number in numbers):
        return None
    low, high = numbers[0], numbers[-1]
    halves = any(number % 1 for number in numbers)
    named = bool(STARS & set(plain(name).split("_")))
    if high <= 5:
        if low < (0.5 if halves else 1) or high < 4 or (not named and len(numbers) < 4):
            return None
        return Scale(f"neg={'0.5' if low < 1 else '1'}..2 pos=4..5", "2.5..3.5") if halves else Scale("neg=1,2 pos=4,5", "3")
    if low < 0 or high > 10 or high < 8 or len(numbers) < (4 if named else 8):
        return None
    return Scale(f"neg={'0' if low < 1 else '1'}..4 pos=7..10", "4.5..6.5" if halves else "5,6")
