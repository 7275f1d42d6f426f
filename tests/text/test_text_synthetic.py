"""The synthetic corpus: its layout, its determinism, and that word order matters in it."""

import hashlib
import re
from collections import Counter

import pytest

from pipeline.errors import UsageError
from pipeline.text.synthetic.corpus import CLASSES, Corpus
from pipeline.text.synthetic.reviews import Pen, write_review

SMALL = Corpus(reviews=60, test_reviews=30, unsup=20)


def films(files: dict[str, bytes], split: str) -> set[bytes]:
    return {line for name, content in files.items() if name.startswith(f"{split}/urls_") for line in content.splitlines()}


def test_layout_is_that_of_aclimdb() -> None:
    names = [name for name, _ in SMALL.files()]
    assert len(names) == len(set(names)) == 60 + 30 + 20 + 5
    texts = [name for name in names if "/urls_" not in name]
    assert all(
        re.fullmatch(r"(train|test)/(neg/\d+_[1-4]|pos/\d+_([789]|10))\.txt|train/unsup/\d+_0\.txt", n) for n in texts
    )
    assert {name for name in names if "/urls_" in name} == {
        "train/urls_neg.txt",
        "train/urls_pos.txt",
        "train/urls_unsup.txt",
        "test/urls_neg.txt",
        "test/urls_pos.txt",
    }


def test_line_n_of_the_urls_is_the_film_of_review_n() -> None:
    files = dict(SMALL.files())
    assert len(files["train/urls_neg.txt"].splitlines()) == 30
    assert len(files["train/urls_unsup.txt"].splitlines()) == 20
    assert {f"train/neg/{n}" for n in range(30)} == {n.rsplit("_", 1)[0] for n in files if n.startswith("train/neg/")}


def test_films_of_train_and_test_are_disjoint_and_have_several_reviews() -> None:
    files = dict(Corpus(reviews=400, test_reviews=400, unsup=50).files())
    assert not films(files, "train") & films(files, "test")
    assert len(films(files, "train")) < 400 / 3


def test_bytes_are_pinned() -> None:
    """A release that changes the corpus changes what others measured on it: this has to be meant."""
    digest = hashlib.sha256()
    for name, content in SMALL.files():
        digest.update(name.encode() + b"\0" + content + b"\0")
    assert digest.hexdigest() == "46755671f3d8456035e81c526e7d1724002680392b7dc80e0201b55009c8fc42"


def test_another_seed_gives_another_corpus_of_the_same_size() -> None:
    other = Corpus(reviews=60, test_reviews=30, unsup=20, seed=1)
    assert [len(list(corpus.files())) for corpus in (SMALL, other)] == [115, 115]
    assert dict(SMALL.files())["train/urls_pos.txt"] != dict(other.files())["train/urls_pos.txt"]


@pytest.mark.parametrize("classes", list(CLASSES))
def test_classes_are_folders_of_equal_size_whose_stars_fit(classes: int) -> None:
    names = [n for n, _ in Corpus(reviews=61, test_reviews=0, unsup=0, classes=classes).files() if "/urls_" not in n]
    sizes = Counter(name.split("/")[1] for name in names)
    assert set(sizes) == set(CLASSES[classes]) and sum(sizes.values()) == 61
    assert max(sizes.values()) - min(sizes.values()) <= 1
    for name in names:
        assert int(name.rsplit("_", 1)[1].removesuffix(".txt")) in CLASSES[classes][name.split("/")[1]]


def test_texts_look_like_reviews() -> None:
    text = b" ".join(content for name, content in Corpus(reviews=400).files() if "/urls_" not in name).decode()
    assert "<br /><br />" in text and "!!" in text and "wasn't" in text and '"' in text
    assert re.search("[^\x00-\x7f]", text) and re.search(r"\b[A-Z]{4,}\b", text)
    lengths = [len(write_review(Pen(str(n)), 9, "Tide").split()) for n in range(500)]
    assert min(lengths) < 20 and 30 < sorted(lengths)[250] < 70 and max(lengths) > 150


def accuracy_of_bag(corpus: Corpus, words_at_once: int) -> float:
    """Naive Bayes on n-grams, trained on train and evaluated on test: its accuracy."""
    counts = {"neg": Counter[str](), "pos": Counter[str]()}
    tried, right = 0, 0
    for name, content in corpus.files():
        split, label = name.split("/")[:2]
        if "/urls_" in name:
            continue
        tokens = re.findall(r"[\w']+|[.,!?;]", content.decode().lower())
        grams = [" ".join(tokens[i : i + words_at_once]) for i in range(len(tokens) - words_at_once + 1)]
        if split == "train":
            counts[label].update(grams)
            continue
        lean = 1.0
        for gram in grams:
            lean *= (counts["pos"][gram] + 1) / (counts["neg"][gram] + 1)
            lean = min(max(lean, 1e-200), 1e200)
        tried += 1
        right += (lean > 1) == (label == "pos")
    return right / tried


def test_word_order_decides() -> None:
    """Single words are right far less often than runs of three, which catch "not dull" and "but ends sharp"."""
    corpus = Corpus(reviews=3000, test_reviews=600, unsup=0)
    single, triple = accuracy_of_bag(corpus, 1), accuracy_of_bag(corpus, 3)
    assert 0.55 < single < 0.80
    assert triple > single + 0.06


def test_noise_is_the_share_of_contradicting_labels() -> None:
    clean = Corpus(reviews=2000, test_reviews=0, unsup=0, noise=0.0)
    noisy = Corpus(reviews=2000, test_reviews=0, unsup=0, noise=0.2)
    before, after = dict(clean.files()), dict(noisy.files())
    stars = [name for name in before if "/urls_" not in name]
    changed = sum(before[name] != after.get(name) for name in stars)
    assert 0.15 < changed / 2000 < 0.25


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"classes": 4}, "--classes 4"),
        ({"reviews": 1}, "--reviews 1"),
        ({"unsup": -1}, "--unsup -1"),
        ({"test_reviews": -5}, "--test-reviews -5"),
        ({"noise": 0.6}, "--noise 0.6"),
    ],
)
def test_impossible_sizes_are_refused_by_the_name_of_the_option(wrong: dict[str, int], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        Corpus(**wrong)
