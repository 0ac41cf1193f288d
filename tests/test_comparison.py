"""The mathematics of aggregates, profiles and pairs, against rliable, closed forms and simulations."""

import json
import time
import warnings
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from analysis.statistics import comparison
from analysis.statistics import scores as statistics

RLIABLE = json.loads(Path(__file__).with_name("rliable_values.json").read_text(encoding="utf-8"))
BOTH = ("first", "second")


def rliable_strata(name: str) -> list[np.ndarray]:
    return list(np.array(RLIABLE["scores"][name]).T)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal_strata(source: np.random.Generator, means, n: int, spread=1.0) -> list[np.ndarray]:
    return [source.normal(mean, spread, n) for mean in means]


@pytest.mark.parametrize("metric", statistics.AGGREGATES)
@pytest.mark.parametrize("name", BOTH)
def test_aggregates_are_rliables(name, metric):
    strata, statistic = rliable_strata(name), statistics.AGGREGATES[metric]
    assert statistic(strata) == pytest.approx(RLIABLE["aggregates"][name][metric], abs=1e-12)
    ends = statistics.stratified_interval(strata, statistic, rng(), resamples=RLIABLE["reps"], tail=statistics.TAIL)
    low, high = RLIABLE["aggregate_intervals"][name][metric]
    assert ends == pytest.approx((low, high), abs=0.025 * (high - low))


@pytest.mark.parametrize("name", BOTH)
def test_performance_profiles_are_rliables(name):
    above = statistics.runs_above(rliable_strata(name), np.array(RLIABLE["levels"]))
    assert np.mean([runs.mean(axis=0) for runs in above], axis=0) == pytest.approx(RLIABLE["profiles"][name], abs=1e-12)
    ends = np.array(statistics.stratified_mean_interval(above, rng(), resamples=RLIABLE["reps"], tail=statistics.TAIL))
    away = np.abs(ends - RLIABLE["profile_bands"][name])
    one_run = 1 / sum(len(runs) for runs in above)  # shares are multiples of it, and a quantile may fall on either side
    assert away.max() < 1.001 * one_run
    assert np.mean(away < 1e-9) > 0.9


def test_the_probability_of_improvement_is_rliables_and_counts_ties_half():
    strata = [rliable_strata(name) for name in BOTH]
    assert comparison.probability_of_improvement(*strata) == pytest.approx(RLIABLE["improvement"], abs=1e-12)
    ends = comparison.improvement_interval(*strata, rng(), resamples=RLIABLE["reps"], tail=statistics.TAIL)
    low, high = RLIABLE["improvement_interval"]
    assert ends == pytest.approx((low, high), abs=0.025 * (high - low))


def test_every_task_counts_equally_whatever_its_number_of_runs():
    """That a task's runs are all there twice changes nothing."""
    first, second = rng().normal(0, 1, 8), rng(1).normal(3, 1, 4)
    for name, statistic in statistics.AGGREGATES.items():
        twice = statistic([first, np.repeat(second, 2)])
        assert statistic([first, np.repeat(second, 4)]) == pytest.approx(twice, abs=1e-12), name
        assert statistic([np.repeat(first, 3), second]) == pytest.approx(twice, abs=1e-12), name


def test_the_iqm_of_unequal_numbers_of_runs_leaves_out_a_quarter_of_the_weight_at_either_end():
    strata = [np.array([0.0, 1, 2, 3, 4, 5]), np.array([10.0, 20])]  # weights 1/12 and 1/4; a quarter is 3 of the first
    assert statistics.iqm_over_runs(strata) == pytest.approx(((3 + 4 + 5) / 12 + 10 / 4) / (1 / 2))


def test_aggregates_work_on_many_resamples_at_once():
    strata = [rng(k).normal(size=(3, n)) for k, n in enumerate((4, 6, 2))]
    for name, statistic in statistics.AGGREGATES.items():
        one_by_one = [statistic([runs[row] for runs in strata]) for row in range(3)]
        assert statistic(strata) == pytest.approx(one_by_one), name


def test_the_optimality_gap_does_not_reward_what_is_above_the_target():
    strata = [np.array([0.5, 1.5]), np.array([0.0, 2.0])]
    assert statistics.optimality_gap(strata) == pytest.approx((0.5 + 0 + 1 + 0) / 4)
    assert statistics.optimality_gap(strata, target=2.0) == pytest.approx((1.5 + 0.5 + 2 + 0) / 4)


def test_a_profile_is_the_share_of_runs_above_a_level_and_not_at_it():
    above = statistics.runs_above([np.array([0.0, 0.5, 1.0])], np.array([-0.1, 0.0, 0.5, 1.0]))
    assert above[0].mean(axis=0).tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_intervals_of_curves_use_the_same_resamples_at_every_point():
    curves = [rng(k).normal(size=(n, 3)) for k, n in enumerate((4, 6))]
    together = statistics.stratified_interval(curves, statistics.iqm_over_runs, rng(5), resamples=200)
    for point in range(3):
        at_point = [values[:, point] for values in curves]
        alone = statistics.stratified_interval(at_point, statistics.iqm_over_runs, rng(5), resamples=200)
        assert (together[0][point], together[1][point]) == alone


def test_what_has_no_spread_has_defined_values_and_no_warnings():
    same, higher = [np.full(3, 0.1), np.full(5, 0.1)], [np.full(4, 0.3), np.full(2, 0.3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for statistic in statistics.AGGREGATES.values():
            ends = statistics.stratified_interval(same, statistic, rng(), resamples=50)
            assert ends == pytest.approx((statistic(same),) * 2)
        found = [comparison.difference(*pair) for pair in ((same, same[::-1]), (higher, same), (same, higher))]
        assert [pair.p for pair in found] == [1, 0, 0]
        assert (found[0].value, found[0].low, found[0].high) == (0, 0, 0)
        assert (found[1].low, found[1].high) == pytest.approx((0.2, 0.2))
        said = comparison.verdicts(found)
    assert [verdict.verdict for verdict in said] == ["undecided", "better", "worse"]
    assert np.isnan(said[0].seeds)
    assert comparison.improvement_interval(higher, same, rng()) == (1, 1)
    assert comparison.probability_of_improvement(same, same[::-1]) == 0.5


def test_a_single_run_of_one_task_leaves_no_interval_no_p_value_and_no_verdict():
    first, second = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([0.0, 1.0]), np.array([2.0, 2.5])]
    found = comparison.difference(first, second)
    assert found.value == pytest.approx((1.0 + 0.75) / 2)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isnan(comparison.improvement_interval(first, second, rng())).all()
    (verdict,) = comparison.verdicts([found])
    assert (verdict.verdict, np.isnan(verdict.p), np.isnan(verdict.seeds)) == (None, True, True)
    assert np.isnan(statistics.stratified_mean_interval(first, rng())).all()


def covered(make, truth: float, trials: int) -> float:
    """Share of intervals make(generator) → (low, high) that hold the truth."""
    source = rng(7)
    ends = np.array([make(source) for _ in range(trials)])
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


MEANS = (0.1, 0.3, 0.4, 0.6, 0.7, 0.9, 1.1)
SPREADS = (0.05, 0.2, 0.1, 0.3, 0.1, 0.15, 0.2)


def simulated(source: np.random.Generator, n: int) -> list[np.ndarray]:
    return [source.normal(mean, spread, n) for mean, spread in zip(MEANS, SPREADS, strict=True)]


def truth_of(metric: str) -> float:
    return float(statistics.AGGREGATES[metric](simulated(rng(1), 200_000)))


@pytest.mark.parametrize(
    ("metric", "covers"), [("iqm", 0.95), ("mean", 0.95), ("optimality_gap", 0.95), ("median", 0.92)]
)
def test_the_intervals_of_ten_runs_on_seven_tasks_of_unequal_spread_cover_95_percent(metric, covers):
    """That of the median, which rests on few tasks, does not quite."""
    statistic = statistics.AGGREGATES[metric]

    def make(source: np.random.Generator):
        return statistics.stratified_interval(simulated(source, 10), statistic, source, resamples=600)

    assert covered(make, truth_of(metric), 1000) == pytest.approx(covers, abs=0.02)


@pytest.mark.parametrize(
    ("n", "tasks", "plain", "expanded"), [(5, 1, 0.84, 0.92), (10, 1, 0.90, 0.94), (5, 7, 0.91, 0.94)]
)
def test_the_expanded_tail_makes_intervals_of_few_runs_cover_about_95_percent(n, tasks, plain, expanded):
    def covers(tail: float | None) -> float:
        def make(source: np.random.Generator):
            strata = normal_strata(source, MEANS[:tasks], n)
            return statistics.stratified_mean_interval(strata, source, resamples=600, tail=tail)

        return covered(make, np.mean(MEANS[:tasks]), 1000)

    assert covers(statistics.TAIL) == pytest.approx(plain, abs=0.02)
    assert covers(None) == pytest.approx(expanded, abs=0.02)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_interval_of_fewer_than_five_runs_is_the_span_between_them(n):
    values = rng(n).normal(size=n)
    assert statistics.mean_interval(values, rng()) == (values.min(), values.max())


def test_few_runs_of_one_task_have_the_ends_of_all_their_resamples_whatever_the_generator():
    values = rng(3).normal(size=5)
    means = np.sort([np.mean(drawn) for drawn in product(values, repeat=5)])
    for tail in (0.001, 0.01, 0.025):
        beyond = int(np.ceil(tail * len(means))) - 1  # at that end or beyond it lies a share of at least `tail`
        for seed in (0, 1):
            ends = statistics.mean_interval(values, rng(seed), tail=tail)
            assert ends == pytest.approx((means[beyond], means[-1 - beyond]))


def test_all_resamples_of_two_tasks_have_the_probabilities_of_theirs_together():
    drawn, weights = statistics.resampled([2, 3], rng())
    assert [indices.shape for indices in drawn] == [(30, 2), (30, 3)]
    assert weights.sum() == pytest.approx(1)
    mixed = [(pair.tolist(), three.tolist()) for pair, three in zip(*drawn, strict=True)]
    assert weights[mixed.index(([0, 1], [0, 1, 2]))] == pytest.approx(2 / 4 * 6 / 27)
    assert weights[mixed.index(([0, 0], [0, 1, 1]))] == pytest.approx(1 / 4 * 3 / 27)
    assert statistics.resampled([2, 3], rng(), resamples=29)[1] is None


@pytest.mark.parametrize("metric", ["iqm", "mean", "optimality_gap"])
def test_another_generator_hardly_moves_an_interval(metric):
    strata = simulated(rng(5), 5)
    ends = np.array(
        [statistics.stratified_interval(strata, statistics.AGGREGATES[metric], rng(seed)) for seed in range(6)]
    )
    assert ends.std(axis=0).max() < 0.02 * np.ptp(ends.mean(axis=0))


@pytest.mark.parametrize(("failing", "holds", "errs"), [(0.1, 0.44, 0.45), (0.2, 0.66, 0.34)])
def test_where_an_algorithm_fails_on_some_seeds_intervals_and_verdicts_err_as_often_as_is_said(failing, holds, errs):
    """On one task with 5 runs, which often hold no failure."""
    mean, source = 1 - failing, rng(9)

    def runs() -> np.ndarray:
        return (source.random(5) > failing) + source.normal(0, 0.05, 5)

    found = [comparison.difference([runs()], [source.normal(mean, 0.05, 5)]).p for _ in range(1500)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(errs, abs=0.05)
    assert covered(lambda _: statistics.mean_interval(runs(), source), mean, 1500) == pytest.approx(holds, abs=0.04)


def test_the_expanded_tail_is_that_of_a_normal_with_students_length():
    assert statistics.expanded_tail([10]) == pytest.approx(
        scipy.stats.norm.sf(np.sqrt(10 / 9) * scipy.stats.t.isf(0.025, 9))
    )
    assert statistics.expanded_tail([10**7]) == pytest.approx(0.025, rel=1e-3)
    assert np.isnan(statistics.expanded_tail([1, 1]))


def test_intervals_of_the_probability_of_improvement_of_ten_runs_cover_95_percent():
    gains = np.array([0.0, 0.3, 0.6, -0.2, 0.5, 1.0, 0.1])
    truth = scipy.stats.norm.cdf(gains / np.sqrt(2)).mean()

    def make(source: np.random.Generator):
        better = normal_strata(source, gains, 10)
        return comparison.improvement_interval(better, normal_strata(source, 0 * gains, 10), source, resamples=500)

    assert covered(make, truth, 700) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n", [5, 10])
def test_the_interval_of_a_difference_covers_95_percent_with_unequal_spread(n):
    def make(source: np.random.Generator):
        found = comparison.difference(simulated(source, n), normal_strata(source, MEANS, n, spread=0.02))
        return found.low, found.high

    assert covered(make, 0.0, 2000) == pytest.approx(0.95, abs=0.015)


def test_the_probability_of_improvement_is_the_share_of_pairs():
    first, second = rng().integers(0, 4, 5).astype(float), rng(1).integers(0, 4, 7).astype(float)
    share = np.mean([1.0 if x > y else 0.5 if x == y else 0.0 for x in first for y in second])
    assert comparison.probability_of_improvement([first], [second]) == pytest.approx(share)
    assert comparison.probability_of_improvement([second], [first]) == pytest.approx(1 - share)
    one_sided = scipy.stats.mannwhitneyu(first, second).statistic / 35
    assert comparison.probability_of_improvement([first], [second]) == pytest.approx(one_sided)


def test_the_difference_on_one_task_is_welchs_test():
    first, second = rng().normal(1, 2, 5), rng(1).normal(0, 0.5, 8)
    found = comparison.difference([first], [second])
    expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_over_tasks_it_is_the_test_of_the_mean_of_their_differences():
    """With one sample that varies, on one task of three, it is Student's test of that sample at a third of its size."""
    varying = rng().normal(1, 1, 6)
    constant = [np.full(4, 2.0), np.full(3, -1.0)]
    found = comparison.difference([varying, *constant], [np.zeros(5), *constant])
    expected = scipy.stats.ttest_1samp(varying, 0.0)
    assert found.value == pytest.approx(varying.mean() / 3)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx([end / 3 for end in expected.confidence_interval(0.95)])


def test_the_permutation_test_is_that_of_all_permutations_within_tasks():
    first, second = [rng(1).normal(1.2, 1, 3), rng(2).normal(0.8, 1, 4)], [rng(3).normal(size=3), rng(4).normal(size=2)]
    by_task = []
    for x, y in zip(first, second, strict=True):
        pooled = np.concatenate([x, y])
        chosen = [list(own) for own in combinations(range(len(pooled)), len(x))]
        by_task.append([pooled[own].mean() - np.delete(pooled, own).mean() for own in chosen])
    shuffled = np.add.outer(*map(np.array, by_task)).ravel() / 2
    seen = comparison.difference(first, second).value
    exact = np.mean(np.abs(shuffled) >= abs(seen) - 1e-12)
    assert 0.01 < exact < 0.5
    assert comparison.permutation_p(first, second, rng()) == pytest.approx(exact, abs=0.01)
    assert comparison.least_permutation_p(first, second) == pytest.approx(2 / len(shuffled))


def test_the_permutation_test_has_no_less_than_one_in_all_its_permutations():
    apart = [np.arange(5.0)] * 3, [10 + np.arange(5.0)] * 3
    assert comparison.permutation_p(*apart, rng(), permutations=999) == pytest.approx(1 / 1000)
    assert comparison.permutation_p(apart[0], apart[0], rng(), permutations=99) == 1


def test_holms_correction():
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparison.holm([0.6, 0.7]) == pytest.approx([1, 1])
    with_gap = comparison.holm([0.01, np.nan, 0.03])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.03])
    assert np.isnan(with_gap[1])
    assert comparison.holm([]).tolist() == []


@pytest.mark.parametrize("draw", ["normal", "skewed", "two_groups"])
def test_a_false_verdict_among_all_pairs_of_equal_algorithms_is_as_rare_as_it_should_be(draw):
    draws = {
        "normal": lambda source: source.normal(0, 1, 5),
        "skewed": lambda source: source.exponential(1, 5),
        "two_groups": lambda source: np.where(source.random(5) < 0.5, 0.0, 1.0) + source.normal(0, 0.05, 5),
    }
    source, trials, wrong = rng(3), 300, 0
    for _ in range(trials):
        algorithms = [[draws[draw](source) for _ in range(7)] for _ in range(5)]
        found = [comparison.difference(algorithms[i], algorithms[j]) for i in range(5) for j in range(i)]
        wrong += bool((comparison.holm([pair.p for pair in found]) <= 0.05).any())
    assert wrong / trials <= 0.08


@pytest.mark.parametrize(("effect", "expected"), [(1.0, 17), (0.8, 26), (0.5, 64)])
def test_seeds_needed_are_those_of_the_tables_of_the_t_test(effect, expected):
    """Cohen (1988): two samples of equal spread, two-sided at 5 %, power 80 %."""
    found = comparison.Difference(effect, 0, 0, 0.5, np.array([1.0, 1.0]))
    assert comparison.seeds_needed(found, 0.05) == expected


def test_with_the_seeds_needed_the_test_finds_the_difference_four_times_in_five():
    variances, value = np.array([0.5, 0.1, 0.02, 0.4]) / 4, 0.3
    needed = int(comparison.seeds_needed(comparison.Difference(value, 0, 0, 0.5, variances), 0.01))
    source, trials = rng(2), 1500
    spreads = np.sqrt(4 * variances)
    runs = source.normal(0, spreads[:, None], (trials, 4, needed)) + np.array([value, value, 0, 0])[:, None]
    found = [comparison.difference(list(sample[:2]), list(sample[2:])).p <= 0.01 for sample in runs]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    assert comparison.power_of_welch(value, variances, needed - 1, 0.01) < 0.8


def test_power_rises_with_the_seeds_also_where_it_is_certain():
    for variances in (np.array([0.001, 0.0001, 0.002, 0.0014]), np.array([0.3, 0.0])):
        power = [comparison.power_of_welch(0.14, variances, seeds, 0.05 / 15) for seeds in range(2, 1001, 7)]
        assert (np.diff(power) >= -1e-12).all()
        assert power[-1] > 0.99


def test_seeds_that_nobody_will_run_are_not_counted_and_no_difference_needs_none():
    tiny = comparison.Difference(0.001, 0, 0, 0.9, np.array([1.0, 1.0]))
    assert comparison.seeds_needed(tiny, 0.05) == np.inf
    none = comparison.Difference(0.0, 0, 0, 1.0, np.array([1.0, 1.0]))
    assert np.isnan(comparison.seeds_needed(none, 0.05))


def test_an_undecided_pair_needs_more_seeds_than_it_has_and_the_more_pairs_the_more():
    def undecided(pairs: int) -> comparison.Verdict:
        source = rng(4)
        others = [comparison.difference([source.normal(0, 1, 5)], [source.normal(0, 1, 5)]) for _ in range(pairs - 1)]
        close = comparison.difference([np.array([0.0, 1, 2, 3, 4])], [np.array([1.5, 2, 3, 4, 5])])
        return comparison.verdicts([close, *others])[0]

    few, many = undecided(1), undecided(10)
    assert few.verdict == many.verdict == "undecided"
    assert 5 < few.seeds < many.seeds


def test_verdicts_have_the_sign_of_the_difference():
    low, high = [np.array([0.0, 0.1, 0.2])], [np.array([5.0, 5.1, 5.2])]
    found = comparison.verdicts([comparison.difference(high, low), comparison.difference(low, high)])
    assert [verdict.verdict for verdict in found] == ["better", "worse"]
    assert all(np.isnan(verdict.seeds) for verdict in found)


def test_the_intervals_of_five_algorithms_curves_take_seconds():
    curves = rng().normal(size=(5, 7, 10, 100))
    start = time.process_time()
    for strata in curves:
        statistics.stratified_interval(list(strata), statistics.iqm_over_runs, rng(), resamples=2000)
    assert time.process_time() - start < 20
