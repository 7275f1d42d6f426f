"""Reviews for simulated nights: films in the order of a topic, cut into what a lake has and what comes each night.

The topic is the first principal direction of the films' words (tf-idf over the labelled films) that does not go with the
label, so the films of the last nights are the least like those of the first: of the IMDb reviews, those of television, war,
musicals and westerns come first, and those of horror last. The holdout is chosen by the hash of the film, over the whole of
the topic, and no night has one of its films.
"""

import hashlib
import math
import random
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

WORD = re.compile(r"[a-z']+")
NAME = re.compile(r"train/(neg|pos|unsup)/(\d+)_\d+\.txt$")
FILMS = re.compile(r"train/urls_(neg|pos|unsup)\.txt$")
COLUMNS = ("id", "text", "label", "group", "split")


@dataclass(frozen=True)
class Review:
    """`label` None: unlabelled. `place`: where its film lies on the topic."""

    id: str
    text: str
    label: str | None
    film: str
    place: float = 0.0


@dataclass(frozen=True)
class Supply:
    """What a lake has before the first night, what comes in each, and the holdout. `labelled`: reviews a night; the others
    are unlabelled, because there are no more."""

    old: list[Review]
    nights: list[list[Review]]
    holdout: list[Review]
    labelled: int


def supply(reviews: Iterable[Review], *, old: int, new: int, nights: int, holdout: float) -> Supply:
    """Cuts the reviews.

    Raises:
        ValueError: there are too few of them.
    """
    placed = _placed(list(reviews))
    held = [review for review in placed if review.label is not None and _share(review.film) < holdout]
    films = {review.film for review in held}
    rest = [review for review in placed if review.film not in films]
    labelled = [review for review in rest if review.label is not None]
    each = min(new, (len(labelled) - old) // nights)
    if each < 1:
        raise ValueError(f"{len(labelled):,} labelled reviews beside the holdout are too few for {old:,} old ones")
    later = labelled[old : old + each * nights]
    unlabelled = [review for review in rest if review.label is None and review.place >= later[0].place]
    if len(unlabelled) < (new - each) * nights:
        raise ValueError(f"{len(unlabelled):,} unlabelled reviews are too few for {new - each:,} a night")
    thinned = unlabelled[:: max(1, len(unlabelled) // max(1, (new - each) * nights))]
    found = [
        later[night * each : (night + 1) * each] + thinned[night * (new - each) : (night + 1) * (new - each)]
        for night in range(nights)
    ]
    return Supply(labelled[:old], found, held, each)


def write_reviews(path: Path, reviews: Sequence[Review]) -> Path:
    """Writes a delivery: id, text, label, group (the film), split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "id": [review.id for review in reviews],
        "text": [review.text for review in reviews],
        "label": pa.array([review.label for review in reviews], pa.string()),
        "group": [review.film for review in reviews],
        "split": ["unsup" if review.label is None else "train" for review in reviews],
    }
    pq.write_table(pa.table(columns), path)
    return path


def archived(path: Path, *, unlabelled: bool) -> list[Review]:
    """The labelled reviews of the IMDb archive, and the unlabelled ones if they are needed."""
    found: list[tuple[str, int, str]] = []
    films: dict[str, list[str]] = {}
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if match := FILMS.search(member.name):
                films[match[1]] = _text(tar, member).split()
            elif (match := NAME.search(member.name)) and (unlabelled or match[1] != "unsup"):
                found.append((match[1], int(match[2]), _text(tar, member)))
    found.sort(key=lambda entry: entry[:2])
    return [
        Review(f"{side}/{number}", text, None if side == "unsup" else side, films[side][number])
        for side, number, text in found
    ]


def generated(films: int, reviews_per_film: int = 10, seed: int = 0) -> list[Review]:
    """Reviews of films whose words change slowly from the first film to the last."""
    random_of = random.Random(seed)
    found = []
    for film in range(films):
        topic = [f"topic{'abcdefghij'[(film * 40 // films + step) // 10 % 10]}{step % 7}x" for step in range(20)]
        for number in range(reviews_per_film):
            label = random_of.choice(("neg", "pos"))
            words = random_of.choices(topic, k=30) + random_of.choices(LIKED[label], k=6)
            random_of.shuffle(words)
            found.append(Review(f"{film}-{number}", " ".join(words), label, f"film-{film}"))
    return found


LIKED = {"neg": ("dull", "weak", "flat", "poor"), "pos": ("fine", "great", "moving", "rich")}


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member)
    assert file is not None
    return file.read().decode()


def _placed(reviews: list[Review]) -> list[Review]:
    """The reviews in the order of the topic, those of a film together."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    labels: dict[str, list[str]] = defaultdict(list)
    for review in reviews:
        counts[review.film].update(WORD.findall(review.text.lower()))
        if review.label is not None:
            labels[review.film].append(review.label)
    labelled = labels.keys()
    of_films = Counter(word for film in labelled for word in counts[film])
    words = {
        word: column
        for column, word in enumerate(
            sorted(word for word, films in of_films.items() if max(2, len(labelled) // 100) <= films <= len(labelled) * 0.5)
        )
    }
    weights = torch.tensor([math.log(len(labelled) / of_films[word]) for word in words])
    names = sorted(labelled)
    matrix = torch.stack([_row(counts[film], words, weights) for film in names])
    mean = matrix.mean(dim=0)
    first = min(label for film in names for label in labels[film])
    shares = torch.tensor([labels[film].count(first) / len(labels[film]) for film in names])
    shares -= shares.mean()
    # Without what goes with the label: the words of bad films would be the topic.
    of_labels = torch.outer(shares, shares @ matrix / (shares @ shares).clamp_min(1e-12))
    torch.manual_seed(0)
    _, _, directions = torch.svd_lowrank(matrix - mean - of_labels, q=4, niter=4)
    direction = directions[:, 0]
    place = {film: float((_row(words_of, words, weights) - mean) @ direction) for film, words_of in counts.items()}
    found = [replace(review, place=place[review.film]) for review in reviews]
    return sorted(found, key=lambda review: (review.place, review.film, review.id))


def _row(counts: Counter[str], words: dict[str, int], weights: torch.Tensor) -> torch.Tensor:
    """A film's words: log-frequency times inverse frequency over films, of length 1."""
    row = torch.zeros(len(words))
    for word, count in counts.items():
        if word in words:
            row[words[word]] = 1 + math.log(count)
    row *= weights
    return row / row.norm().clamp_min(1e-12)


def _share(film: str) -> float:
    """A number from 0 to 1 that depends on the film alone."""
    return int.from_bytes(hashlib.sha256(b"nights-1:" + film.encode()).digest()[:8], "big") / 2**64
