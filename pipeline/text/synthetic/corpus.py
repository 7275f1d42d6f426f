"""Arranges synthetic reviews like aclImdb: `train/neg/17_3.txt`, and `train/urls_neg.txt`, whose line 17 is its film.

Films of train and test are disjoint. As in real data, most reviews of a film agree, so its name predicts reviews of the
same film only: a validation split that separates reviews of a film overestimates accuracy.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.text.synthetic import words
from pipeline.text.synthetic.reviews import Pen, write_review

CLASSES: dict[int, dict[str, tuple[int, ...]]] = {
    2: {"neg": (1, 2, 3, 4), "pos": (7, 8, 9, 10)},
    3: {"neg": (1, 2, 3, 4), "neutral": (5, 6), "pos": (7, 8, 9, 10)},
    5: {"1-awful": (1, 2), "2-poor": (3, 4), "3-fair": (5, 6), "4-good": (7, 8), "5-superb": (9, 10)},
}
"""Labels (the folders' names) and their stars, by number of classes."""

REVIEWS_PER_FILM = 8
ROOT = "aclImdb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """What to write. Numbers are in reviews; `noise` is the share of reviews whose label contradicts their text."""

    reviews: int = 2000
    test_reviews: int = 1000
    unsup: int = 500
    classes: int = 2
    noise: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise UsageError(f"--classes {self.classes}: expected one of {', '.join(map(str, CLASSES))}.")
        if self.reviews < self.classes:
            raise UsageError(f"--reviews {self.reviews}: expected at least one for each of the {self.classes} classes.")
        for option, value in (("--test-reviews", self.test_reviews), ("--unsup", self.unsup)):
            if value < 0:
                raise UsageError(f"{option} {value}: expected 0 or more.")
        if not 0 <= self.noise <= 0.5:
            raise UsageError(f"--noise {self.noise}: expected a share from 0 to 0.5.")

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yields every file as its path below the corpus's folder, with slashes, and its bytes."""
        for split, count in (("train", self.reviews), ("test", self.test_reviews)):
            labels = CLASSES[self.classes]
            for place, (label, stars) in enumerate(labels.items()):
                share = count // len(labels) + (place < count % len(labels))
                yield from self._folder(split, label, stars, share, count)
        yield from self._folder("train", "unsup", tuple(range(1, 11)), self.unsup, self.unsup)

    def review(self, split: str, label: str, number: int, stars: tuple[int, ...], films: range) -> tuple[int, int, str]:
        """One review: its stars according to its label, its film's number, its text."""
        pen = Pen(f"{self.seed}/{self.classes}/{split}/{label}/{number}")
        given = stars[pen.below(len(stars))]
        meant = given
        if label != "unsup" and pen.chance(self.noise):
            others = [star for group in CLASSES[self.classes].values() if given not in group for star in group]
            meant = others[pen.below(len(others))]
        film = _film(pen, films, given)
        return given, film, write_review(pen, meant, film_title(film))

    def _folder(self, split: str, label: str, stars: tuple[int, ...], count: int, of: int) -> Iterator[tuple[str, bytes]]:
        if not count:
            return
        urls = []
        films = films_of(split, of)
        for number in range(count):
            given, film, text = self.review(split, label, number, stars, films)
            urls.append(f"http://films.example/title/tt{film:07d}/usercomments\n")
            yield f"{split}/{label}/{number}_{0 if label == 'unsup' else given}.txt", text.encode()
        yield f"{split}/urls_{label}.txt", "".join(urls).encode()


def films_of(split: str, reviews: int) -> range:
    """The films of a split: odd thousands for test, even ones for the rest."""
    first = 1_000_000 if split == "test" else 0
    return range(first, first + max(1, min(reviews // REVIEWS_PER_FILM, 999_999)))


def film_title(film: int) -> str:
    """A film's title. There are many films but few words, so titles share words, as real ones do."""
    pen = Pen(f"film/{film}")
    adjective, noun = pen.pick(words.TITLE_ADJECTIVES), pen.pick(words.TITLE_NOUNS)
    forms = (
        f"The {adjective} {noun}",
        f"{adjective} {noun}",
        f"{noun} of {pen.pick(words.PLACES)}",
        f"{pen.pick(words.FIRST_NAMES)} and the {noun}",
        f"{adjective} {noun} {2 + pen.below(3)}",
    )
    return pen.pick(forms)


def _film(pen: Pen, films: range, stars: int) -> int:
    """A film for a review with this many stars. Three in four reviews of a film agree."""
    film = films[pen.below(len(films))]
    for _ in range(3):
        leans_to_good = hashlib.sha256(f"lean/{film}".encode()).digest()[0] % 2 == 1
        if leans_to_good == (stars > 5) or pen.chance(1 / 3):
            return film
        film = films[pen.below(len(films))]
    return film
