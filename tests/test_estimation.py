"""Gradient estimators: means against closed forms, pairs that must agree, and what their measurement is worth."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, gumbel_r, logistic

from analysis.statistics.gradients import relative_bias
from experiments import estimation
from experiments.estimation import InvalidEstimator, Variant, estimator_of, measuring, names, problem_of
from experiments.estimation.measuring import Place, Subject, measure, measure_place
from experiments.estimation.problems import arms, chain, game, lqr, quadratic, step, wave

STANDARD_ERRORS = 4.5
PLACES = [problem_of(name)(**numbers) for name in names("problems") for numbers in problem_of(name).default_places]
UNBIASED = {  # on every problem on which they can be measured; step is named where it is the exception
    *("score_function", "leave_one_out", "value_baseline", "optimal_constant_baseline", "optimal_state_baseline"),
    *("pathwise", "counterfactual", "shared_return", "compatible"),
}
LONGEST_FILE = 30  # lines of an estimator


def samples(problem, variant, size=64, batches=8, seed=5):
    """Estimates of one variant at one place, [batches, P]."""
    (measured,) = measure_place(Place(problem, 0, seed), [variant], {size: batches}, size)
    return np.array(measured.estimates[size])


@cache
def samples_of_all(problem, size=64, batches=200):
    """Estimates of every variant that can be measured at a place, [batches, P], on the same batches."""
    variants = [variant for name in names("estimators") for variant in estimator_of(name).variants()]
    place = Place(problem, 0, 5)
    applicable = [variant for variant in variants if Subject(place, variant, problem).reason_against() is None]
    measured = measure_place(place, applicable, {size: batches}, size)
    return {str(one.subject.variant): np.array(one.estimates[size]) for one in measured}


def over_fits(problem, variant, fits=12):
    """An estimate from each of several fits, [fits, P]: what another fit would differ by is part of their spread."""
    return np.concatenate([samples(problem, variant, size=256, batches=1, seed=seed) for seed in range(fits)])


def assert_mean(estimates, expected):
    error = np.abs(estimates.mean(0) - expected)
    allowed = STANDARD_ERRORS * estimates.std(0, ddof=1) / np.sqrt(len(estimates))
    allowed += 1e-9
    assert (error <= allowed).all(), (error / allowed).round(2)


# ------------------------------------------------------------------------------------ means


@pytest.mark.parametrize("problem", PLACES, ids=lambda problem: f"{problem.name} {problem.place}")
def test_estimators_without_bias_have_the_true_gradient_as_their_mean(problem):
    measured = 0
    for variant, estimates in samples_of_all(problem).items():
        name = variant.partition(" ")[0]
        if name in UNBIASED and (name, problem.name) != ("pathwise", "step"):
            assert_mean(estimates, problem.truth)
            measured += 1
        elif variant == "natural fisher=exact":
            assert_mean(estimates, problem.natural_truth)
            measured += 1
    assert measured >= 7


def test_a_wrong_mean_is_seen():
    problem = quadratic.Quadratic()
    estimates = samples_of_all(problem)["value_baseline"]
    with pytest.raises(AssertionError):
        assert_mean(estimates, 1.2 * problem.truth)


def of_two_arms(temperature, slopes):
    """The known mean of a relaxed estimator for two arms with equal logits, [2], by quadrature over logistic noise.

    The difference of two Gumbel variables is logistic. slopes: ∂r/∂y by the share y of the first arm, [2].
    """
    problem = arms.Arms(2)
    difference = problem.logits[0] - problem.logits[1]

    def integrand(noise):
        share = logistic.cdf((difference + noise) / temperature)
        first, second = slopes(share, difference + noise > 0)
        return share * (1 - share) / temperature * (first - second) * logistic.pdf(noise)

    pieces = [-40.0, -difference - temperature, -difference, -difference + temperature, 40.0]
    found = sum(quad(integrand, a, b, limit=200)[0] for a, b in pairwise(pieces))
    return np.array([found, -found])


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ["gumbel_softmax", "straight_through"])
def test_relaxed_estimators_have_their_known_bias(name, temperature):
    problem = arms.Arms(2)

    def slopes(share, first):
        at = share if name == "gumbel_softmax" else float(first)
        return -(at * problem.points[0] + (1 - at) * problem.points[1] - arms.TARGET) * problem.points

    expected = of_two_arms(temperature, slopes)
    assert_mean(samples(problem, Variant(name, (("temperature", temperature),)), batches=400), expected)


def test_gumbel_noise_is_gumbel():
    """What the quadrature takes for granted."""
    noise = arms.Arms(2).draw(4_000, np.random.default_rng(0)).gumbel
    np.testing.assert_allclose(np.quantile(noise, [0.25, 0.5, 0.75]), gumbel_r.ppf([0.25, 0.5, 0.75]), atol=0.06)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0])
def test_the_deterministic_gradient_is_that_of_a_policy_without_width(sigma):
    """On the wave it is e^(k²σ²/2) times the truth; on a quadratic reward or regulator there is no bias."""
    factor = np.exp((wave.FREQUENCY * sigma) ** 2 / 2)
    problem = wave.Wave(sigma=sigma)
    assert_mean(samples(problem, Variant("deterministic"), batches=8), factor * problem.truth)
    for other in (quadratic.Quadratic(sigma=sigma), lqr.Regulator(sigma=sigma)):
        assert_mean(samples(other, Variant("deterministic"), batches=100), other.truth)


def test_pathwise_through_a_step_is_zero_and_so_wrong():
    problem = step.Step()
    assert not samples(problem, Variant("pathwise"), batches=8).any()
    assert problem.truth > 1


def of_critic(name, degree, width):
    return Variant(name, (("degree", degree), ("width", width)))


@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_a_critic_of_other_actions_is_biased_as_its_projection_says(sigma):
    """Least squares over N(μ, σ'²) has the slope Cov(a, r) / σ'² = ∇J at the width σ', by Stein's lemma."""
    problem, wider = wave.Wave(sigma=sigma), wave.Wave(sigma=3 * sigma)
    for name in ("pathwise_critic", "deterministic_critic"):
        assert_mean(over_fits(problem, of_critic(name, 1, 1)), problem.truth)
        assert_mean(over_fits(problem, of_critic(name, 1, 3)), wider.truth)
    assert np.linalg.norm(wider.truth - problem.truth) > 0.1 * np.linalg.norm(problem.truth)
    deterministic = problem.reward_gradient(problem.mean)
    found = over_fits(problem, of_critic("deterministic_critic", 4, 1))
    assert np.linalg.norm(found.mean(0) - deterministic) < 0.05 * np.linalg.norm(deterministic)  # degree 4 is near


@pytest.mark.parametrize("degree", [1, 4])
def test_a_critic_that_can_be_the_value_is_not_biased(degree):
    for problem in (lqr.Regulator(), quadratic.Quadratic()):
        assert_mean(over_fits(problem, of_critic("pathwise_critic", degree, 3)), problem.truth)


@pytest.mark.parametrize("gamma", [0.9, 0.99])
def test_the_bias_of_leaving_out_the_discount_and_of_a_wrong_critic_is_known(gamma):
    problem = chain.Chain(gamma)
    undiscounted = problem.expected_gradient(chain.Chain(1.0).visits, problem.action_values)
    assert_mean(samples_of_all(problem)["without_discount"], undiscounted)
    assert np.linalg.norm(undiscounted - problem.truth) > 0.05 * np.linalg.norm(problem.truth)
    wrong = problem.expected_gradient(problem.visits, problem.wrong_action_values)
    assert_mean(samples_of_all(problem)["wrong_critic"], wrong)
    assert np.linalg.norm(wrong - problem.truth) > 0.5 * np.linalg.norm(problem.truth)


def test_a_compatible_critic_is_far_from_the_action_values():
    problem = chain.Chain(0.9)
    batch = problem.draw(500, np.random.default_rng(0))
    own = (batch.step_scores @ problem.natural_truth)[batch.valid]
    true = problem.action_values[batch.states, batch.chosen][batch.valid]
    assert np.abs(own - true).mean() > 0.5 * np.abs(true).mean()


# ------------------------------------------------------------------------------------ pairs that must agree


def on(problem, variant, size=16):
    """One variant's gradients of the same batch, [N, P], whatever the variant."""
    place = Place(problem, 0, 11)
    return Subject(place, variant, problem).gradients(place.draw(size, [1])[0], [1])


@pytest.mark.parametrize("problem", PLACES, ids=lambda problem: f"{problem.name} {problem.place}")
def test_leaving_one_out_is_the_batch_mean_as_baseline_times_n_over_n_minus_one(problem):
    """So a scale that is wrong by a factor of the batch size, or of the steps, cannot pass."""
    batch = Place(problem, 0, 11).draw(16, [1])[0]
    expected = 16 / 15 * batch.weighted_scores(batch.returns_to_go - batch.returns_to_go.mean(0))
    np.testing.assert_allclose(on(problem, Variant("leave_one_out")), expected, rtol=1e-9, atol=1e-8)


def test_a_shared_return_is_the_score_function_of_the_game():
    problem = game.Game(5)
    np.testing.assert_allclose(on(problem, Variant("shared_return")), on(problem, Variant("score_function")))


def test_a_step_at_a_time_or_the_whole_episode_are_one_scale():
    """Σ_t ∇log π_t G_t, where all that is paid is paid at the end, is the return times the sum of scores."""
    batch = lqr.Regulator().draw(16, np.random.default_rng(0))
    last = batch.under({}, rewards=np.where(np.arange(10) == 9, batch.rewards.sum(1, keepdims=True), 0.0))
    whole = batch.rewards.sum(1, keepdims=True) * batch.step_scores.sum(1)
    np.testing.assert_allclose(estimator_of("score_function").gradients(last), whole)


def test_one_step_without_discount_is_the_score_function_and_so_is_the_optimal_baseline_of_one_state():
    problem = arms.Arms(5)
    np.testing.assert_allclose(
        on(problem, Variant("optimal_state_baseline")), on(problem, Variant("optimal_constant_baseline")), rtol=1e-9
    )


def test_a_natural_gradient_of_gaussian_bandits_is_the_plain_one_times_the_squared_width():
    problem = quadratic.Quadratic(sigma=0.3)
    natural = on(problem, Variant("natural", (("fisher", "exact"),)))
    np.testing.assert_allclose(natural, 0.09 * on(problem, Variant("score_function")), rtol=1e-9)


def test_a_natural_step_is_the_same_in_other_parameters_and_a_plain_one_is_not():
    variants = [*estimator_of("natural").variants(), Variant("score_function"), Variant("optimal_state_baseline")]
    exact, batch, plain, baseline = measure_place(Place(chain.Chain(0.9), 0, 0), variants, {64: 30}, 64)
    np.testing.assert_allclose(exact.cosines, 1, atol=1e-9)
    np.testing.assert_allclose(batch.cosines, 1, atol=1e-6)
    assert max(plain.cosines) < 0.99
    assert max(baseline.cosines) < 0.99
    assert not measure_place(Place(arms.Arms(), 0, 0), variants[2:3], {64: 8}, 64)[0].cosines


@pytest.mark.parametrize("problem", [game.Game(4), game.Game(8), arms.Arms(5)], ids=lambda problem: problem.place)
def test_a_natural_gradient_has_no_part_that_changes_no_policy(problem):
    """The logits of one choice that all grow alike: a Fisher matrix from a batch has rounding there in place of 0."""
    choices = problem.agents if isinstance(problem, game.Game) else 1
    for fisher in ("exact", "batch"):
        steps = on(problem, Variant("natural", (("fisher", fisher),)), size=256)
        alike = steps.reshape(len(steps), choices, -1).sum(2)
        np.testing.assert_allclose(alike, 0, atol=1e-9 * np.abs(steps).max())


# ------------------------------------------------------------------------------------ variance


def variance(problem, variant):
    return samples_of_all(problem)[variant].var(0, ddof=1).sum()


def test_baselines_are_ordered_as_theory_says():
    for problem in (arms.Arms(5, 1010.0), chain.Chain(0.9), lqr.Regulator(), game.Game(4)):
        plain, value = variance(problem, "score_function"), variance(problem, "value_baseline")
        assert value < plain
        assert variance(problem, "optimal_constant_baseline") < plain
        assert variance(problem, "optimal_state_baseline") < 1.1 * value
    assert variance(arms.Arms(5, 1010.0), "leave_one_out") < 1e-4 * variance(arms.Arms(5, 1010.0), "score_function")


def test_common_noise_lowers_the_variance_of_a_difference_and_not_of_a_sum():
    """Leaving one out compares episodes; the pathwise gradient averages over them, and has lost what it averages."""
    problem = lqr.Regulator()
    assert variance(problem, "leave_one_out common_noise=True") < variance(problem, "leave_one_out")
    assert variance(problem, "pathwise common_noise=True") > variance(problem, "pathwise")


# ------------------------------------------------------------------------------------ verdicts


def verdicts(repetitions, bias, batches=128, size=64):
    """How often an estimator without bias is called biased, if `bias` times the truth's length is added to it."""
    problem, found = quadratic.Quadratic(), 0
    direction = np.eye(problem.dimensions)[0] * np.linalg.norm(problem.truth)
    reference = np.full((batches, batches), problem.truth @ problem.truth)
    for repetition in range(repetitions):
        drawn = problem.draw(batches * size, np.random.default_rng([repetition, 17]))
        gradients = estimator_of("score_function").gradients(drawn)
        error = gradients.reshape(batches, size, -1).mean(1) + bias * direction - problem.truth
        found += relative_bias(error @ error.T, reference).low > 0
    return found


def test_false_verdicts_of_bias_are_as_rare_as_they_should_be():
    """All misses of a squared length of 0 are on one side: 5 % of 1,000, within the binomial interval of 99 %."""
    low, high = binom.interval(0.99, 1000, 0.05)
    assert low <= verdicts(1000, bias=0.0) <= high


def test_a_bias_of_a_quarter_of_the_truth_is_found_in_nine_of_ten_cases():
    """With the score function's noise, whose variance in a batch is four times the squared length of the truth, and
    with the batches of the grid `estimators`.
    """
    assert verdicts(200, bias=0.25, batches=256) >= 180


# ------------------------------------------------------------------------------------ files of estimators


def test_an_estimator_is_a_short_file():
    folder = estimation.FOLDER / "estimators"
    lengths = {
        name: len((folder / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in names("estimators")
    }
    assert len(lengths) >= 17
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_the_record_says_what_was_measured_and_what_was_not():
    problems = [arms.Arms(5), arms.Arms(2)]
    variants = [
        *estimator_of("gumbel_softmax").variants({"temperature": (0.5, 2)}),
        *estimator_of("leave_one_out").variants(),
        *estimator_of("natural").variants({"fisher": ("exact",)}),
        Variant("pathwise"),
    ]
    record, arrays = measure(problems, variants, 0, {1: 8, 16: 9}, 16)
    assert [place["numbers"] for place in record["places"]] == [p.numbers for p in problems]
    assert [place["place"] for place in record["places"]] == ["k = 5, offset = 10", "k = 2, offset = 10"]
    ids = [entry["id"] for entry in record["estimators"] if entry["place"] == 1]
    of_one = ("gumbel_softmax temperature=0.5", "gumbel_softmax temperature=2", "leave_one_out", "natural fisher=exact")
    assert ids == [f"1/{name}" for name in of_one]
    assert {tuple(entry["sizes"]) for entry in record["estimators"]} == {(1, 16), (16,)}
    reason = "it needs a reward that can be differentiated by the action, and arms has discrete actions"
    assert record["not_applicable"][0] == {"place": 0, "estimator": "pathwise", "reason": reason}
    assert len(record["not_applicable"]) == 2
    assert arrays["0/gumbel_softmax temperature=2/16"].shape == (9, 5)
    assert arrays["1/leave_one_out/16"].shape == (9, 2)
    assert "1/leave_one_out/1" not in arrays
    np.testing.assert_allclose(arrays["0/natural_truth"], problems[0].natural_truth)
    again, same = measure(problems, variants, 0, {1: 8, 16: 9}, 16)
    assert all((same[name] == array).all() for name, array in arrays.items())
    assert all(entry["milliseconds"] > 0 for entry in again["estimators"])


def test_what_is_fitted_is_fitted_once_at_a_place_and_its_time_is_apart():
    variants = [Variant("optimal_constant_baseline"), Variant("score_function")]
    fitted, plain = measure_place(Place(arms.Arms(), 0, 0), variants, {16: 8}, 16)
    assert fitted.subject.fits.seconds > 0
    assert plain.subject.fits.seconds == 0
    assert len(fitted.subject.fits._found) == 1


def test_estimators_see_the_same_batches_and_other_sizes_other_ones():
    place = Place(quadratic.Quadratic(), 0, 0)
    first, same = (place.draw(4, [measuring.MEASURING, 4, 0])[0] for _ in range(2))
    assert (first.noise == same.noise).all()
    other = place.draw(4, [measuring.MEASURING, 16, 0])[0]
    fits = place.draw(4, [measuring.FITTING])[0]
    assert (first.noise != other.noise).any()
    assert (first.noise != fits.noise).any()


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (lambda batch: batch.rewards, r"must return \[2, 8\] finite numbers .*; it has the shape \[2, 1\]"),
        (lambda batch: batch.step_scores[:, 0] * np.nan, "it has numbers that are not finite"),
    ],
)
def test_gradients_of_another_shape_are_refused_in_a_sentence_that_names_the_file(returned, says, monkeypatch):
    own = estimation.Estimator("mine", "mine", returned, {}, "plain", 1, False)
    monkeypatch.setattr(measuring, "estimator_of", lambda name: own)
    problem = quadratic.Quadratic()
    with pytest.raises(InvalidEstimator, match=r"^experiments/estimation/estimators/mine\.py: .*" + says):
        Subject(Place(problem, 0, 0), Variant("mine"), problem).reason_against()
