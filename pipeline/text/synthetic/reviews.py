"""Writes one review whose verdict depends on the order of its words.

A review states its verdict plainly ("the plot was sharp"), with a negation ("the plot was not dull", "anything but dull"),
or with a contrast whose main clause counts ("it starts sharp but ends dull", "the music is dull, even though the cast is
sharp"). Good and bad words are almost equally frequent in both kinds of reviews, so word counts say little; negations and
main clauses say nearly everything. The same goes for intensity: "very dull" is worse than "rather dull", but "not very
dull" is faint praise. Names, titles (also "The Cold Harbour", "Good Tide") and plots say nothing.
"""

import random
import re
from collections.abc import Callable, Sequence

from pipeline.text.synthetic import words

Verdict = tuple[int, int]
"""Polarity (1 good, -1 bad, 0 middling) and strength (0 weak, 1 strong)."""


BEFORE_VOWEL = re.compile(r"\ba (?=[aeiou]|honest)")


class Pen:
    """A source of randomness for one review. It only calls `random()`, which is the same in all versions of Python."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def below(self, limit: int) -> int:
        """An integer from 0 to limit - 1."""
        return int(self._random() * limit)

    def pick(self, choices: Sequence[str]) -> str:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def shuffled(self, items: list[str]) -> list[str]:
        """The items, shuffled."""
        return [item for _, item in sorted((self._random(), item) for item in items)]


def verdict_of(stars: int) -> Verdict:
    """What a review with 1 to 10 stars says."""
    if stars in (5, 6):
        return 0, 0
    return (1 if stars > 6 else -1), int(stars in (1, 2, 9, 10))


def write_review(pen: Pen, stars: int, title: str) -> str:
    """The text of a review of `title` with 1 to 10 stars. The median is about 55 words; a few have more than 200."""
    polarity, strength = verdict_of(stars)
    count = 2 + pen.below(4) + (pen.below(9) if pen.chance(0.12) else 0)
    if polarity:
        opinions = [_opinion(pen, polarity, strength) for _ in range(count)]
        if count >= 5 and pen.chance(0.2):
            opinions[0] = _opinion(pen, -polarity, 0)
    else:
        sides = [1, -1] * ((count + 1) // 2)
        opinions = [_opinion(pen, side, 0) for side in sides] + [_middling(pen)]
    fillers = [_filler(pen, title) for _ in range(1 + pen.below(count + 2))]
    return _layout(pen, pen.shuffled(opinions + fillers))


def _word(pen: Pen, polarity: int) -> str:
    return pen.pick(words.GOOD if polarity > 0 else words.BAD)


def _degree(pen: Pen, strength: int) -> str:
    """An intensifier followed by a blank, or nothing."""
    return pen.pick(words.STRONG if strength else words.WEAK) + " " if pen.chance(0.6) else ""


def _negation(pen: Pen, strength: int) -> str:
    if pen.chance(0.4):
        return pen.pick(words.PLAIN_NEGATIONS)
    return pen.pick(words.STRONG_NEGATIONS if strength else words.WEAK_NEGATIONS)


def _plain(pen: Pen, polarity: int, strength: int) -> str:
    forms = (
        f"{pen.pick(words.ASPECTS)} is {_degree(pen, strength)}{_word(pen, polarity)}",
        f"{pen.pick(words.ASPECTS)} was {_degree(pen, strength)}{_word(pen, polarity)}",
        f"I found it {_degree(pen, strength)}{_word(pen, polarity)} and {_word(pen, polarity)}",
        f"this is a {_degree(pen, strength)}{_word(pen, polarity)} {pen.pick(words.NOUNS)}",
        f"I {pen.pick(words.LIKED if polarity > 0 else words.DISLIKED)} {pen.pick(words.ASPECTS)}",
    )
    return pen.pick(forms)


def _negated(pen: Pen, polarity: int, strength: int) -> str:
    forms = (
        f"{pen.pick(words.ASPECTS)} is {_negation(pen, strength)} {_word(pen, -polarity)}",
        f"{pen.pick(words.ASPECTS)} was {_negation(pen, strength)} {_word(pen, -polarity)}",
        f"{pen.pick(words.ASPECTS)} wasn't {_word(pen, -polarity)}",
        f"this is not a {_word(pen, -polarity)} {pen.pick(words.NOUNS)}",
        f"I would not call it {_word(pen, -polarity)} or {_word(pen, -polarity)}",
        f"nobody can say that {pen.pick(words.ASPECTS)} is {_word(pen, -polarity)}",
        f"I can't say I {pen.pick(words.DISLIKED if polarity > 0 else words.LIKED)} {pen.pick(words.ASPECTS)}",
    )
    return pen.pick(forms)


def _contrast(pen: Pen, polarity: int, strength: int) -> str:
    here, there = _word(pen, polarity), _word(pen, -polarity)
    aspect, other = pen.pick(words.ASPECTS), pen.pick(words.ASPECTS)
    forms = (
        f"it starts {there}, but the end is {_degree(pen, strength)}{here}",
        f"what begins as a {there} {pen.pick(words.NOUNS)} becomes a {here} one",
        f"although {other} is {there}, {aspect} is {_degree(pen, strength)}{here}, and that is what stays",
        f"{aspect} is {_degree(pen, strength)}{here}, even though {other} is {there}",
        f"I expected something {there} and got something {_degree(pen, strength)}{here}",
        f"it is not {there} but {here}",
        f"some call it {there}; I call it {_degree(pen, strength)}{here}",
    )
    return pen.pick(forms)


def _middling(pen: Pen) -> str:
    forms = (
        f"{pen.pick(words.ASPECTS)} is neither {_word(pen, 1)} nor {_word(pen, -1)}",
        "I have seen better and I have seen worse",
        f"half of it is {_word(pen, 1)}, half of it is {_word(pen, -1)}",
    )
    return pen.pick(forms)


def _opinion(pen: Pen, polarity: int, strength: int) -> str:
    forms: tuple[tuple[float, Callable[[Pen, int, int], str]], ...] = ((0.52, _plain), (0.8, _negated), (1.0, _contrast))
    draw = pen.below(1000) / 1000
    return _ended(pen, next(form for limit, form in forms if draw < limit)(pen, polarity, strength))


def _filler(pen: Pen, title: str) -> str:
    name = f"{pen.pick(words.FIRST_NAMES)} {pen.pick(words.LAST_NAMES)}"
    forms = (
        f"{name} plays {pen.pick(words.JOBS)} who {pen.pick(words.DEEDS)} in {pen.pick(words.PLACES)}",
        f"I saw “{title}” on a {pen.pick(words.DAYS)} with {pen.pick(words.COMPANY)}",
        f'"{title}" runs for {80 + pen.below(70)} minutes',
        f"it was shot in {pen.pick(words.PLACES)} (and a little in {pen.pick(words.PLACES)})",
        f"{name} wrote it, {pen.pick(words.FIRST_NAMES)} {pen.pick(words.LAST_NAMES)} directs",
        f"here {pen.pick(words.JOBS)} {pen.pick(words.DEEDS)} – and so does {pen.pick(words.JOBS)}",
        f"the date is {1 + pen.below(28)}/{1 + pen.below(12)}/{1950 + pen.below(70)}, the place {pen.pick(words.PLACES)}",
    )
    return _ended(pen, pen.pick(forms))


def _ended(pen: Pen, clause: str) -> str:
    clause = BEFORE_VOWEL.sub("an ", clause)
    sentence = clause[0].upper() + clause[1:]
    if pen.chance(0.03):
        sentence = sentence.upper()
    return sentence + pen.pick((".", ".", ".", ".", ".", ".", ".", ".", "!", "...", "!!"))


def _layout(pen: Pen, sentences: list[str]) -> str:
    """Sentences separated by blanks, with an occasional paragraph break, as on the original web pages."""
    parts = [sentences[0]]
    for sentence in sentences[1:]:
        parts += ["<br /><br />" if pen.chance(0.12) else " ", sentence]
    return "".join(parts)
