"""Regression: its figures, its scales, its strata, and what stands in a bundle."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.errors import DataError
from pipeline.reports.numbers import NumberMeasures, smaller_by_chance
from pipeline.tasks.figures import spearman
from pipeline.tasks.regression import Regression

NUMBERS = st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=60)


@given(NUMBERS, st.integers(0, 2**31))
def test_spearman_is_that_of_scipy(values: list[float], seed: int) -> None:
    one_N = np.array(values)
    other_N = np.random.default_rng(seed).permutation(one_N) + one_N
    if len(set(one_N)) < 2 or len(set(other_N)) < 2:
        assert spearman(one_N, other_N) == 0.0
    else:
        assert spearman(one_N, other_N) == pytest.approx(stats.spearmanr(one_N, other_N).statistic, abs=1e-12)


def test_figures_are_in_units_of_the_target_and_predictions_stay_in_its_range() -> None:
    task = Regression("stars").trained_on([5.0, 2.0, 1.0, 10.0])
    outputs_NC = np.array([[0.0], [1.0], [-9.0]])  # 5, 7, and 1 in place of -13

    found = task.evaluate(outputs_NC, np.array([6.0, 7.0, 1.0]), 9)

    assert (found.mae, found.rows, found.tokens) == (pytest.approx(1 / 3), 3, 9)
    assert found.rmse == pytest.approx(np.sqrt(1 / 3))
    assert found.spearman == pytest.approx(1.0)
    assert found.constant_mae == pytest.approx((0 + 1 + 5) / 3)
    assert task.answers(torch.tensor([[1.0], [-9.0], [9.0]]))[:, 0].tolist() == [7.0, 1.0, 10.0]


def test_scales_have_the_least_squared_error_and_are_not_negative() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 4000, 1))
    task = Regression("target").trained_on([3.0, 2.0, -99.0, 99.0])
    targets_N = 3.0 + 2.0 * (1.5 * one + 0.25 * other)[:, 0]

    assert task.fit_scales([one, other], targets_N, [0.5, 0.5]) == pytest.approx([1.5, 0.25], abs=1e-3)
    assert task.fit_scales([one, -other], targets_N, [0.5, 0.5]) == pytest.approx([1.5, 0.0], abs=0.02)
    assert task.fit_scales([-one], targets_N, [1.0]) == [0.0]


def test_outputs_that_may_pass_the_range_get_a_larger_scale() -> None:
    random = np.random.default_rng(0)
    truth_N = random.normal(size=4000)
    outputs_NC = (truth_N + random.normal(size=4000))[:, None]
    task = Regression("stars").trained_on([5.5, 4.5, 1.0, 10.0])
    targets_N = np.where(truth_N > 0, 10.0, 1.0)

    (scale,) = task.fit_scales([outputs_NC], targets_N, [1.0])

    least_squares = float((outputs_NC[:, 0] * (targets_N - 5.5) / 4.5).sum() / (outputs_NC**2).sum())
    assert scale > 1.15 * least_squares
    before, after = (task.evaluate(outputs_NC * factor, targets_N, 0) for factor in (least_squares, scale))
    assert after.rmse < before.rmse and after.mae < 0.95 * before.mae


def test_rows_without_a_number_have_no_stratum_and_the_others_are_quartered() -> None:
    task = Regression("target")
    targets_N = task.read(pa.chunked_array([[None, 1.0, 2.0], [3.0, 4.0, None]]), "a shard")

    assert task.strata(targets_N).tolist() == [-1, 0, 1, 2, 3, -1]
    assert task.strata(np.full(3, np.nan)).tolist() == [-1, -1, -1]
    assert task.read(pa.chunked_array([[None, 7]], pa.int32()), "a shard")[1] == 7.0


def test_numbers_that_are_all_the_same_teach_nothing() -> None:
    with pytest.raises(DataError, match=r"every review of the training part has the number 3 in the column 'stars'"):
        Regression("stars").summary(np.array([3.0, 3.0]))
    with pytest.raises(DataError, match=r"has the number 0\.1 in"):
        Regression("target").summary(np.full(326, 0.1))  # their standard deviation is not 0: their mean is rounded


@pytest.mark.parametrize("numbers", [[1e200, -1e200], [0.0, 1e31], [0.0, 1e-40]])
def test_numbers_that_predictions_cannot_hold_are_refused(numbers: list[float]) -> None:
    with pytest.raises(DataError, match=r"Models are trained on numbers of up to 1e\+30 that are at least 1e-30 apart"):
        Regression("target").summary(np.array(numbers))


def test_intervals_hold_the_figure_and_shrink_with_reviews() -> None:
    random = np.random.default_rng(0)
    target_N = random.normal(size=4000)
    predicted_N = target_N + random.normal(size=4000)
    many = NumberMeasures(target_N=target_N, predicted_N=predicted_N)
    few = NumberMeasures(target_N=target_N[:100], predicted_N=predicted_N[:100])

    for name in ("mae", "rmse", "spearman"):
        wide, narrow = getattr(few, name), getattr(many, name)
        assert narrow.low < narrow.value < narrow.high
        assert narrow.high - narrow.low < 0.3 * (wide.high - wide.low)


@pytest.mark.parametrize("shift", [0.0, -0.2, 0.05])
def test_a_worse_model_is_told_from_chance_as_by_a_paired_t_test(shift: float) -> None:
    difference_N = np.random.default_rng(0).normal(loc=shift, size=1000)
    expected = stats.ttest_1samp(difference_N, 0.0, alternative="less").pvalue
    assert smaller_by_chance(difference_N) == pytest.approx(expected, abs=2e-3)
