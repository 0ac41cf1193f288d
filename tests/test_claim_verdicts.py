"""Verdicts on claims from tables whose effects are known, and what is said where one cannot be had."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis.reading import checks as results
from analysis.reading.grid import Grid, read_grid
from analysis.reading.tables import read_table, write_table
from analysis.sections import TABLES
from analysis.sections.claims import sentences as claim_findings
from analysis.sections.claims import verdicts as claims
from analysis.sections.claims.gradients import effect_at
from analysis.sections.claims.verdicts import (
    CONTRADICTED,
    METRICS,
    SUPPORTED,
    TOO_LITTLE,
    UNDECIDED,
    UNTESTABLE,
    effect_of_runs,
)
from analysis.statistics import scores as statistics
from analysis.statistics.comparison import difference
from analysis.statistics.gradients import Estimate
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    HOPPER,
    claim,
    comparison,
    edit_json,
    probe,
    says_nan,
    section_tables,
    write_grid,
)

TASKS = {"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER, "Walker2d-v5": HOPPER}  # Hopper has no threshold
ALGORITHMS = ("reinforce", "reinforce_baseline", "ppo")
GOOD, BAD = [0.60, 0.62, 0.58, 0.61, 0.59], [0.30, 0.32, 0.28, 0.31, 0.29]
BANDIT = "experiments.exact:SoftmaxBandit-v0"


def grid_of(folder, *stated, **about) -> Grid:
    about = {"algorithms": ALGORITHMS, "tasks": TASKS, "seeds": range(5), "claims": stated} | about
    write_grid(folder / "grid", **about)
    return read_grid(folder / "grid")


def runs(grid, values, **columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """scores and curves from the normalised score of every run, by (task, algorithm); AUC is half of it."""
    scores, curves = [], []
    for (task, algorithm), scored in values.items():
        low, high = grid.tasks[task]["random_score"], grid.tasks[task]["reference_score"]
        for seed, value in enumerate(scored):
            key = {"task": task, "algorithm": algorithm, "seed": seed}
            row = {**key, "normalized": value, "normalized_auc": value / 2, "steps": grid.tasks[task]["steps"]}
            scores.append(row | {name: of[task, algorithm][seed] for name, of in columns.items()})
            curves += [
                {**key, "step": 1, "moving_average": high},
                {**key, "step": 2, "moving_average": low + value * (high - low)},
            ]
    return tuple(
        pd.DataFrame(rows, columns=list(TABLES[name])) for name, rows in (("scores", scores), ("curves", curves))
    )


def estimator(task, name, ratio=None, bias=None, cosine=None, **about) -> dict:
    """A row of the gradients table; `name` is an algorithm or a λ; measures are (value, low, high)."""
    gae = not isinstance(name, str)
    row = {
        "task": task,
        "source": "ppo",
        "seed": 0,
        "fraction": 0.5,
        "exact": int(":" in task),
        "main": 1,
        "episodes": 8,
    }
    row |= {
        "kind": "gae" if gae else "algorithm",
        "algorithm": None if gae else name,
        "advantages": "raw",
        "gamma": 0.99,
    }
    row |= {"gae_lambda": name if gae else np.nan, "critic": "none" if name == "reinforce" else "trained"}
    for column, estimate in (("ratio", ratio), ("relative_bias", bias), ("true_cosine", cosine)):
        for end, value in zip(("", "_low", "_high"), estimate or [np.nan] * 3, strict=True):
            row[f"{column}{end}"] = value
    return row | about


def tables(grid, values=(), measured=(), true_curves=None, **columns) -> dict[str, pd.DataFrame]:
    scores, curves = runs(grid, dict(values), **columns)
    gradients = pd.DataFrame(measured, columns=list(TABLES["gradients"]))
    true_curves = pd.DataFrame(columns=list(TABLES["true_curves"])) if true_curves is None else true_curves
    known = {"scores": scores, "curves": curves, "gradients": gradients, "true_curves": true_curves}
    return section_tables("claims", grid=grid, **known)


def only(made) -> pd.Series:
    """The one row of the claims table."""
    assert len(made["claims"]) == 1
    return made["claims"].iloc[0]


def page_of(grid, made, tmp_path) -> str:
    """The text of the section, from tables as they are written."""
    for name in ("claims", "claim_tasks"):
        write_table(tmp_path, name, made[name])
    read = {name: read_table(tmp_path, name) for name in made}
    return str(
        [claim_findings.headline(grid, read["claims"]), claim_findings.page(grid, read["claims"], read["claim_tasks"])]
    )


BOTH = [(task, algorithm) for task in TASKS for algorithm in ("ppo", "reinforce")]


@pytest.mark.parametrize(
    ("first", "second", "direction", "verdict", "reason"),
    [
        (GOOD, BAD, "higher", SUPPORTED, None),
        (BAD, GOOD, "higher", CONTRADICTED, "the opposite holds"),
        (BAD, GOOD, "lower", SUPPORTED, None),
        (GOOD, BAD, "lower", CONTRADICTED, "the opposite holds"),
        (GOOD, [x - 0.2 for x in GOOD], "equal", CONTRADICTED, "further off than what counts as equal"),
        (
            [x / 100 + 0.01 for x in GOOD],
            [x / 100 for x in GOOD],
            "higher",
            CONTRADICTED,
            "short of the smallest effect",
        ),
        ([x / 100 + 0.01 for x in GOOD], [x / 100 for x in GOOD], "equal", SUPPORTED, None),
        ([0.1, 0.9, 0.2, 0.8, 0.6], [0.5, 0.1, 0.9, 0.2, 0.7], "higher", UNDECIDED, "would support the claim and"),
        ([0.1, 0.9, 0.2, 0.8, 0.6], [0.5, 0.1, 0.9, 0.2, 0.7], "equal", UNDECIDED, "would support the claim and"),
        ([0.5] * 5, [0.3] * 5, "higher", SUPPORTED, None),
        ([0.5] * 5, [0.5] * 5, "higher", CONTRADICTED, "short of the smallest effect"),
    ],
)
def test_the_verdict_is_what_the_interval_says_of_the_effects_that_are_claimed(
    tmp_path, first, second, direction, verdict, reason
):
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo", "reinforce", direction=direction)))
    row = only(tables(grid, dict(zip(BOTH, [first, second] * 3, strict=True))))
    assert (row["verdict"], row["claim_verdict"]) == (verdict, verdict)
    assert row["effect"] == pytest.approx(np.mean(first) - np.mean(second))
    assert row["low"] <= row["effect"] <= row["high"]
    assert (row["tasks"], row["n_first"], row["n_second"]) == (3, 15, 15)
    assert row["reason"] is None if reason is None else reason in row["reason"]


def test_the_interval_of_one_task_is_welchs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=5), rng.normal(size=8) * 3
    found = difference([first], [second])
    expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    alone = difference([first])
    assert (alone.low, alone.high) == pytest.approx(statistics.t_interval(first))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("first", "second"), [([0.1] * 5, [0.1] * 3), ([0.1] * 5, None), ([0.7] * 6, [0.1] * 5)])
def test_where_no_run_differs_from_another_the_interval_is_the_effect_itself(first, second):
    """0.1 has no exact mean of several: a variance by rounding alone must not make an interval."""
    sides = [[np.array(side)] * 3 for side in (first, second) if side is not None]
    effect = effect_of_runs(list(zip(*sides, strict=True)), METRICS["final_score"])
    expected = first[0] - (second[0] if second else 0.0)
    assert effect.value == pytest.approx(expected)
    assert effect.low == effect.value == effect.high
    assert difference(*sides).p == float(expected == 0)


def test_the_interval_over_tasks_covers_the_truth_in_95_of_100_cases():
    rng, spreads = np.random.default_rng(1), [(0.1, 0.3), (0.2, 0.1), (0.05, 0.1), (0.4, 0.2)]
    covered = []
    for _ in range(2000):
        pairs = [(rng.normal(0.3, a, size=5), rng.normal(0.1, b, size=5)) for a, b in spreads]
        found = difference(*map(list, zip(*pairs, strict=True)))
        covered.append(found.low <= 0.2 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


THREE = {name: {**HOPPER, "threshold": None} for name in ("A-v0", "B-v0", "C-v0")}


def on_three(first: list[list[float]]) -> dict:
    """Runs of PPO on each of THREE tasks; REINFORCE's are all BAD."""
    values = {(name, "reinforce"): BAD for name in THREE}
    return values | {(name, "ppo"): of for name, of in zip(THREE, first, strict=True)}


def test_every_task_has_equal_weight_and_its_own_verdict(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo", "reinforce")), tasks=THREE)
    far = [x + 0.6 for x in BAD]
    values = on_three([[x - 0.2 for x in BAD], far * 3, far])
    made = tables(grid, {place: of * 2 for place, of in values.items()})  # ten runs: enough for a task by itself
    row, places = only(made), made["claim_tasks"].set_index("task")
    assert row["effect"] == pytest.approx((-0.2 + 0.6 + 0.6) / 3)
    assert (row["verdict"], row["against"], row["rests_on"]) == (SUPPORTED, "A-v0", None)
    assert places["verdict"].to_dict() == {"A-v0": CONTRADICTED, "B-v0": SUPPORTED, "C-v0": SUPPORTED}
    assert places["without"].tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert places.loc["B-v0", ["n_first", "n_second"]].tolist() == [30, 10]
    assert "A-v0 by itself says the opposite of the average" in page_of(grid, made, tmp_path)


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_where_one_task_turns_the_sign_nothing_is_decided(tmp_path, direction):
    grid = grid_of(
        tmp_path, claim("a", comparison("final_score", "ppo", "reinforce", direction=direction)), tasks=THREE
    )
    worse = [x - 0.05 for x in BAD]
    made = tables(grid, on_three([worse, [x + 0.9 for x in BAD], worse]))
    row = only(made)
    assert row["low"] > 0.02
    assert (row["verdict"], row["rests_on"]) == (UNDECIDED, "B-v0")
    assert row["reason"] == "without B-v0 the effect has the other sign"
    page = page_of(grid, made, tmp_path).replace("\\xa0", " ")
    assert re.search(r"Without B-v0: −0\.05 \[−0\.\d\d, −0\.0\d\]\.", page)
    assert "A-v0 and C-v0 by themselves say the opposite of the average" in page


def test_of_two_tasks_that_say_the_opposite_neither_decides(tmp_path):
    named = ["CartPole-v1", "Hopper-v5"]
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo", "reinforce", tasks=named)))
    values = [BAD * 2, GOOD * 2, [x + 0.6 for x in BAD] * 2, BAD * 2]
    row = only(tables(grid, dict(zip(BOTH[:4], values, strict=True))))
    assert (row["effect"], row["verdict"]) == (pytest.approx((-0.3 + 0.6) / 2), UNDECIDED)


def test_equality_must_hold_on_every_task_and_not_on_average(tmp_path):
    stated = claim("a", comparison("final_score", "ppo", "reinforce", direction="equal", smallest_effect=0.1))
    grid = grid_of(tmp_path, stated, tasks=THREE)
    rows = [
        only(made := tables(grid, on_three([[x + shift for x in BAD] for shift in shifts])))
        for shifts in ([0, 0.02, -0.03], [0.3, -0.3, 0], [0, 0.09, 0])
    ]
    assert [row["verdict"] for row in rows] == [SUPPORTED, CONTRADICTED, UNDECIDED]
    assert [row["furthest"] for row in rows] == ["C-v0", "A-v0", "B-v0"]
    assert rows[2]["high"] > 0.1 > rows[2]["effect"] == pytest.approx(0.09)
    page = page_of(grid, made, tmp_path).replace("\\xa0", " ")
    assert re.search(r"PPO minus REINFORCE: at worst \+0\.09 \[\+0\.07, \+0\.11\], on B-v0'", page)


def test_a_verdict_that_hangs_on_one_task_says_so(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo", "reinforce")), tasks=THREE)
    made = tables(grid, on_three([BAD, BAD, GOOD]))
    assert only(made)[["verdict", "rests_on"]].tolist() == [SUPPORTED, "C-v0"]
    page = page_of(grid, made, tmp_path).replace("\\xa0", " ")
    assert "Without C-v0: 0.00 [−0.01, +0.01], and the verdict would not be “supported”." in page
    assert only(tables(grid, on_three([GOOD] * 3)))["rests_on"] is None


def test_one_side_alone_is_held_against_random_actions(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo")))
    row = only(tables(grid, {place: GOOD for place in BOTH[::2]}))
    assert row["effect"] == pytest.approx(0.6)
    assert (row["verdict"], pd.isna(row["second"])) == (SUPPORTED, True)


def test_each_metric_of_runs_is_what_it_is_called(tmp_path):
    names = ("final_score", "auc", "learning_per_step", "drop")
    grid = grid_of(tmp_path, *(claim(name, comparison(name, "ppo", tasks=["Hopper-v5"])) for name in names))
    effects = tables(grid, {BOTH[2]: GOOD})["claims"].set_index("claim")["effect"]
    assert effects.to_dict() == pytest.approx({"final_score": 0.6, "auc": 0.3, "learning_per_step": 1.2, "drop": 0.4})


WITH_THRESHOLD = {name: CARTPOLE for name in ("A-v0", "B-v0", "C-v0")}


def thresholds(grid, first, second, censored=()) -> dict:
    """Of runs that reach the threshold at these shares of the budget, or do not (None), on each task with a threshold;
    on further tasks none does.
    """
    reach = [task for task, about in grid.tasks.items() if about["threshold"] is not None and task not in censored]
    places = {(task, "ppo"): first for task in reach} | {(task, "reinforce"): second for task in reach}
    places |= {(task, name): [None] * 5 for task in censored for name in ("ppo", "reinforce")}
    steps = {
        (task, name): [grid.tasks[task]["steps"] * (1 if share is None else share) for share in shares]
        for (task, name), shares in places.items()
    }
    reached = {at: [float(share is not None) for share in shares] for at, shares in places.items()}
    return tables(grid, {at: [0.5] * len(of) for at, of in places.items()}, steps_to_threshold=steps, reached=reached)


def test_runs_that_do_not_reach_the_threshold_count_as_the_whole_budget(tmp_path):
    stated = comparison("steps_to_threshold", "ppo", "reinforce", direction="lower")
    grid = grid_of(tmp_path, claim("a", stated), tasks={**WITH_THRESHOLD, "Hopper-v5": HOPPER})
    row = only(thresholds(grid, [0.2, 0.3, 0.2, 0.3, 0.25], [0.9, None, 0.8, None, None]))
    assert row["effect"] == pytest.approx(0.25 - 0.94)
    assert row["verdict"] == SUPPORTED
    assert row["left_out"] == "Hopper-v5 (the grid gives no threshold there)"


def test_no_interval_of_shares_of_a_budget_is_wider_than_their_difference_can_be(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("steps_to_threshold", "ppo", "reinforce", direction="lower")))
    row = only(thresholds(grid, [0.1, 0.1, 0.1, 0.1, None], [0.2, None, None, None, None]))
    assert (row["effect"], row["low"], row["verdict"]) == (pytest.approx(0.28 - 0.84), -1, TOO_LITTLE)


def test_where_no_run_reaches_the_threshold_nothing_is_decided(tmp_path):
    stated = comparison("steps_to_threshold", "ppo", "reinforce", direction="lower")
    grid = grid_of(tmp_path, claim("a", stated), tasks=WITH_THRESHOLD)
    row = only(thresholds(grid, [None] * 5, [None] * 5))
    assert (row["verdict"], row["tasks"]) == (UNDECIDED, 3)
    assert row[["effect", "low", "high"]].tolist() == [0, 0, 0]
    assert "no run of PPO or REINFORCE reached the threshold" in row["reason"]


def test_a_task_on_which_neither_side_reaches_the_threshold_is_counted(tmp_path):
    tasks = {**WITH_THRESHOLD, "Hopper-v5": {**HOPPER, "threshold": 1000}}
    stated = claim("a", comparison("steps_to_threshold", "ppo", "reinforce", direction="lower"))
    grid = grid_of(tmp_path, stated, tasks=tasks)
    first, second = [0.2, 0.3, 0.2, 0.3, 0.25], [0.9, None, 0.8, None, None]
    whole = [1.0 if share is None else share for share in second]
    expected = difference(*([np.array(side)] * 3 + [np.ones(5)] for side in (first, whole)))
    assert expected.value == pytest.approx(0.75 * (np.mean(first) - np.mean(whole)))
    made = thresholds(grid, first, second, censored=["Hopper-v5"])
    row, places = only(made), made["claim_tasks"].set_index("task")
    assert row[["effect", "low", "high"]].tolist() == pytest.approx([expected.value, expected.low, expected.high])
    assert (row["verdict"], row["n_first"]) == (SUPPORTED, 20)
    assert places.loc["Hopper-v5", ["effect", "low", "high"]].tolist() == [0, 0, 0]
    assert places.loc["Hopper-v5", "verdict"] == TOO_LITTLE  # by itself
    assert "no run of PPO or REINFORCE reached the threshold" in places.loc["Hopper-v5", "note"]


@pytest.mark.filterwarnings("error")
def test_a_single_run_has_no_interval_and_decides_nothing(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("final_score", "ppo", "reinforce")), seeds=(0,))
    made = tables(grid, {place: [0.5 + 0.4 * ("ppo" in place)] for place in BOTH})
    row = only(made)
    assert row["effect"] == pytest.approx(0.4)
    assert pd.isna(row["low"])
    assert pd.isna(row["high"])
    assert row["verdict"] == TOO_LITTLE
    assert row["reason"] == (
        "1 run on each of 3 tasks; a verdict needs at least 5 runs of each algorithm on each of 3 tasks"
    )
    assert not says_nan(page_of(grid, made, tmp_path))


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (comparison("auc", "ppo", "ppo_one_epoch"), "the grid has no algorithm ppo_one_epoch"),
        (comparison("auc", "trpo", "npg"), "the grid has no algorithms trpo and npg"),
        (comparison("auc", "ppo", "reinforce", tasks=["Ant-v5"]), "Ant-v5 (not a task of the grid)"),
        (comparison("auc", "ppo", "reinforce_baseline"), "no finished run of REINFORCE with baseline"),
        (comparison("steps_to_threshold", "ppo", "reinforce", tasks=["Hopper-v5"]), "gives no threshold there"),
        (comparison("auc", "ppo", "reinforce", differing_in=["clip"]), "the two sides do not differ in clip"),
        (comparison("variance", "ppo", "reinforce"), "the grid has no frozen policies (probes) of its tasks"),
        (comparison("variance", "ppo", "reinforce", tasks="exact"), "no frozen policies (probes) of exact problems"),
        (comparison("variance", "ppo", tasks=["Ant-v5"]), "Ant-v5 (the grid has no frozen policies (probes) of it)"),
    ],
)
def test_a_claim_that_cannot_be_tested_says_what_is_missing(tmp_path, stated, said):
    grid = grid_of(tmp_path, claim("a", stated))
    made = tables(grid, {place: GOOD for place in BOTH})
    row = only(made)
    assert (row["verdict"], row["claim_verdict"]) == (UNTESTABLE, UNTESTABLE)
    assert said in row["reason"]
    assert pd.isna(row["effect"])
    assert "cannot be tested" in page_of(grid, made, tmp_path)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (comparison("variance", {"gae_lambda": 0.3}), "λ = 0.3 was not measured there, of λ there is 0, 1"),
        (comparison("variance", {"gae_lambda": 1, "critic": "wrong"}), "of critics there is trained"),
        (comparison("variance", "ppo"), "PPO was not measured there"),
        (comparison("variance", {"gae_lambda": 0}, tasks=["Hopper-v5"]), "has been measured yet"),
    ],
)
def test_what_the_laboratory_did_not_measure_is_said(tmp_path, stated, said):
    grid = grid_of(tmp_path, claim("a", stated), probes=[probe("CartPole-v1", 0.5), probe("Hopper-v5", 0.5)])
    measured = [estimator("CartPole-v1", of, ratio=(0.5, 0.4, 0.6)) for of in (0.0, 1.0, "reinforce")]
    row = only(tables(grid, measured=measured))
    assert row["verdict"] == UNTESTABLE
    assert said in row["reason"]


def test_without_any_run_or_probe_every_claim_still_has_its_row(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("auc", "ppo", "reinforce")), claim("b", comparison("cosine", "ppo")))
    made = tables(grid)
    assert made["claims"]["verdict"].tolist() == [UNTESTABLE] * 2
    assert not says_nan(page_of(grid, made, tmp_path))


def test_an_average_over_fewer_runs_than_asked_for_says_so(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("auc", "ppo", "reinforce")))
    made = tables(grid, dict(zip(BOTH, [GOOD[:3], BAD, GOOD, BAD, GOOD, BAD], strict=True)))
    page = page_of(grid, made, tmp_path)
    assert "CartPole-v1: fewer runs than asked for (PPO 3 of 5)" in page
    assert "3 to 5 runs of each algorithm on each of 3 tasks" in page


def test_sides_that_should_differ_in_one_setting_may_not_differ_in_another(tmp_path):
    settings = {"ppo": {"epochs": 10}, "reinforce": {"epochs": 1}}
    stated = claim("a", comparison("auc", "ppo", "reinforce", differing_in=["epochs"]))
    values = dict(zip(BOTH, [GOOD, BAD] * 3, strict=True))
    assert only(tables(grid_of(tmp_path, stated, settings=settings), values))["verdict"] == SUPPORTED
    settings["ppo"]["gamma"] = 0.9
    row = only(tables(grid_of(tmp_path, stated, settings=settings), values))
    assert row["verdict"] == UNTESTABLE
    assert row["reason"] == "CartPole-v1, Hopper-v5 and Walker2d-v5 (the two sides also differ in gamma)"


def test_what_would_make_a_claim_testable_is_shown_until_it_is_there(tmp_path):
    stated = claim(
        "a",
        comparison("auc", "ppo", "ppo_one_epoch"),
        variants={"ppo_one_epoch": {"module": "ppo", "tuned": False, "settings": {"epochs": 1, "clip": 1e9}}},
    )
    grid = grid_of(tmp_path, stated)
    line = "ppo_one_epoch: {module: ppo, tuned: false, settings: {epochs: 1, clip: 1e+09}}"
    assert line in page_of(grid, tables(grid), tmp_path)
    grid = grid_of(tmp_path, stated, algorithms=(*ALGORITHMS, "ppo_one_epoch"))
    assert line not in page_of(grid, tables(grid), tmp_path)


@pytest.mark.parametrize(
    ("verdicts", "of_all", "of_any"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED, SUPPORTED),
        ([SUPPORTED, CONTRADICTED], CONTRADICTED, SUPPORTED),
        ([SUPPORTED, UNDECIDED], UNDECIDED, SUPPORTED),
        ([SUPPORTED, UNTESTABLE], UNTESTABLE, SUPPORTED),
        ([CONTRADICTED, CONTRADICTED], CONTRADICTED, CONTRADICTED),
        ([CONTRADICTED, UNDECIDED], CONTRADICTED, UNDECIDED),
        ([CONTRADICTED, UNTESTABLE], CONTRADICTED, UNTESTABLE),
        ([UNDECIDED, UNTESTABLE], UNTESTABLE, UNDECIDED),
        ([UNDECIDED, UNDECIDED], UNDECIDED, UNDECIDED),
        ([UNTESTABLE, UNTESTABLE], UNTESTABLE, UNTESTABLE),
        ([SUPPORTED, TOO_LITTLE], TOO_LITTLE, SUPPORTED),
        ([CONTRADICTED, TOO_LITTLE], CONTRADICTED, TOO_LITTLE),
        ([UNDECIDED, TOO_LITTLE], TOO_LITTLE, UNDECIDED),
        ([UNTESTABLE, TOO_LITTLE], UNTESTABLE, TOO_LITTLE),
        ([TOO_LITTLE, TOO_LITTLE], TOO_LITTLE, TOO_LITTLE),
    ],
)
def test_a_claim_of_several_parts(verdicts, of_all, of_any):
    for order in (verdicts, verdicts[::-1]):
        assert claims.verdict_of_all(order, "all") == of_all
        assert claims.verdict_of_all(order, "any") == of_any


def test_a_claim_that_is_contradicted_in_one_part_is_reported_as_contradicted(tmp_path):
    stated = claim("ladder", comparison("auc", "ppo", "reinforce"), comparison("auc", "reinforce", "ppo"))
    grid = grid_of(tmp_path, stated)
    made = tables(grid, dict(zip(BOTH, [GOOD, BAD] * 3, strict=True)))
    assert made["claims"]["verdict"].tolist() == [SUPPORTED, CONTRADICTED]
    assert made["claims"]["claim_verdict"].tolist() == [CONTRADICTED] * 2
    assert "Of 1 claim, 1 is contradicted." in page_of(grid, made, tmp_path)


PROBES = [probe("CartPole-v1", 0.5), probe("Hopper-v5", 0.5)]


def enough_probes(*fractions) -> list[dict]:
    """Policies of three runs on two tasks, the least that a verdict needs."""
    return [
        probe(task, of, seed=seed) for task in ("CartPole-v1", "Hopper-v5") for seed in range(3) for of in fractions
    ]


def on_enough(measured: list[dict]) -> list[dict]:
    """The same measured at the policies of `enough_probes`."""
    return [
        row | {"task": task, "seed": seed}
        for task in ("CartPole-v1", "Hopper-v5")
        for seed in range(3)
        for row in measured
    ]


def test_against_reinforce_the_interval_of_the_ratio_is_the_tables_own(tmp_path):
    stated = comparison("variance", "ppo", "reinforce", direction="lower", smallest_effect=0.05, tasks=["Hopper-v5"])
    grid = grid_of(tmp_path, claim("a", stated), probes=PROBES)
    measured = [
        estimator("Hopper-v5", "ppo", ratio=(0.5, 0.4, 0.7)),
        estimator("Hopper-v5", "reinforce", ratio=(1, 1, 1)),
    ]
    row = only(tables(grid, measured=measured))
    assert row[["effect", "low", "high"]].tolist() == pytest.approx([0.5, 0.4, 0.7])
    assert (row["verdict"], row["scale"], row["n_first"], row["unit"]) == (TOO_LITTLE, "ratio", 1, "policies")


def test_a_ratio_is_averaged_on_the_scale_of_the_logarithm_over_tasks(tmp_path):
    stated = comparison("variance", "ppo", "reinforce_baseline", direction="lower", smallest_effect=0.05)
    grid = grid_of(tmp_path, claim("a", stated), probes=[*PROBES, probe("Hopper-v5", 1.0)])
    shares = {("CartPole-v1", 0.5): 0.2, ("Hopper-v5", 0.5): 0.8, ("Hopper-v5", 1.0): 0.05}
    measured = [
        estimator(task, name, ratio=(share * scale,) * 3, fraction=fraction)
        for (task, fraction), scale in shares.items()
        for name, share in (("ppo", 0.5), ("reinforce_baseline", 1.0))
    ]
    measured[0] |= {f"ratio{end}": 0.05 for end in ("", "_low", "_high")}  # a quarter on CartPole instead of a half
    made = tables(grid, measured=measured)
    row = only(made)
    assert row["effect"] == pytest.approx(np.sqrt(0.25 * 0.5))
    assert made["claim_tasks"].set_index("task")["effect"].to_dict() == pytest.approx(
        {"CartPole-v1": 0.25, "Hopper-v5": 0.5}
    )
    assert (row["tasks"], row["n_first"], row["n_second"]) == (2, 3, 3)


def test_the_interval_of_independent_measurements_covers_the_truth_in_95_of_100_cases():
    rng, errors = np.random.default_rng(2), np.array([[0.1, 0.3], [0.2, 0.2], [0.4, 0.1], [0.3, 0.3]])
    found = claims.Tested(comparison("variance", "ppo", "reinforce_baseline"), ["PPO", "REINFORCE with baseline"])
    covered = []
    for _ in range(1500):
        effects = []
        for pair in errors:
            row = {}
            for suffix, mean, error in zip(("", " of second"), (np.log(0.4), np.log(0.8)), pair, strict=True):
                value = rng.normal(mean, error)
                ends = {"": value, "_low": value - 1.96 * error, "_high": value + 1.96 * error}
                row |= {f"ratio{end}{suffix}": np.exp(at) for end, at in ends.items()}
            effects.append(effect_at(found, pd.Series(row)))
        whole = claims.average(effects, floor=False)
        covered.append(whole.low <= np.log(0.5) <= whole.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_noise_alone_is_never_a_bias():
    noise = [Estimate(0.3, 0.0, 0.6)] * 10
    assert claims.average(noise, floor=True).low == 0
    assert claims.average(noise, floor=False).low > 0.1


@pytest.mark.parametrize(
    ("bias", "direction", "verdict"),
    [
        ((0.05, 0.0, 0.2), "equal", SUPPORTED),
        ((0.05, 0.0, 0.4), "equal", UNDECIDED),
        ((0.5, 0.3, 0.7), "equal", CONTRADICTED),
        ((0.5, 0.3, 0.7), "higher", SUPPORTED),
        ((0.05, 0.0, 0.2), "higher", CONTRADICTED),
        ((0.3, 0.1, 0.5), "higher", UNDECIDED),
    ],
)
def test_bias_of_one_estimator(tmp_path, bias, direction, verdict):
    stated = comparison("relative_bias", "reinforce_baseline", tasks="exact", direction=direction, smallest_effect=0.25)
    problems = [probe(of, 0, "initialisation") for of in (EXACT, BANDIT)]
    grid = grid_of(tmp_path, claim("a", stated), probes=[*PROBES, *problems])
    about = {"source": "initialisation", "fraction": 0, "critic": "exact"}
    measured = [estimator(EXACT, "reinforce_baseline", bias=bias, **about)]
    measured.append(estimator("Hopper-v5", "reinforce_baseline", bias=(9, 9, 9)))  # no exact problem
    row = only(tables(grid, measured=measured))
    assert (row["verdict"], row["figure"]) == (verdict, "exact_problems")
    assert row["effect"] == pytest.approx(bias[0])
    assert row["left_out"] == f"{BANDIT} (none of its frozen policies has been measured yet)"


@pytest.mark.parametrize(
    ("highs", "verdict"),
    [((0.2, 0.1, 0.24), SUPPORTED), ((0.3, 0.01, 0.02), UNDECIDED), ((0.2, None, None), UNDECIDED)],
)
def test_equality_must_hold_at_every_policy_and_be_measured_at_half_of_them(tmp_path, highs, verdict):
    stated = comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25, from_fraction=0.1)
    grid = grid_of(tmp_path, claim("a", stated), probes=enough_probes(0, 0.1, 0.5, 1))
    biases = [None if high is None else (0.01, 0.0, high) for high in highs]
    measured = [estimator("CartPole-v1", "ppo", bias=b, fraction=f) for b, f in zip(biases, (0.1, 0.5, 1), strict=True)]
    made = tables(grid, measured=on_enough(measured))
    row, known = only(made), [high for high in highs if high is not None]
    assert (row["verdict"], row["high"], row["asked"]) == (verdict, max(known), 18)
    page = page_of(grid, made, tmp_path)
    if len(known) < 3:
        assert row["reason"] == "measurable at 6 of 18 policies"
        assert "6 of 18 frozen policies (none untrained) of 3 runs on each of 2 tasks" in page
    else:
        assert "'18 frozen policies (none untrained) of 3 runs on each of 2 tasks" in page


def test_a_single_policy_is_enough_to_contradict_equality(tmp_path):
    stated = comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25)
    grid = grid_of(tmp_path, claim("a", stated), probes=enough_probes(0, 0.5, 1))
    biases = {0: None, 0.5: (0.01, 0.0, 0.1), 1: None}
    measured = on_enough([estimator("CartPole-v1", "ppo", bias=bias, fraction=of) for of, bias in biases.items()])
    assert only(tables(grid, measured=measured))["verdict"] == UNDECIDED
    measured[1] |= estimator("CartPole-v1", "ppo", bias=(0.4, 0.3, 0.5), fraction=0.5)
    assert only(tables(grid, measured=measured))["verdict"] == CONTRADICTED


def test_biases_that_are_not_equal_are_not_diluted_by_those_that_are():
    """True biases of 0.30, 0.05 and 0.05 lengths against a margin of a quarter: not supported in more than 2.5 %."""
    stated = comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25)
    rng, supported = np.random.default_rng(3), []
    for _ in range(2000):
        values = rng.normal((0.30, 0.05, 0.05), 0.05)
        effects = [Estimate(value, max(value - 0.098, 0.0), value + 0.098) for value in values]
        found = claims.Tested(stated, ["PPO"], [claims.Place(str(i), effect) for i, effect in enumerate(effects)])
        found.effect = claims.effect_over(found, found.present)
        supported.append(claims.verdict_of(found.effect, -0.25, 0.25) == SUPPORTED)
    assert np.mean(supported) < 0.025


def test_lambda_is_compared_at_the_same_discount(tmp_path):
    stated = comparison("relative_bias", {"gae_lambda": 0}, {"gae_lambda": 1}, smallest_effect=0.1)
    grid = grid_of(tmp_path, claim("a", stated), probes=PROBES[:1])
    measured = [
        estimator("CartPole-v1", of, bias=(bias, bias - 0.1, bias + 0.1), gamma=gamma)
        for gamma, biases in ((0.9, (0.9, 0.1)), (0.99, (0.7, 0.1)))
        for of, bias in zip((0.0, 1.0), biases, strict=True)
    ]
    measured.append(estimator("CartPole-v1", 0.0, bias=(5, 4, 6), gamma=0.5))  # whose λ = 1 was not measured
    row = only(tables(grid, measured=measured))
    # The two discounts share their batches: their errors do not average out.
    half = np.hypot(0.1, 0.1)
    assert row[["effect", "low", "high"]].tolist() == pytest.approx([0.7, 0.7 - half, 0.7 + half])
    assert (row["first"], row["n_first"], row["verdict"]) == ("GAE λ = 0 (critic as trained)", 1, TOO_LITTLE)


def test_policies_before_a_fraction_and_those_where_nothing_is_known_do_not_count(tmp_path):
    stated = comparison(
        "relative_bias", "ppo", direction="lower", smallest_effect=0.1, from_fraction=0.1, tasks=["CartPole-v1"]
    )
    grid = grid_of(tmp_path, claim("a", stated), probes=[probe("CartPole-v1", of) for of in (0, 0.5, 1)])
    biases = {0: (9, 8, 10), 0.5: (0.4, 0.3, 0.5), 1: None}
    measured = [estimator("CartPole-v1", "ppo", bias=bias, fraction=of) for of, bias in biases.items()]
    made = tables(grid, measured=measured)
    row = only(made)
    assert (row["effect"], row["n_first"]) == (pytest.approx(0.4), 1)
    assert made["claim_tasks"]["note"].iloc[0].startswith("1 of 2 policies left out, where the true gradient cannot")
    unknown = only(tables(grid, measured=[measured[2]]))
    assert unknown["verdict"] == TOO_LITTLE
    assert unknown["reason"].startswith("1 run on CartPole-v1; a claim that names its tasks needs at least 10 runs")


def test_cosines_are_those_of_the_advantages_that_algorithms_train_with(tmp_path):
    stated = [comparison(metric, "ppo", tasks=["Hopper-v5"]) for metric in ("cosine", "variance")]
    grid = grid_of(tmp_path, *(claim(entry["metric"], entry) for entry in stated), probes=PROBES)
    raw = estimator("Hopper-v5", "ppo", ratio=(0.5, 0.4, 0.6), cosine=(0.2, 0.1, 0.3))
    trains = estimator("Hopper-v5", "ppo", cosine=(0.6, 0.5, 0.7), advantages="normalized")
    effects = tables(grid, measured=[raw, trains])["claims"].set_index("claim")["effect"]
    assert effects.to_dict() == pytest.approx({"cosine": 0.6, "variance": 0.5})


def test_squared_bias_is_a_share_of_the_squared_length(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("bias_squared", "ppo", tasks=["Hopper-v5"])), probes=PROBES)
    row = {"bias_squared": 2.0, "reference_norm_squared": 8.0}
    made = only(tables(grid, measured=[estimator("Hopper-v5", "ppo", bias=(0.5, 0.4, 0.6)) | row]))
    assert made[["effect", "low", "high"]].tolist() == pytest.approx([0.25, 0.16, 0.36])


def test_effects_are_said_in_words_with_interval_and_what_is_claimed(tmp_path):
    stated = [
        claim("a", comparison("auc", "ppo", "reinforce")),
        claim("b", comparison("variance", "ppo", "reinforce", direction="lower", smallest_effect=0.05)),
        claim("c", comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25)),
    ]
    grid = grid_of(tmp_path, *stated, probes=PROBES[:1])
    ratios = {"ratio": (0.5, 0.4, 0.7), "bias": (0.1, 0.0, 0.2)}
    measured = [estimator("CartPole-v1", "ppo", **ratios), estimator("CartPole-v1", "reinforce", ratio=(1, 1, 1))]
    page = page_of(grid, tables(grid, dict(zip(BOTH, [GOOD, BAD] * 3, strict=True)), measured), tmp_path)
    page = page.replace("\\xa0", " ")
    assert re.search(r"PPO minus REINFORCE: \+0\.15 \[\+0\.14, \+0\.16\]'", page)
    assert "at least +0.02" in page
    assert "PPO (critic as trained) has 50 % [40, 70] of what REINFORCE has" in page
    assert "at most 95 %" in page
    assert "PPO (critic as trained): 10 % [0, 20]" in page
    assert "at most 25 %" in page
    assert "1 frozen policy of 1 run on 1 task" in page


@pytest.mark.parametrize(("high", "shown"), [(0.2504, "25.04"), (0.25, "25"), (0.2496, "25"), (0.26, "26")])
def test_an_end_beyond_what_was_needed_is_not_rounded_onto_it(tmp_path, high, shown):
    stated = comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25)
    grid = grid_of(tmp_path, claim("a", stated), probes=enough_probes(0.5))
    made = tables(grid, measured=on_enough([estimator("CartPole-v1", "ppo", bias=(0.1, 0.0, high))]))
    assert f"PPO (critic as trained): at worst 10 % [0, {shown}], on CartPole-v1'" in page_of(
        grid, made, tmp_path
    ).replace("\\xa0", " ")
    assert only(made)["verdict"] == (SUPPORTED if high <= 0.25 else UNDECIDED)


def test_a_difference_of_percentages_is_in_points(tmp_path):
    stated = comparison("relative_bias", {"gae_lambda": 0}, {"gae_lambda": 1}, smallest_effect=0.1)
    grid = grid_of(tmp_path, claim("a", stated), probes=PROBES[:1])
    measured = [estimator("CartPole-v1", 0.0, bias=(0.9, 0.8, 1)), estimator("CartPole-v1", 1.0, bias=(0.1, 0.1, 0.1))]
    page = page_of(grid, tables(grid, measured=measured), tmp_path).replace("\\xa0", " ")
    assert "+80 points [+70, +90]" in page
    assert "at least +10 points" in page


def test_beside_a_mean_of_ratios_stands_what_single_policies_have(tmp_path):
    stated = comparison("variance", "ppo", "reinforce", direction="lower", smallest_effect=0.05)
    grid = grid_of(tmp_path, claim("a", stated), probes=PROBES)
    measured = [
        estimator(task, name, ratio=(ratio,) * 3)
        for task, ratio in (("CartPole-v1", 0.02), ("Hopper-v5", 0.5))
        for name, ratio in (("ppo", ratio), ("reinforce", 1.0))
    ]
    page = page_of(grid, tables(grid, measured=measured), tmp_path).replace("\\xa0", " ")
    assert "has 10 % [10, 10] of what REINFORCE has" in page
    assert "geometric mean; single policies: 2.0 to 50 %" in page


def test_an_unknown_metric_in_a_grids_results_is_one_sentence(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("varience", "ppo")))
    with pytest.raises(results.ResultsError, match=r"claim a has the metric 'varience'; valid are variance, "):
        tables(grid)


def test_claims_without_what_a_verdict_needs_are_refused(tmp_path):
    grid = grid_of(tmp_path, claim("a", comparison("auc", "ppo")))
    path = grid.folder / "grid.json"
    for entry, said in (
        ({"id": "a"}, r"claims\[0\] has no key 'statement'"),
        (claim("a", {"metric": "auc"}), r"claims\[0\]\.comparisons\[0\] has no key 'sides'"),
        (claim("a", comparison("auc", "ppo", smallest_effect="big")), "smallest_effect = 'big'; expected int or float"),
    ):
        edit_json(path, claims=[entry])
        with pytest.raises(results.ResultsError, match=said):
            read_grid(grid.folder)


def test_an_effect_above_a_thousand_percent_is_said_as_it_is():
    """Such as the variance of a baseline that was fitted to few episodes, beside none."""
    row = pd.Series({"metric": "variance", "scale": "ratio", "claimed_low": np.nan, "claimed_high": 0.95})
    assert claim_findings.amount(55.1, row) == "5,510"
    assert claim_findings.amount(0.949999, row) == "95"
