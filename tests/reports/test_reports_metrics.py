"""The figures agree with scikit-learn and SciPy; the intervals hold the truth as often as they should."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as reference

from pipeline.reports.metrics import Measures, accuracy_by_length, binomial_tail, mcnemar, wilson, worse_by_chance

NAMES = {2: ("neg", "pos"), 3: ("bad", "fair", "good")}


def scored(rows: int, classes: int, seed: int, digits: int = 2) -> Measures:
    """Scores that lean to the truth; rounded, so that many of them are equal."""
    random = np.random.default_rng(seed)
    labels = np.append(np.arange(classes), random.integers(0, classes, rows - classes))
    logits = random.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[labels]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probability = probability.round(digits) + 1e-6 * np.arange(classes)
    return Measures(
        names=NAMES[classes], labels_N=labels, probability_NC=probability / probability.sum(axis=1, keepdims=True)
    )


@settings(max_examples=30)
@given(rows=st.integers(4, 300), classes=st.sampled_from([2, 3]), seed=st.integers(0, 99))
def test_point_values_are_those_of_scikit_learn(rows: int, classes: int, seed: int) -> None:
    found = scored(rows, classes, seed)
    labels, probability = found.labels_N, found.probability_NC
    predicted = probability.argmax(axis=1)
    numbers = range(classes)
    assert (found.confusion == reference.confusion_matrix(labels, predicted, labels=numbers)).all()
    assert found.accuracy.value == pytest.approx(reference.accuracy_score(labels, predicted))
    f1 = reference.f1_score(labels, predicted, average="macro", labels=numbers, zero_division=0)
    assert found.macro_f1.value == pytest.approx(f1)
    assert found.log_loss == pytest.approx(reference.log_loss(labels, probability, labels=numbers))
    scores = probability[:, 1] if classes == 2 else probability
    assert found.auc is not None
    assert found.auc.value == pytest.approx(reference.roc_auc_score(labels, scores, multi_class="ovr"))
    for index, figures in enumerate(found.per_class().values()):
        truth = labels == index
        assert figures["auc"] == pytest.approx(reference.roc_auc_score(truth, probability[:, index]))
        precision = reference.average_precision_score(truth, probability[:, index])
        assert figures["average_precision"] == pytest.approx(precision)
        assert figures["rows"] == truth.sum()


def test_brier_score_of_two_classes_is_twice_that_of_one() -> None:
    found = scored(200, 2, 0)
    assert found.brier == pytest.approx(2 * reference.brier_score_loss(found.labels_N, found.probability_NC[:, 1]))


@given(rows=st.integers(1, 500), share=st.floats(0, 1))
def test_wilsons_interval_is_that_of_scipy(rows: int, share: float) -> None:
    right = round(share * rows)
    found = wilson(right, rows)
    expected = stats.binomtest(right, rows).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@settings(max_examples=40)
@given(first=st.integers(0, 400), second=st.integers(0, 400))
def test_mcnemars_p_value_is_the_exact_one(first: int, second: int) -> None:
    right = np.repeat([True, False, True], [first, second, 50])
    other = np.repeat([False, True, True], [first, second, 50])
    found = mcnemar(right, other)
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert (found.only_first, found.only_second, found.rows) == (first, second, first + second + 50)
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60)
@given(first=st.integers(0, 400), second=st.integers(0, 400), share=st.floats(0.001, 0.999))
def test_the_one_sided_test_is_that_of_scipy_and_the_tail_is_exact(first: int, second: int, share: float) -> None:
    expected = stats.binomtest(second, first + second, alternative="less").pvalue if first + second else 1.0
    assert worse_by_chance(first, second) == pytest.approx(expected, rel=1e-9)
    trials, (success, whole) = first + second, share.as_integer_ratio()  # SciPy is off by 3e-7 at 1e-293
    ways = (comb(trials, count) * success**count * (whole - success) ** (trials - count) for count in range(second + 1))
    tail = float(Fraction(sum(ways), whole**trials))
    assert binomial_tail(second, trials, share) == pytest.approx(tail, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("classes", [2, 3])
def test_intervals_hold_the_true_value_about_95_times_in_100(classes: int) -> None:
    truth = scored(100_000, classes, 1234, digits=6)
    assert truth.auc is not None
    held = {"accuracy": 0, "macro_f1": 0, "auc": 0}
    for seed in range(200):
        rows = np.random.default_rng(seed).integers(0, truth.rows, 400)
        sample = Measures(names=truth.names, labels_N=truth.labels_N[rows], probability_NC=truth.probability_NC[rows])
        for name in held:
            found, whole = getattr(sample, name), getattr(truth, name)
            held[name] += found.low <= whole.value <= found.high
    assert all(182 <= count <= 198 for count in held.values()), held


def probabilities(of_second: list[float]) -> NDArray[np.float64]:
    return np.array([[1 - value, value] for value in of_second])


def test_calibration_error_by_hand() -> None:
    """Ten predictions of 0.9, seven of them right, and ten of 0.6, six of them right: (0.2 + 0.0) / 2."""
    labels = np.array([1] * 7 + [0] * 3 + [1] * 6 + [0] * 4)
    found = Measures(names=NAMES[2], labels_N=labels, probability_NC=probabilities([0.9] * 10 + [0.6] * 10))
    assert found.ece == pytest.approx(0.1)
    assert found.reliability.rows.tolist() == [10, 10]


def test_one_class_alone_has_no_auc_and_still_its_other_figures() -> None:
    found = Measures(names=NAMES[2], labels_N=np.array([1, 1]), probability_NC=probabilities([0.9, 0.2]))
    figures = found.to_dict()
    assert figures["auc"] is None and figures["auc_interval"] is None
    assert figures["accuracy"] == 0.5 and figures["majority_class"] == {"label": "pos", "accuracy": 1.0}
    assert figures["classes"]["neg"]["f1"] == 0.0 and figures["classes"]["neg"]["auc"] is None


def test_perfect_scores() -> None:
    found = Measures(names=NAMES[2], labels_N=np.array([0, 1] * 20), probability_NC=probabilities([0.1, 0.9] * 20))
    assert found.auc is not None and found.auc.value == found.auc.high == 1.0
    assert found.accuracy.value == found.accuracy.high == 1.0 > found.accuracy.low


@given(st.lists(st.integers(1, 40), min_size=1, max_size=300))
def test_every_review_is_in_one_bin_of_lengths(lengths: list[int]) -> None:
    found = accuracy_by_length(np.array(lengths), np.ones(len(lengths), dtype=bool))
    assert sum(rows for *_, rows in found) == len(lengths)
    assert all(low <= high for low, high, *_ in found)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))
