"""What unlabelled reviews are worth: which reviews keep their labels, and the harness in small."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.order.folds import folds_of
from tests.benchmarks import unlabelled
from tests.benchmarks.nights_reviews import generated
from tests.benchmarks.unlabelled import ALL, FOLD, FOLDS, NOTES, with_few_labels

REVIEWS = generated(60)


def test_the_fold_and_so_many_others_keep_their_labels() -> None:
    found = with_few_labels(REVIEWS, 50)
    folds = folds_of([review.id for review in found], [review.film for review in found], FOLDS)
    held = {review.id for review, fold in zip(found, folds, strict=True) if fold == FOLD}
    labelled = {review.id for review in found if review.label is not None}
    assert held and held < labelled and len(labelled - held) == 50
    assert [replace(review, label="") for review in found] == [replace(review, label="") for review in REVIEWS]
    more = {review.id for review in with_few_labels(REVIEWS, 80) if review.label is not None}
    assert labelled < more, "those of fewer labels are among them"
    assert with_few_labels(REVIEWS, ALL) == REVIEWS
    with pytest.raises(ValueError, match="700 labels: only"):
        with_few_labels(REVIEWS, 700)


@pytest.mark.benchmark
def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(tmp_path), "lm", "nbsvm", "--labels", "100", "--seed", "0"]
    notes = unlabelled.main(options, REVIEWS)
    assert [note["setting"] for note in notes] == ["lm", "nbsvm"]
    assert notes[0]["alone"] is not None and notes[1]["alone"] is None
    assert (tmp_path / "labels-100/lm.minutes").exists()
    assert "| 100 | lm |" in capsys.readouterr().out
    assert unlabelled.main(options) == notes == [json.loads(line) for line in (tmp_path / NOTES).read_text().splitlines()]
