"""The scales of a model's parts, and how its probabilities are judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tasks.calibration import expected_calibration_error, fit_scales, platt_targets, softmax


def _drawn(rows: int, scale: float, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from softmax(scale · logits)."""
    random = np.random.default_rng(seed)
    logits_NC = random.normal(size=(rows, classes))
    probability_NC = softmax(scale * logits_NC)
    labels_N = (probability_NC.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
    return logits_NC, labels_N.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(scale: float, classes: int) -> None:
    logits_NC, labels_N = _drawn(20_000, scale, classes)

    (found,) = fit_scales([logits_NC], labels_N, [1.0])

    assert found == pytest.approx(scale, rel=0.06)
    assert expected_calibration_error(softmax(found * logits_NC), labels_N) < 0.012


def test_a_part_that_knows_nothing_gets_no_weight_and_one_that_errs_gets_none_below_zero() -> None:
    good_NC, labels_N = _drawn(20_000, 3.0, 3)
    noise_NC, _ = _drawn(20_000, 1.0, 3, seed=1)

    assert fit_scales([good_NC, noise_NC], labels_N, [0.5, 0.5]) == pytest.approx([3.0, 0.0], abs=0.1)
    assert fit_scales([good_NC, -0.5 * good_NC], labels_N, [0.5, 0.5]) == pytest.approx([3.0, 0.0], abs=0.1)
    assert fit_scales([-good_NC], labels_N, [1.0]) == [0.0]


@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 50))
def test_fitted_scales_are_finite_and_no_worse_than_the_start(rows: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits_NC = random.normal(size=(rows, classes)) * 10
    labels_N = logits_NC.argmax(axis=1) if seed % 2 else random.integers(0, classes, rows)

    (scale,) = fit_scales([logits_NC], labels_N, [1.0])

    assert 0 <= scale < 1000
    target_NC = platt_targets(labels_N, classes)
    before, after = (-(target_NC * np.log(softmax(factor * logits_NC) + 1e-300)).sum() for factor in (1.0, scale))
    assert after <= before + 1e-9


@pytest.mark.parametrize("rows", [10, 50, 1000])
def test_few_rows_that_are_all_right_make_no_model_that_is_sure(rows: int) -> None:
    labels_N = np.arange(rows) % 2
    logits_NC = np.where(np.arange(2) == labels_N[:, None], 1.0, -1.0)

    (scale,) = fit_scales([logits_NC], labels_N, [1.0])

    assert softmax(scale * logits_NC).max() == pytest.approx((rows / 2 + 1) / (rows / 2 + 2), abs=0.01)


def test_the_targets_of_a_class_are_a_distribution_that_many_rows_make_sure() -> None:
    target_NC = platt_targets(np.array([0, 1, 1, 1, 1]), 3)

    assert target_NC.sum(axis=1) == pytest.approx(np.ones(5))
    assert target_NC[0].tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert target_NC[1, 1] == pytest.approx(5 / 6)


def test_many_classes_of_few_rows_keep_their_probabilities() -> None:
    """Thirty classes of three rows each: a model that is always right must not end up at 12 %."""
    labels_N = np.arange(90) % 30
    logits_NC = np.where(np.arange(30) == labels_N[:, None], 4.0, 0.0)

    (scale,) = fit_scales([logits_NC], labels_N, [1.0])

    assert softmax(scale * logits_NC).max() == pytest.approx(4 / 5, abs=0.01)


def test_the_calibration_error_is_the_gap_between_certainty_and_accuracy() -> None:
    probability_NC = np.array([[0.9, 0.1]] * 10)
    half_right = np.array([0] * 5 + [1] * 5)

    assert expected_calibration_error(probability_NC, half_right) == pytest.approx(0.4)
    assert expected_calibration_error(probability_NC, np.array([0] * 9 + [1])) == pytest.approx(0.0)
