"""Verdicts on claims whose sides are one algorithm on other tasks, two evaluations, spreads, or the best of several."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.sections.claims import sentences as claim_findings
from analysis.sections.claims.verdicts import CONTRADICTED, SUPPORTED, TOO_LITTLE, UNDECIDED, UNTESTABLE
from analysis.statistics.best import behind_the_best
from analysis.statistics.comparison import difference
from analysis.statistics.spread import log_ratio_of_spreads, pooled_kurtosis
from experiments.metrics import COMMON_CLAIMS
from tests.analysis_fixtures import HOPPER, claim, comparison, edit_json
from tests.test_claim_verdicts import BAD, GOOD, grid_of, only, page_of, tables

IDS = ("A-v0", "B-v0", "C-v0")
ON = {name: f"{name}-squashed" for name in IDS}


def side(algorithm="ppo", bounds=None, **about) -> dict:
    """A side as grid.json has it; `bounds` puts it on the tasks with these action bounds."""
    on = {"on": {"action_bounds": bounds}, "tasks": ON if bounds == "squash" else dict(zip(IDS, IDS, strict=True))}
    return {"algorithm": algorithm, "gae_lambda": None, "critic": None} | (on if bounds else {}) | about


SQUASH, CLIP = side(bounds="squash"), side(bounds="clip")
TASKS = {name: HOPPER for name in IDS} | {
    of: {**HOPPER, "id": name, "action_bounds": "squash"} for name, of in ON.items()
}


def on_both(squashed=GOOD, clipped=BAD) -> dict:
    """Scores of PPO on every task of TASKS."""
    return {(name, "ppo"): clipped for name in IDS} | {(name, "ppo"): squashed for name in ON.values()}


def grid_with(folder, stated, tasks=TASKS, **about):
    return grid_of(folder, claim("a", stated), tasks=tasks, **about)


def test_one_algorithm_is_compared_with_itself_on_tasks_with_other_values(tmp_path):
    stated = comparison("final_score", SQUASH, CLIP, differing_in=["action_bounds"])
    grid = grid_with(tmp_path, stated)
    made = tables(grid, on_both())
    row = only(made)
    assert (row["verdict"], row["tasks"], row["effect"]) == (SUPPORTED, 3, pytest.approx(0.3))
    assert (row["first"], row["second"]) == ("PPO (action_bounds: squash)", "PPO (action_bounds: clip)")
    assert made["claim_tasks"]["task"].tolist() == list(IDS)
    assert "PPO (action_bounds: squash) minus PPO (action_bounds: clip): +0.30" in page_of(grid, made, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"normalize_rewards": True}, "the two sides also differ in normalize_rewards"),
        ({"action_bounds": "clip"}, "the two sides do not differ in action_bounds"),
        ({"random_score": -5.0}, "the random_score of A-v0-squashed is -5, and that of A-v0 18: no common scale"),
        ({"reference_score": 1000.0}, "the reference_score of A-v0-squashed is 1000"),
        ({"steps": 7}, "runs of 7 and of"),
    ],
)
def test_a_place_where_the_tasks_cannot_be_compared_does_not_count(tmp_path, changes, said):
    stated = comparison("final_score", SQUASH, CLIP, differing_in=["action_bounds"])
    grid = grid_with(tmp_path, stated, TASKS | {"A-v0-squashed": TASKS["A-v0-squashed"] | changes})
    made = tables(grid, on_both())
    assert (only(made)["tasks"], only(made)["verdict"]) == (2, TOO_LITTLE)
    assert said in made["claim_tasks"]["note"][0]


def test_a_place_without_a_task_of_one_side_is_named(tmp_path):
    grid = grid_with(tmp_path, comparison("final_score", SQUASH | {"tasks": {"B-v0": "B-v0-squashed"}}, CLIP))
    made = tables(grid, on_both())
    assert made["claim_tasks"]["note"][0] == "the grid has no such task for PPO (action_bounds: squash)"
    assert made["claim_tasks"]["verdict"].tolist()[::2] == [UNTESTABLE] * 2


@pytest.mark.parametrize(
    ("seeds", "named", "verdict"), [(5, False, SUPPORTED), (9, True, TOO_LITTLE), (10, True, SUPPORTED)]
)
def test_the_least_evidence_is_asked_of_ids_too(tmp_path, seeds, named, verdict):
    stated = comparison("final_score", SQUASH, CLIP, tasks=["A-v0"] if named else "all")
    scores = {place: (of * 2)[:seeds] for place, of in on_both().items()}
    assert only(tables(grid_with(tmp_path, stated, seeds=range(seeds)), scores))["verdict"] == verdict


def test_two_evaluations_of_the_same_runs_are_paired(tmp_path):
    stated = comparison("final_score", side(score="mode"), side(score="sampled"), smallest_effect=0.02)
    tasks = {name: HOPPER for name in IDS}
    scores = {(name, "ppo"): [0.1, 0.5, 0.9, 0.3, 0.7] for name in IDS}
    modes = {at: [value + 0.1 + 0.01 * (-1) ** seed for seed, value in enumerate(of)] for at, of in scores.items()}
    row = only(tables(grid_with(tmp_path, stated, tasks), scores, normalized_mode=modes))
    assert row["effect"] == pytest.approx(0.102)
    assert (row["verdict"], row["n_first"], row["n_second"]) == (SUPPORTED, 15, 15)  # unpaired it is far from decided
    assert (row["first"], row["second"]) == ("PPO (mode action)", "PPO (sampled actions)")
    assert row["high"] - row["low"] < 0.02


def test_the_mode_score_is_that_of_the_mode_action(tmp_path):
    tasks = {name: HOPPER for name in IDS}
    grid = grid_with(tmp_path, comparison("mode_score", "ppo", "reinforce"), tasks)
    scores = {(name, of): BAD for name in IDS for of in ("ppo", "reinforce")}
    modes = {at: GOOD if at[1] == "ppo" else BAD for at in scores}
    row = only(tables(grid, scores, normalized_mode=modes))
    assert (row["effect"], row["verdict"]) == (pytest.approx(0.3), SUPPORTED)
    unknown = {at: [np.nan] * 5 for at in scores}
    made = tables(grid, scores, normalized_mode=unknown)
    assert only(made)["verdict"] == UNTESTABLE
    assert "no evaluation with the mode action of PPO and REINFORCE" in made["claim_tasks"]["note"][0]


# ----------------------------------------------------------------------------------------------- costs

TEN = range(10)
ON_ONE = {"tasks": ["A-v0"]}


def of_costs(folder, stated, scores, costs) -> dict:
    """The tables of a comparison on one task, of algorithms with these scores and costs of their runs."""
    grid = grid_of(folder, claim("a", stated), tasks={"A-v0": HOPPER}, algorithms=tuple(scores), seeds=TEN)
    spread = 0.01 * (np.arange(10) - 4.5)
    at = {("A-v0", name): value + spread for name, value in scores.items()}
    return tables(grid, at, episode_cost={("A-v0", name): value + spread for name, value in costs.items()})


@pytest.mark.parametrize(("cost", "verdict"), [(24.0, SUPPORTED), (27.4, SUPPORTED), (29.0, CONTRADICTED)])
def test_a_cost_is_held_against_a_limit(tmp_path, cost, verdict):
    stated = comparison("episode_cost", "ppo", direction="lower", than=30, smallest_effect=2.5, **ON_ONE)
    row = only(of_costs(tmp_path, stated, {"ppo": 0.5}, {"ppo": cost}))
    assert (row["verdict"], row["effect"], row["claimed_high"]) == (verdict, pytest.approx(cost), 27.5)


def test_a_task_without_costs_says_nothing_of_them(tmp_path):
    stated = comparison("episode_cost", "ppo", direction="lower", than=30, **ON_ONE)
    made = of_costs(tmp_path, stated, {"ppo": 0.5}, {"ppo": np.nan})
    assert (only(made)["verdict"], made["claim_tasks"]["note"][0]) == (UNTESTABLE, "no costs of PPO")


HELD = {"best_of": [side("a2c"), side("reinforce")], "cost_at_most": 25}
SCORED = {"ppo": 0.5, "a2c": 0.9, "reinforce": 0.3}


@pytest.mark.parametrize(
    ("costs", "effect", "note"),
    [
        ({"a2c": 24.0, "reinforce": 3.0}, -0.4, "best: A2C"),
        ({"a2c": 26.0, "reinforce": 3.0}, 0.2, "best: REINFORCE; left out for a higher cost: A2C"),
        ({"a2c": 26.0, "reinforce": 31.0}, None, "none of them has a mean cost of at most 25; the lowest is 26"),
        ({"a2c": np.nan, "reinforce": np.nan}, None, "the task reports no costs there"),
    ],
)
def test_the_best_is_one_of_those_that_hold_the_limit(tmp_path, costs, effect, note):
    stated = comparison("final_score", "ppo", HELD, **ON_ONE)
    made = of_costs(tmp_path, stated, SCORED, {"ppo": 20.0} | costs)
    row = only(made)
    assert row["second"].endswith(", of those with a cost of at most 25")
    assert made["claim_tasks"]["note"][0] == note
    if effect is None:
        assert row["verdict"] == (UNTESTABLE if np.isnan(costs["a2c"]) else UNDECIDED)
    else:
        assert row["effect"] == pytest.approx(effect)
        assert row["verdict"] == (SUPPORTED if effect > 0 else CONTRADICTED)


# ---------------------------------------------------------------------------------------------- spread


def spreads(tmp_path, first, second, seeds=5, **about) -> tuple[pd.Series, dict]:
    """A claim on the spread of two algorithms with these scores on each of three tasks."""
    stated = comparison("spread", "ppo", "reinforce", **{"smallest_effect": 0.25} | about)
    grid = grid_with(tmp_path, stated, {name: HOPPER for name in IDS}, seeds=range(seeds))
    scores = {(name, of): values for name in IDS for of, values in (("ppo", first), ("reinforce", second))}
    made = tables(grid, scores)
    return only(made), {"grid": grid, "made": made, "page": page_of(grid, made, tmp_path).replace("\\xa0", " ")}


def test_a_spread_is_a_ratio_of_standard_deviations(tmp_path):
    wide = [0.5 + 8 * (value - 0.6) for value in GOOD]
    row, about = spreads(tmp_path, wide, BAD)
    assert row["effect"] == pytest.approx(8)
    assert (row["verdict"], row["scale"], row["claimed_low"]) == (SUPPORTED, "ratio", 1.25)
    assert 8 / row["low"] == pytest.approx(row["high"] / 8)
    assert "PPO has 800 % [" in about["page"]
    assert "geometric mean over tasks" in about["page"]
    assert "at least 125 %" in about["page"]
    row, _ = spreads(tmp_path / "other", BAD, wide, direction="lower")
    assert (row["effect"], row["verdict"]) == (pytest.approx(1 / 8), SUPPORTED)
    assert spreads(tmp_path / "opposite", BAD, wide)[0]["verdict"] == CONTRADICTED


def test_runs_that_end_alike_have_no_ratio_of_spreads(tmp_path):
    row, about = spreads(tmp_path, [1.0] * 5, BAD)
    assert (row["verdict"], row["tasks"]) == (UNDECIDED, 0)
    assert "the runs of PPO all end alike, so there is no ratio" in row["reason"]
    assert "nan" not in about["page"]


def test_the_variance_of_a_logarithm_is_bonetts():
    """With the formula of the article written out for one pair of samples."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=6), rng.normal(size=8) * 2
    trimmed = [stats.trim_mean(of, 1 / (2 * np.sqrt(len(of) - 4))) for of in (x, y)]
    squares = 5 * x.var(ddof=1) + 7 * y.var(ddof=1)
    kurtosis = 14 * (((x - trimmed[0]) ** 4).sum() + ((y - trimmed[1]) ** 4).sum()) / squares**2
    assert pooled_kurtosis(x, y) == pytest.approx(kurtosis)
    of_variances = (kurtosis - 3 / 6) / 5 + (kurtosis - 5 / 8) / 7
    value, low, high = log_ratio_of_spreads([x], [y])
    assert value == pytest.approx(np.log(x.var(ddof=1) / y.var(ddof=1)) / 2)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(of_variances) / 2, rel=1e-4)


SHAPES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "uniform": lambda rng, size: rng.uniform(size=size),
    "heavy tails": lambda rng, size: rng.standard_t(5, size=size),
    "skewed": lambda rng, size: rng.exponential(size=size),
    "two groups": lambda rng, size: rng.normal(size=size) + 6 * (rng.uniform(size=size) < 0.3),
}


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("ratio", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_of_a_ratio_of_spreads_covers_the_truth(shape, ratio, seeds):
    """On three tasks, the fewest of a claim about all of them; 93 is what 500 cases can tell from 95."""
    rng, covered = np.random.default_rng(11), []
    for _ in range(500):
        first, second = (SHAPES[shape](rng, (3, seeds)) for _ in range(2))
        _, low, high = log_ratio_of_spreads(list(first * ratio), list(second))
        covered.append(low <= np.log(ratio) <= high)
    assert np.mean(covered) >= 0.93


# ---------------------------------------------------------------------------------------------- spread of episodes


def test_the_spread_of_a_policys_returns_is_a_difference_and_needs_two_episodes_of_each_run(tmp_path):
    tasks = {name: HOPPER for name in IDS}
    grid = grid_with(tmp_path, comparison("episode_spread", "ppo", "reinforce", direction="lower"), tasks)
    scores = {(name, of): GOOD for name in IDS for of in ("ppo", "reinforce")}
    of_episodes = {at: [x / 10 for x in (BAD if at[1] == "ppo" else GOOD)] for at in scores}
    made = tables(grid, scores, episode_spread=of_episodes)
    row = only(made)
    assert (row["effect"], row["scale"], row["verdict"]) == (pytest.approx(-0.03), "difference", SUPPORTED)
    assert "standard deviation over its evaluation episodes" in page_of(grid, made, tmp_path)
    made = tables(grid, scores, episode_spread=of_episodes | {at: [np.nan] * 5 for at in scores if at[1] == "ppo"})
    assert only(made)["verdict"] == UNTESTABLE
    assert "no two evaluation episodes of each run of PPO" in made["claim_tasks"]["note"][0]


# ---------------------------------------------------------------------------------------------- the best of several

NAMES = ("reinforce", "reinforce_baseline", "ppo")


def against_the_best(folder, values, direction="lower", *, best_first=False, metric="final_score") -> dict:
    """REINFORCE against the best of the two others, with these scores on each of three tasks."""
    best = {"algorithm": None, "gae_lambda": None, "critic": None, "best_of": [side(name) for name in NAMES[1:]]}
    sides = (best, side("reinforce")) if best_first else (side("reinforce"), best)
    grid = grid_with(folder, comparison(metric, *sides, direction=direction), {name: HOPPER for name in IDS})
    made = tables(grid, {(name, of): scores for name in IDS for of, scores in zip(NAMES, values, strict=True)})
    return {"row": only(made), "made": made, "grid": grid}


def test_the_best_of_several_is_that_with_the_best_mean(tmp_path):
    found = against_the_best(tmp_path, (BAD, [x + 0.1 for x in BAD], GOOD))
    assert found["row"]["effect"] == pytest.approx(-0.3)
    assert found["row"]["verdict"] == SUPPORTED
    assert found["row"]["second"] == "the best of REINFORCE with baseline and PPO"
    assert found["made"]["claim_tasks"]["note"].tolist() == ["best: PPO"] * 3
    assert "best: PPO" in page_of(found["grid"], found["made"], tmp_path)
    turned = against_the_best(tmp_path / "turned", (BAD, [x + 0.1 for x in BAD], GOOD), "higher", best_first=True)
    assert turned["row"]["effect"] == pytest.approx(0.3)
    for end, other in (("low", "high"), ("high", "low")):
        assert turned["row"][end] == pytest.approx(-found["row"][other])
    assert turned["made"]["claim_tasks"]["note"].tolist() == ["best: PPO"] * 3


def test_the_best_of_one_algorithm_is_named_once(tmp_path):
    best = {"algorithm": None, "gae_lambda": None, "critic": None, "best_of": [SQUASH, CLIP]}
    row = only(tables(grid_with(tmp_path, comparison("final_score", side("reinforce"), best)), on_both()))
    assert row["second"] == "the best of PPO (action_bounds: squash and clip)"
    assert row["verdict"] == UNTESTABLE


def test_a_task_without_bins_is_said_in_words(tmp_path):
    on = {"action_bins": None}
    sides = [{**SQUASH, "on": on}, {**CLIP, "on": {"action_bins": 5}}]
    row = only(tables(grid_with(tmp_path, comparison("final_score", *sides)), on_both()))
    assert (row["first"], row["second"]) == ("PPO (without action bins)", "PPO (action_bins: 5)")
    best = {"algorithm": None, "gae_lambda": None, "critic": None, "best_of": [sides[0], {**sides[1]}]}
    row = only(tables(grid_with(tmp_path / "best", comparison("final_score", side("reinforce"), best)), on_both()))
    assert row["second"] == "the best of PPO (without action bins) and PPO (action_bins: 5)"


def test_a_task_without_keyword_arguments_is_said_in_words(tmp_path):
    sides = [{**SQUASH, "on": {"kwargs": {}}}, {**CLIP, "on": {"kwargs": {"penalty": 0.1}}}]
    row = only(tables(grid_with(tmp_path, comparison("final_score", *sides)), on_both()))
    assert (row["first"], row["second"]) == ("PPO (without kwargs)", "PPO (kwargs: {penalty: 0.1})")


def test_values_that_all_sides_share_stand_with_the_runs(tmp_path):
    of = [{**SQUASH, "algorithm": name, "on": {"action_bounds": "squash"}} for name in ("ppo", "reinforce")]
    grid = grid_with(tmp_path, comparison("final_score", *of))
    made = tables(grid, {(name, of): GOOD for name in ON.values() for of in ("ppo", "reinforce")})
    assert (only(made)["first"], only(made)["second"]) == ("PPO", "REINFORCE")
    page = page_of(grid, made, tmp_path)
    assert "5 runs of each algorithm on each of 3 tasks (action_bounds: squash)" in page


def test_a_task_on_which_the_grid_does_not_run_a_side_is_named(tmp_path):
    grid = grid_with(tmp_path, comparison("final_score", "ppo", "reinforce"), {name: HOPPER for name in IDS})
    cells = [cell for cell in grid.cells if (cell["task"], cell["algorithm"]) != ("A-v0", "reinforce")]
    edit_json(grid.folder / "grid.json", cells=cells)
    scores = {(name, "ppo"): GOOD for name in IDS} | {(name, "reinforce"): BAD for name in IDS[1:]}
    made = tables(read_grid(grid.folder), scores)
    assert made["claim_tasks"]["note"][0] == "the grid does not run REINFORCE there"
    left = [cell for cell in cells if (cell["task"], cell["algorithm"]) != ("B-v0", "reinforce")]
    edit_json(grid.folder / "grid.json", cells=left)
    row = only(tables(read_grid(grid.folder), {place: of for place, of in scores.items() if place[0] != "B-v0"}))
    assert row["left_out"] == "A-v0 and B-v0 (the grid does not run REINFORCE there)"


def test_of_one_other_the_best_is_that_one():
    rng = np.random.default_rng(5)
    first, other = rng.normal(size=(3, 8)), rng.normal(size=(3, 8)) + 1
    value, low, high = behind_the_best(list(first), [list(other)], draws=100_000)
    welch = difference(list(first), list(other))
    assert value == pytest.approx(welch.value)
    assert high == pytest.approx(welch.high, abs=0.03 * (welch.high - welch.value))
    assert low == pytest.approx(welch.low, abs=0.1 * (welch.value - welch.low))  # combined task by task


def test_where_no_run_differs_the_best_has_an_interval_without_width():
    first, others = [np.full(5, 0.2)] * 3, [[np.full(5, level)] * 3 for level in (0.1, 0.7)]
    assert behind_the_best(first, others) == pytest.approx((-0.5, -0.5, -0.5))
    value, low, high = behind_the_best([np.array([0.2])], [[np.array([0.1])], [np.array([0.7])]])
    assert value == pytest.approx(-0.5)
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("others", [2, 5])
@pytest.mark.parametrize("tasks", [1, 3])
def test_at_equal_means_none_is_worse_than_the_best_more_often_than_is_promised(tasks, others, seeds):
    """2.5 % on this end of a 95 % interval. Welch's interval against the one with the best mean errs far more often."""
    rng, wrong, naive = np.random.default_rng(17), [], []
    for _ in range(500):
        first, *rest = rng.normal(size=(1 + others, tasks, seeds))
        wrong.append(behind_the_best(list(first), [list(of) for of in rest], draws=1000)[2] < 0)
        best = [max((of[task] for of in rest), key=np.mean) for task in range(tasks)]
        naive.append(difference(list(first), best).high < 0)
    assert np.mean(wrong) <= 0.025 + 2.6 * np.sqrt(0.025 * 0.975 / 500)
    if others == 5:
        assert np.mean(naive) > 0.05


@pytest.mark.parametrize("means", [(0.3, 0, 0), (0.3, 0.3, 0.3), (0.3, 0.25, -2)])
def test_neither_end_misses_the_truth_more_often_than_is_promised(means):
    rng, above, below = np.random.default_rng(19), [], []
    for _ in range(500):
        first = rng.normal(size=(3, 5))
        rest = [rng.normal(mean, 1 + (number == 2), size=(3, 5)) for number, mean in enumerate(means)]
        _, low, high = behind_the_best(list(first), [list(of) for of in rest], draws=1000)
        above.append(high < -0.3)
        below.append(low > -0.3)
    assert max(np.mean(above), np.mean(below)) <= 0.025 + 2.6 * np.sqrt(0.025 * 0.975 / 500)


# ---------------------------------------------------------------------------------------------- the page


def shown(folder, *stated, scores=None, seeds=5) -> dict:
    """The section of a grid of three tasks with these claims: what the template is given, and the text of headline."""
    grid = grid_of(folder, *stated, tasks={name: HOPPER for name in IDS}, seeds=range(seeds))
    scores = scores or {(name, of): runs for name in IDS for of, runs in (("ppo", GOOD), ("reinforce", BAD))}
    made = tables(grid, {at: of[:seeds] for at, of in scores.items()})
    return {
        "headline": " ".join(claim_findings.headline(grid, made["claims"])),
        **claim_findings.page(grid, made["claims"], made["claim_tasks"]),
    }


MINE, WIDE = comparison("final_score", "ppo", "reinforce"), [0.1, 0.9, 0.2, 0.8, 0.6]
ABSENT = comparison("auc", "trpo", "npg")


def test_a_grids_own_claims_come_first_and_what_cannot_be_tested_is_one_folded_line(tmp_path):
    common = [claim(f"common_{n}", ABSENT, file=COMMON_CLAIMS) for n in range(8)]
    page = shown(tmp_path, *common, claim("mine", MINE), claim("absent", ABSENT))
    assert [(of["number"], of["id"]) for of in page["claims"]][:2] == [(1, "mine"), (2, "absent")]
    assert [of["id"] for of in page["claims"] if of["unfolded"]] == ["mine"]
    (folded,) = page["folds"]
    assert folded["title"] == "9 claims cannot be tested: the grid has no trpo, npg"
    assert len(folded["claims"]) == 9
    assert page["headline"] == (
        "Of 2 claims, 1 is supported and 1 cannot be tested. "
        "8 further claims that every grid tests cannot be tested here."
    )


def test_common_claims_that_are_not_decided_are_folded_and_a_grids_own_are_not(tmp_path):
    scores = {(name, of): runs for name in IDS for of, runs in (("ppo", WIDE), ("reinforce", WIDE[::-1]))}
    page = shown(tmp_path, claim("common", MINE, file=COMMON_CLAIMS), claim("mine", MINE), scores=scores)
    assert [of["id"] for of in page["claims"] if of["unfolded"]] == ["mine"]
    assert page["claims"][0]["effects"][0].startswith("Final score: PPO minus REINFORCE: 0.00 [")
    assert [folded["title"] for folded in page["folds"]] == ["1 claim not decided: 1 undecided"]


def test_beside_too_little_evidence_stands_what_would_be_enough(tmp_path):
    page = shown(tmp_path, claim("mine", MINE), seeds=4)
    assert page["claims"][0]["short"] == [
        "4 runs on each of 3 tasks; a verdict needs at least 5 runs of each algorithm on each of 3 tasks."
    ]


def test_a_contradiction_says_of_what_kind_it_is_and_what_was_checked_since(tmp_path):
    opposite = claim("opposite", comparison("final_score", "reinforce", "ppo"), checked="The learning rates.")
    small = claim("small", comparison("final_score", "ppo", "reinforce", smallest_effect=0.9))
    holds = claim("holds", MINE, checked="Nothing, since it holds.")
    found = {of["id"]: of for of in shown(tmp_path, opposite, small, holds)["claims"]}
    assert found["opposite"]["short"] == [
        "These runs contradict it: the opposite holds: the whole interval lies on the other side."
    ]
    assert "short of the smallest effect" in found["small"]["short"][0]
    assert [found[name]["checked"] for name in ("opposite", "small", "holds")] == ["The learning rates.", "", ""]


def test_one_environment_with_other_preprocessing_is_one_task_of_the_least_evidence(tmp_path):
    stated = comparison("final_score", "ppo", "reinforce")
    scores = {(name, of): runs for name in TASKS for of, runs in (("ppo", GOOD), ("reinforce", BAD))}
    assert only(tables(grid_with(tmp_path / "six", stated), scores))["verdict"] == SUPPORTED
    of_two = {name: about for name, about in TASKS.items() if not name.startswith("C")}
    row = only(
        tables(grid_with(tmp_path / "four", stated, of_two), {at: of for at, of in scores.items() if at[0] in of_two})
    )
    assert row["verdict"] == TOO_LITTLE
    assert row["reason"].startswith("5 runs on each of 4 tasks (2 environments); a verdict needs at least 5 runs")


# ---------------------------------------------------------------------------------------------- grid.json


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": "greedy"}, "score of a side of claims[0].comparisons[0] is 'greedy'; valid are sampled, mode"),
        ({"on": {}}, "a side of claims[0].comparisons[0] has no key 'tasks'"),
        ({"on": {}, "tasks": {"A-v0": "Z-v0"}}, "tasks has 'Z-v0'; valid are C-v0, B-v0, A-v0"),
        ({"best_of": [{"algorithm": "ppo"}]}, "a side of best_of of claims[0].comparisons[0] has no key 'gae_lambda'"),
        ({"best_of": "ppo"}, "best_of = 'ppo'; expected list"),
    ],
)
def test_a_side_that_is_not_whole_is_refused(tmp_path, changes, said):
    grid = grid_with(tmp_path, comparison("final_score", "ppo"))
    stated = json.loads((grid.folder / "grid.json").read_text(encoding="utf-8"))["claims"]
    stated[0]["comparisons"][0]["sides"][0] |= changes
    edit_json(grid.folder / "grid.json", claims=stated)
    with pytest.raises(ResultsError) as error:
        read_grid(grid.folder)
    assert said in str(error.value)
