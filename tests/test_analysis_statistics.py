"""The mathematics of curves, scores and intervals."""

import numpy as np
import pytest
import scipy.stats

from analysis.statistics import scores as statistics


def test_a_curve_point_is_the_mean_of_the_episodes_that_ended_in_its_bin():
    rng = np.random.default_rng(0)
    steps, returns = rng.integers(1, 1100, size=300), rng.normal(size=300)
    grid = statistics.step_grid(1000, 40)
    means, counts = statistics.bin_means(steps, returns, grid)
    for point in range(40):
        left = grid[point - 1] if point else 0
        inside = (steps > left) & (steps <= grid[point])
        assert counts[point] == inside.sum()
        assert means[point] == pytest.approx(returns[inside].mean()) if inside.any() else np.isnan(means[point])


def test_an_episode_that_ends_at_a_grid_point_belongs_to_it_and_one_after_the_budget_to_none():
    means, counts = statistics.bin_means(np.array([10, 20, 21]), np.array([1.0, 2.0, 99.0]), np.array([10.0, 20.0]))
    assert means.tolist() == [1, 2]
    assert counts.tolist() == [1, 1]


def test_an_empty_bin_carries_the_last_value_forward():
    values = np.array([np.nan, np.nan, 3.0, np.nan, 5.0, np.nan])
    assert statistics.carry_forward(values, before=-1).tolist() == [-1, -1, 3, 3, 5, 5]


def test_moving_average_looks_only_back():
    curve = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    assert statistics.moving_average(curve, 3).tolist() == [1, 2, 3, 5, 7]


def test_steps_to_threshold_is_the_first_point_at_or_above_it_and_else_the_budget():
    curve, grid = np.array([1.0, 4.0, 2.0, 5.0]), np.array([10.0, 20.0, 30.0, 40.0])
    assert statistics.steps_to_threshold(curve, grid, 4.0) == (20, True)
    assert statistics.steps_to_threshold(curve, grid, 4.5) == (40, True)
    assert statistics.steps_to_threshold(curve, grid, 5.1) == (40, False)


def test_the_median_of_censored_steps_counts_those_not_reached_as_later():
    steps = np.array([10.0, 20.0, 40.0])
    assert statistics.median_of_censored(steps, np.array([True, True, False])) == 20
    assert np.isnan(statistics.median_of_censored(steps, np.array([True, False, False])))
    assert np.isnan(statistics.median_of_censored(np.array([10.0, 40.0]), np.array([True, False])))


def test_iqm_is_the_mean_of_the_middle_half():
    assert statistics.iqm(np.array([0.0, 1, 2, 3, 4, 5, 6, 100])) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert statistics.iqm(np.array([5.0, 0, 1, 2, 3])) == pytest.approx(2)  # one of five at each end
    assert statistics.iqm(np.array([1.0, 2, 6])) == pytest.approx(3)  # a quarter of three is less than one


def test_normalised_score_is_0_for_random_and_1_for_reference():
    assert statistics.normalize(np.array([20.0, 475.0, 247.5]), 20, 475).tolist() == [0, 1, 0.5]


def test_the_interval_of_a_curve_is_that_of_each_of_its_points():
    curves = np.random.default_rng(2).normal(size=(6, 4))
    low, high = statistics.mean_interval(curves, np.random.default_rng(3))
    for point in range(4):
        alone = statistics.mean_interval(curves[:, point], np.random.default_rng(3))
        assert (low[point], high[point]) == pytest.approx(alone)


def test_two_runs_have_the_span_between_them_as_interval_and_one_has_none():
    assert statistics.mean_interval(np.array([1.0, 5.0]), np.random.default_rng(0)) == (1, 5)
    assert np.isnan(statistics.mean_interval(np.array([1.0]), np.random.default_rng(0))).all()


def test_stratified_resampling_stays_within_tasks():
    """With equal runs inside each task nothing can vary, however far the tasks are apart."""
    strata = [np.zeros(4), np.ones(4)]
    for statistic in (statistics.mean_over_tasks, statistics.iqm_over_runs):
        low, high = statistics.stratified_interval(strata, statistic, np.random.default_rng(0))
        assert (low, high) == (0.5, 0.5)


def test_a_task_with_a_single_run_leaves_no_stratified_interval():
    strata = [np.array([0.1, 0.2]), np.array([0.5])]
    assert np.isnan(statistics.stratified_interval(strata, statistics.iqm_over_runs, np.random.default_rng(0))).all()


def test_an_equal_seed_gives_an_equal_interval():
    scores = np.random.default_rng(4).normal(size=9)
    first, second = (statistics.mean_interval(scores, np.random.default_rng(7)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("shape", [(1,), (4,), (5,), (3, 7), (50, 10)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(shape):
    values = np.random.default_rng(2).normal(size=shape)
    assert statistics.iqm(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25, axis=-1))


def test_the_t_interval_is_scipys_and_defined_where_nothing_varies():
    rng = np.random.default_rng(3)
    first = rng.normal(1.0, 2.0, size=4)
    expected = scipy.stats.ttest_1samp(first, 0.0).confidence_interval(0.95)
    assert statistics.t_interval(first) == pytest.approx(tuple(expected))
    assert statistics.t_interval(np.full(3, 2.0)) == (2.0, 2.0)
    assert np.isnan(statistics.t_interval(first[:1])).all()
