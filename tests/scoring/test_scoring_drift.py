"""The statistics of drift: against known values and SciPy, and what they say of reviews that come by film."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.scoring.drift import (
    FEWEST_REFERENCE_ROWS,
    FEWEST_ROWS,
    Observed,
    Reference,
    Reviews,
    bin_edges,
    compare,
    design_effect,
    make_reference,
    moved,
    stability_index,
    two_sample_p_value,
)

LABELS = ("neg", "pos")
LIMITS = {"psi_limit": 0.1, "p_limit": 0.0001}


def reviews(rows: int, seed: int, length: float = 200.0, unknown: float = 0.03, positive: float = 0.5) -> Reviews:
    """Reviews of independent lengths, unknown tokens and probabilities."""
    generator = np.random.default_rng(seed)
    lengths = generator.poisson(length, rows) + 1
    sure = generator.uniform(0.5, 1, rows)
    first = np.where(generator.random(rows) < positive, 1 - sure, sure)
    return Reviews(lengths, generator.binomial(lengths, unknown), np.stack([first, 1 - first], 1).astype(np.float32))


def observed(reference: Reference, *windows: Reviews) -> Observed:
    found = Observed(reference)
    for window in windows:
        found.add(window)
    return found


def reference(rows: int = 2000) -> Reference:
    return make_reference(reviews(rows, 0), np.arange(rows))


def test_the_stability_index_is_that_of_the_formula() -> None:
    # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
    many = 10_000_000
    now, before = np.array([6, 4]) * many, np.array([5, 5]) * many
    assert stability_index(now, before) == pytest.approx(0.040547, abs=1e-6)
    assert stability_index(now, before) == pytest.approx(stability_index(before, now), abs=1e-6)
    assert stability_index(before, before) == 0


def test_its_expectation_without_drift_is_subtracted() -> None:
    shares = np.array([0.01, 0.04, 0.05, 0.15, 0.25, 0.25, 0.15, 0.05, 0.04, 0.01])
    generator = np.random.default_rng(3)
    draws = zip(generator.multinomial(500, shares, 400), generator.multinomial(2000, shares, 400), strict=True)
    found = [stability_index(now, before) for now, before in draws]
    assert np.mean(found) < 0.01 < 9 * (1 / 500 + 1 / 2000)


def test_empty_bins_are_no_infinity() -> None:
    assert 2 < stability_index(np.array([0, 300]), np.array([2000, 0])) < 100
    assert two_sample_p_value(np.array([0, 300]), np.array([2000, 0])) < 1e-100


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=2, max_size=12))
def test_the_p_value_is_that_of_scipy(counts: list[tuple[int, int]]) -> None:
    table = np.array(counts).T
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert two_sample_p_value(table[0], table[1]) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_bins_without_reviews_on_either_side_do_not_count() -> None:
    assert two_sample_p_value(np.array([30, 0, 70]), np.array([50, 0, 50])) == pytest.approx(
        two_sample_p_value(np.array([30, 70]), np.array([50, 50]))
    )
    assert two_sample_p_value(np.array([5, 0]), np.array([9, 0])) == 1
    assert two_sample_p_value(np.array([0, 0]), np.array([9, 4])) == 1


def test_copies_of_a_review_count_as_one() -> None:
    generator = np.random.default_rng(0)
    bins = generator.integers(0, 5, 400)
    assert design_effect(bins, np.arange(400), 5) == 1
    assert design_effect(np.repeat(bins, 8), np.repeat(np.arange(400), 8), 5) == pytest.approx(8, rel=0.01)
    assert design_effect(bins, generator.integers(0, 80, 400), 5) < 1.5


@given(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=400))
def test_edges_ascend_and_every_value_is_in_a_bin(values: list[float]) -> None:
    edges = bin_edges(np.array(values))
    assert len(edges) >= 1
    assert (np.diff(edges) > 0).all()
    made = make_reference(
        Reviews(
            np.ceil(values).astype(np.int64) + 1, np.zeros(len(values), np.int64), np.full((len(values), 2), 0.5, np.float32)
        ),
        np.arange(len(values)),
    )
    for histogram in made.features.values():
        assert histogram.counts.sum() == len(values)
    assert Reference.from_dict(made.to_dict()).to_dict() == made.to_dict()


def test_reviews_are_described_by_their_tokens() -> None:
    ids = pa.array([[2, 1, 3, 1], None, [], [1, 1], [5]], pa.list_(pa.int32()))
    # As scoring makes them: a review of unknown tokens alone is null, but keeps them.
    ids = pa.ListArray.from_arrays(ids.offsets, ids.values, mask=pa.array([False, True, True, True, False]))
    probabilities = np.array([[0.2, 0.8], [np.nan] * 2, [np.nan] * 2, [np.nan] * 2, [0.9, 0.1]], np.float32)
    found = Reviews.of(ids, probabilities)
    assert found.length_N.tolist() == [4, 2, 1]
    assert found.unknown_N.tolist() == [2, 2, 0]
    assert found.values("prediction").tolist() == [1, 0]
    assert found.values("confidence").tolist() == pytest.approx([0.8, 0.9])
    assert found.values("unknown").tolist() == [0.5, 1, 0]


def test_reviews_of_the_same_kind_have_not_drifted() -> None:
    before = reference()
    found = [compare(observed(before, reviews(500, seed)), **LIMITS) for seed in range(1, 101)]
    assert all(one.measured for one in found)
    assert sum(one.drifted for one in found) == 0


def test_windows_add_up() -> None:
    before, whole = reference(), reviews(600, 1, length=230)
    parts = [Reviews(whole.length_N[a:b], whole.unknown_N[a:b], whole.probability_NC[a:b]) for a, b in ((0, 7), (7, 600))]
    assert compare(observed(before, *parts), **LIMITS) == compare(observed(before, whole), **LIMITS)


@pytest.mark.parametrize(
    ("changed", "feature", "words"),
    [
        ({"length": 300}, "length", "reviews are longer (mean of 300 tokens, not 201)"),
        ({"length": 120}, "length", "reviews are shorter (mean of 121 tokens, not 201)"),
        ({"unknown": 0.14}, "unknown", "of the tokens are unknown instead of 3.0%"),
        ({"positive": 0.9}, "prediction", "are predicted"),
    ],
)
def test_what_has_moved_is_named_and_said_in_words(changed: dict[str, float], feature: str, words: str) -> None:
    before = reference()
    seen = observed(before, reviews(500, 1, **changed))
    drift = compare(seen, **LIMITS)
    assert drift.drifted
    assert feature in drift.over
    assert any(words in said for said in moved(seen, [feature], LABELS)), moved(seen, [feature], LABELS)


def test_a_less_sure_model_is_said_in_words() -> None:
    before = reference()
    unsure = reviews(500, 1)
    unsure = Reviews(unsure.length_N, unsure.unknown_N, (0.5 + (unsure.probability_NC - 0.5) / 2).astype(np.float32))
    seen = observed(before, unsure)
    assert compare(seen, **LIMITS).over == ("confidence",)
    assert moved(seen, ["confidence"], LABELS)[0].startswith("the model is less sure (mean probability of 0.6")


def test_both_limits_have_to_be_passed() -> None:
    before = reference(20_000)
    slightly = observed(before, *(reviews(5000, seed, length=203) for seed in range(1, 7)))
    found = compare(slightly, **LIMITS)
    assert found.p_value["length"] < 0.0001
    assert not found.over
    assert compare(slightly, psi_limit=found.psi["length"] / 2, p_limit=0.0001).over == ("length",)
    few = compare(observed(before, reviews(FEWEST_ROWS, 1, length=206)), psi_limit=1e-9, p_limit=1e-9)
    assert few.psi["length"] > 0
    assert not few.over


@pytest.mark.parametrize(
    ("rows", "of", "whose"), [(FEWEST_ROWS - 1, 500, "to compare"), (500, FEWEST_REFERENCE_ROWS - 1, "test data")]
)
def test_few_reviews_are_not_compared(rows: int, of: int, whose: str) -> None:
    drift = compare(observed(reference(of), reviews(rows, 1, length=900)), **LIMITS)
    assert not drift.measured
    assert not drift.drifted
    assert drift.reason is not None
    assert whose in drift.reason
    assert drift.to_dict()["unknown_share"]["now"] == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize("broken", [{"counts": [1, 2]}, {"edges": [5.0, 5.0]}, {"counts": [-1]}])
def test_a_reference_that_cannot_be_is_refused(broken: dict[str, list[float]]) -> None:
    values = reference(200).to_dict()
    values["features"]["length"] |= broken
    with pytest.raises(ValueError, match=r"features\.length"):
        Reference.from_dict(values)
