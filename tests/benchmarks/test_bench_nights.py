"""The simulated nights on generated text: the cut of the reviews, and the harness from the first delivery to the table."""

from pathlib import Path

import pytest

from tests.benchmarks import nights
from tests.benchmarks.nights_reviews import Review, generated, supply


def test_nights_follow_the_topic_and_never_have_a_film_of_the_holdout() -> None:
    reviews = generated(60)
    found = supply(reviews, old=300, new=50, nights=3, holdout=0.2)
    assert (len(found.old), [len(night) for night in found.nights], found.labelled) == (300, [50, 50, 50], 50)
    places = [review.place for review in found.old] + [review.place for night in found.nights for review in night]
    assert places == sorted(places)
    films = {review.film for review in found.holdout}
    assert films and films.isdisjoint(review.film for part in (found.old, *found.nights) for review in part)
    used = [review.id for part in (found.old, *found.nights) for review in part]
    assert len(used) == len(set(used))
    again = supply(list(reversed(reviews)), old=100, new=20, nights=2, holdout=0.2)
    assert {review.film for review in again.holdout} == films, "it depends on the films alone"
    before, after = found.old, [review for night in found.nights for review in night]
    old, later = ([int(review.film.removeprefix("film-")) for review in part] for part in (before, after))
    assert abs(sum(old) / len(old) - sum(later) / len(later)) > 10, "the words have shifted"


def test_unlabelled_reviews_fill_the_nights() -> None:
    reviews = generated(40)
    spare = [Review(f"more-{review.id}", review.text, None, f"other-{review.film}") for review in generated(40, seed=1)]
    found = supply(reviews + spare, old=250, new=60, nights=2, holdout=0.1)
    assert found.labelled < 60
    for night in found.nights:
        assert len(night) == 60
        assert sum(review.label is not None for review in night) == found.labelled
    with pytest.raises(ValueError, match="too few"):
        supply(reviews, old=250, new=60, nights=2, holdout=0.1)
    with pytest.raises(ValueError, match="too few for 400 old ones"):
        supply(reviews, old=400, new=1, nights=1, holdout=0.1)


@pytest.mark.benchmark
def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--generated", "--folder", str(tmp_path), "--old", "300", "--new", "40", "--nights", "1", "--epochs", "2"]
    result = nights.main([*options, "--series", "rebuilt-warm"])
    first, second = result["nights"]
    assert first["init_from"] is None and second["init_from"]["model_id"] == first["model_id"]
    assert second["vocabulary"] != first["vocabulary"]
    assert second["unknown_holdout"] <= first["unknown_holdout"]
    assert (first["epochs"], second["epochs"]) == (2, 1)
    assert "| night: accuracy | rebuilt-warm |" in capsys.readouterr().out
    assert nights.main([*options, "--series", "rebuilt-warm"])["nights"] == [first, second], "it goes on where it was"
    with pytest.raises(SystemExit, match="has the nights of other options"):
        nights.main([*options, "--epochs", "3"])
