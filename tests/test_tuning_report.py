"""From studies to the tables, figures and section on tuning, and what is said when a file is wrong or missing."""

import json
import re
import shutil
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as t_distribution

from analysis import figures, tables
from analysis.drawing import theme
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table
from analysis.sections import tuning as face
from analysis.sections.settings.sentences import page as report_settings
from analysis.sections.tuning import sentences as tuning_findings
from analysis.sections.tuning import tables as tuning
from analysis.statistics import comparison
from tests.analysis_fixtures import (
    CARTPOLE,
    HOPPER,
    Trial,
    edit_json,
    make_page,
    says_nan,
    section_tables,
    study,
    write_grid,
    write_runs,
    write_study,
)
from tests.test_analysis import visible_text

TASKS = {"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}
BUDGET = {"CartPole-v1": 4000, "Hopper-v5": 5000}
ALGORITHMS = ("reinforce", "reinforce_baseline", "a2c", "ppo", "my_method")
UNTUNED = {"policy_learning_rate": 3e-4, "gamma": 0.99}
IMPORTANCES = {"policy_learning_rate": 0.75, "gamma": 0.25}


def at(rate: float, gamma: float = 0.98) -> dict[str, float]:
    return {"policy_learning_rate": rate, "gamma": gamma}


def noisy(mean: float) -> list[float]:
    """Six parts on fresh seeds, seed by seed on both tasks."""
    return [mean - 0.02, mean - 0.01, mean, mean, mean + 0.02, mean + 0.01]


TRIALS = [
    Trial(UNTUNED, [0.2, 0.2, 0.3, 0.3]),
    Trial(at(1e-4), [0.1], diverged=(0,)),
    Trial(at(2e-3), [0.4, 0.4, 0.5, 0.5]),
    Trial(at(5e-3), [0.1, 0.3, 0.4, 0.4]),
]
FRESH = {  # of reinforce_baseline, a2c and ppo: tuned, untuned, and the verdict that follows
    "reinforce_baseline": (noisy(0.4), noisy(0.2), "better"),
    "a2c": (noisy(0.1), noisy(0.3), "worse"),
    "ppo": ([0.1, 0.5, 0.3, 0.3, 0.5, 0.1], noisy(0.29), "undecided"),
}


def studies(**about) -> list[dict]:
    return [study(name, "all", BUDGET, **about) for name in ALGORITHMS[:4]]


def write_studies(folder: Path, grid: dict) -> None:
    for asked in grid["studies"]:
        if asked["algorithm"] == "reinforce":  # its untuned settings win
            trials = [Trial(UNTUNED, [0.6] * 4), *TRIALS[1:]]
            write_study(folder, grid, asked, trials, noisy(0.5), noisy(0.5))
        else:
            tuned, untuned, _ = FRESH[asked["algorithm"]]
            write_study(folder, grid, asked, TRIALS, tuned, untuned, importances=IMPORTANCES)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four studies that serve both tasks, an algorithm that is not tuned, no runs: folder and the page's text."""
    folder = tmp_path_factory.mktemp("results") / "made"
    write_studies(folder, write_grid(folder, algorithms=ALGORITHMS, tasks=TASKS, studies=studies()))
    return folder, visible_text(make_page(folder, face.FIGURES))


@pytest.fixture
def one(tmp_path):
    """One finished study of ppo on CartPole, which serves Hopper too, and its runs: folder, grid and study.json."""
    folder = tmp_path / "one"
    asked = study("ppo", "all", {"CartPole-v1": 4000}, serves=list(TASKS), trials=2)
    grid = write_grid(folder, algorithms=("ppo",), tasks=TASKS, studies=[asked])
    trials = [Trial(UNTUNED, [0.2, 0.3]), Trial(at(2e-3), [0.4, 0.5])]
    about = write_study(folder, grid, asked, trials, [0.3, 0.4, 0.35], [0.2, 0.3, 0.25])
    trained = [{**cell, "settings": {**cell["settings"], **about["best"]["settings"]}} for cell in grid["cells"]]
    write_runs(folder, {**grid, "cells": trained})
    return folder, grid, about


def of(folder: Path, table: str, algorithm: str) -> pd.DataFrame:
    rows = read_table(folder, table)
    return rows[rows["algorithm"] == algorithm].reset_index(drop=True)


def test_the_best_so_far_is_the_highest_complete_trial(made):
    table = of(made[0], "tuning", "ppo")
    assert table["state"].tolist() == ["complete", "pruned", "complete", "complete"]
    assert table["score"].tolist() == pytest.approx([0.25, 0.1, 0.45, 0.3])
    assert table["best_so_far"].tolist() == pytest.approx([0.25, 0.25, 0.45, 0.45])
    assert table["diverged"].tolist() == [0, 1, 0, 0]


def test_a_pruned_trial_that_scored_highest_is_not_the_best(one):
    folder, grid, _ = one
    trials = [Trial(UNTUNED, [0.2, 0.3]), Trial(at(1e-3), [0.9]), Trial(at(2e-3), [0.4, 0.5])]
    write_study(folder, grid, grid["studies"][0], trials, [0.3] * 3, [0.2] * 3)
    table = tables.make_tables(read_grid(folder))["tuning"]
    assert table["best_so_far"].tolist() == pytest.approx([0.25, 0.25, 0.45])


def test_shrinkage_and_difference_are_those_of_the_parts(made):
    row = of(made[0], "shrinkage", "reinforce_baseline").iloc[0]
    assert row[["trial", "n", "trials", "pruned", "diverged", "fresh_diverged"]].tolist() == [2, 3, 4, 1, 1, 0]
    scores = ["tuning_score", "untuned_tuning_score", "fresh_tuned", "fresh_untuned", "difference", "shrinkage"]
    assert row[scores].tolist() == pytest.approx([0.45, 0.25, 0.4, 0.2, 0.2, 0.05])
    parts = 13
    assert row["seconds"] == pytest.approx(2 * parts)
    assert row["fresh_steps"] == 2 * 3 * (4016 + 5016)


@pytest.mark.parametrize(("algorithm", "verdict"), [(name, about[2]) for name, about in FRESH.items()])
def test_the_verdict_follows_from_the_corrected_p_value(made, algorithm, verdict):
    row = of(made[0], "shrinkage", algorithm).iloc[0]
    assert row["verdict"] == verdict
    holds_0 = row["difference_low"] <= 0 <= row["difference_high"]
    assert holds_0 == (row["p"] > 0.05)
    assert (row["p_adjusted"] > 0.05) == (verdict == "undecided")
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_studies_are_corrected_for_their_number(made):
    table = read_table(made[0], "shrinkage").set_index("algorithm")
    assert table["p_adjusted"].tolist() == pytest.approx(comparison.holm(table["p"]).tolist(), nan_ok=True)
    assert pd.isna(table.loc["reinforce", "p"])  # its untuned settings won
    rows = [{"trial": 1, "difference": 0.1, "p": 0.03} for _ in range(2)]
    tuning.judge(rows)
    assert [row["verdict"] for row in rows] == ["undecided"] * 2
    tuning.judge(rows[:1])
    assert rows[0]["verdict"] == "better"


def test_where_the_untuned_settings_won_there_is_no_difference_and_its_cost_is_counted_once(made):
    row = of(made[0], "shrinkage", "reinforce").iloc[0]
    assert row[["trial", "verdict", "difference"]].tolist() == [0, "same", 0]
    assert row[["difference_low", "difference_high"]].isna().all()
    assert row["fresh_steps"] == 3 * (4016 + 5016)


def test_where_the_untuned_settings_won_both_sides_have_the_same_interval(tmp_path):
    folder = tmp_path / "same"
    asked = study("ppo", "all", {"CartPole-v1": 4000}, trials=1, fresh_seeds=list(range(200, 212)))
    grid = write_grid(folder, algorithms=("ppo",), tasks=TASKS, studies=[asked])
    fresh = list(np.random.default_rng(0).normal(size=12))
    write_study(folder, grid, asked, [Trial(UNTUNED, [0.2, 0.3])], fresh, fresh)
    row = section_tables("tuning", grid=read_grid(folder))["shrinkage"].iloc[0]
    for end in ("", "_low", "_high"):
        assert row[f"fresh_tuned{end}"] == row[f"fresh_untuned{end}"]


def test_the_two_sides_of_a_difference_are_taken_as_independent(one):
    """A side that is the other plus a constant: paired by seed, the interval would have no width."""
    folder, grid, _ = one
    trials = [Trial(UNTUNED, [0.2, 0.3]), Trial(at(2e-3), [0.4, 0.5])]
    write_study(folder, grid, grid["studies"][0], trials, [0.3, 0.5, 0.7], [0.2, 0.4, 0.6])
    row = tables.make_tables(read_grid(folder))["shrinkage"].iloc[0]
    wide = row["fresh_tuned_high"] - row["fresh_tuned_low"]
    quantiles = t_distribution.ppf(0.975, 4) / t_distribution.ppf(
        0.975, 2
    )  # equal spreads: 4 degrees of freedom, not 2
    assert row["difference_high"] - row["difference_low"] == pytest.approx(np.sqrt(2) * quantiles * wide)
    assert row["verdict"] == "undecided"


def test_a_single_fresh_seed_has_neither_interval_nor_verdict(tmp_path):
    folder = tmp_path / "single"
    grid = write_grid(folder, algorithms=("ppo",), tasks=TASKS, studies=[study("ppo", "all", BUDGET, fresh_seeds=[7])])
    write_study(folder, grid, grid["studies"][0], TRIALS, [0.4, 0.4], [0.1, 0.1])
    page = visible_text(make_page(folder, face.FIGURES))
    row = of(folder, "shrinkage", "ppo").iloc[0]
    assert row["difference"] == pytest.approx(0.3)
    assert row[["fresh_tuned_low", "fresh_untuned_high", "difference_low", "difference_high", "verdict"]].isna().all()
    assert "Whether tuning helped cannot be said: with a single new random seed there is no interval" in page
    assert "not judged" in page
    assert "n = 1 new random seed per task" in page
    assert not says_nan(page)


def test_another_study_moves_no_number(made, tmp_path):
    folder = tmp_path / "fewer"
    shutil.copytree(made[0] / "tuning", folder / "tuning")
    write_grid(folder, algorithms=ALGORITHMS, tasks=TASKS, studies=studies()[3:])
    fewer = tables.make_tables(read_grid(folder))["shrinkage"]
    same = [name for name in fewer if name not in ("p_adjusted", "verdict")]
    pd.testing.assert_frame_equal(fewer[same], of(made[0], "shrinkage", "ppo")[same], check_dtype=False, rtol=1e-8)


def test_a_penalty_on_spread_is_in_no_score_but_the_trials(one):
    """A tuning score with a penalty beside a fresh score without one would shrink by the penalty."""
    folder, _, _ = one
    path = folder / "tuning/ppo/all/trials.csv"
    trials = pd.read_csv(path)
    trials["value"] -= 0.04
    trials.to_csv(path, index=False)
    made = tables.make_tables(read_grid(folder))
    assert made["shrinkage"].iloc[0]["tuning_score"] == pytest.approx(0.45)
    assert made["tuning"]["score"].tolist() == pytest.approx([0.21, 0.41])


def test_settings_and_values_are_tidy_and_choices_keep_their_names(one):
    folder, grid, _ = one
    space = {
        "policy_learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
        "gamma": {"choices": [0.9, 0.99, 1]},
    }
    trials = [Trial(at(3e-4, None), [0.2, 0.3]), Trial(at(2e-3, 1), [0.4, 0.5])]
    write_study(folder, grid, grid["studies"][0], trials, [0.3] * 3, [0.2] * 3, space=space)
    made = section_tables("tuning", grid=read_grid(folder))
    rows = made["tuning_settings"].set_index("setting")
    assert rows.loc["policy_learning_rate", ["low", "high", "scale", "untuned", "tuned"]].tolist() == [
        *(1e-4, 1e-2, "log", "0.0003", "0.002")
    ]
    assert rows.loc["gamma", "choices"] == "[0.9, 0.99, 1]"
    assert rows.loc["gamma", ["low", "scale", "untuned", "importance"]].isna().all()
    values = made["tuning_values"].query("setting == 'gamma'")
    assert values["value"].isna().tolist() == [True, False]
    assert values["value"].iloc[1] == rows.loc["gamma", "tuned"] == "1"
    assert values["winner"].tolist() == [0, 1]


def test_null_is_a_value_where_it_is_a_choice(one):
    folder, grid, _ = one
    trials = [Trial({"gamma": None}, [0.2, 0.3]), Trial({"gamma": True}, [0.1, 0.2])]
    space = {"gamma": {"choices": [None, True, "off"]}}
    write_study(folder, grid, grid["studies"][0], trials, [0.3] * 3, [0.3] * 3, space=space)
    made = section_tables("tuning", grid=read_grid(folder))
    assert made["tuning_values"]["value"].tolist() == ["null", "true"]
    assert made["tuning_settings"][["untuned", "tuned"]].iloc[0].tolist() == ["null", "null"]


def test_tuned_settings_override_the_cells_of_the_tasks_that_the_study_serves(tmp_path):
    folder = tmp_path / "served"
    asked = study("ppo", "classic", {"CartPole-v1": 4000}, trials=2)
    grid = write_grid(folder, algorithms=("reinforce", "ppo"), tasks=TASKS, studies=[asked])
    trials = [Trial(UNTUNED, [0.2, 0.3]), Trial(at(2e-3), [0.4, 0.5])]
    assert {cell["settings"]["gamma"] for cell in read_grid(folder).cells} == {0.99}
    write_study(folder, grid, asked, trials, [0.3] * 3, [0.2] * 3)
    tuned = {(cell["task"], cell["algorithm"]): cell["settings"] for cell in read_grid(folder).cells}
    assert tuned.pop(("CartPole-v1", "ppo")) == at(2e-3)
    assert all(settings == UNTUNED for settings in tuned.values())
    assert report_settings(read_grid(folder))["own"]["ppo"]["gamma"] in [
        (0.98, {"Hopper-v5": 0.99}),
        (0.99, {"CartPole-v1": 0.98}),
    ]


def test_a_run_is_held_against_the_tuned_settings(one):
    folder, _, _ = one
    assert (tables.make_tables(read_grid(folder))["ledger"]["state"] == "done").all()
    path = folder / "runs/CartPole-v1/ppo/0/run.json"
    edit_json(path, settings=UNTUNED)
    with pytest.raises(results.ResultsError) as error:
        tables.make_tables(read_grid(folder))
    assert f"{path}: settings.gamma is 0.99, but {folder}/grid.json with tuning/ppo/all/best.json asks for 0.98" in str(
        error.value
    )


def test_a_run_with_tuned_settings_without_their_best_json_is_refused(one):
    folder, _, _ = one
    shutil.rmtree(folder / "tuning")
    with pytest.raises(results.ResultsError, match=r"run\.json: a run with tuned settings, but .*best\.json.* missing"):
        tables.make_tables(read_grid(folder))


def test_a_study_that_is_not_finished_is_no_study_but_its_winner_counts(one):
    folder, _, _ = one
    (folder / "tuning/ppo/all/study.json").unlink()
    grid = read_grid(folder)
    assert all(cell["settings"] == at(2e-3) for cell in grid.cells)
    made = tables.make_tables(grid)
    assert all(made[name].empty for name in ("tuning", "tuning_parts", "shrinkage"))
    assert "1 of the 1 requested studies is not finished: PPO on all." in visible_text(make_page(folder, face.FIGURES))


def test_the_section_says_whether_tuning_helped_and_what_it_cost(made):
    page = made[1]
    assert (
        "Tuning helped 1 of 4 algorithms (REINFORCE with baseline). Of 4 studies (one algorithm on one group of "
        "tasks), 2 have a higher mean with the tuned than with the untuned settings on new random seeds, 1 of them by "
        "more than chance explains (corrected for their number); 1 is worse by that measure; in 1 the untuned "
        "settings won the tuning itself. n = 3 new random seeds per task, each trained for 10 to 20 % of a run’s "
        "steps."
    ) in page
    assert "Better: REINFORCE with baseline (0.200 → 0.400). Worse: A2C (0.300 → 0.100)." in page
    assert "Untuned won: REINFORCE (0.500)." in page
    assert "These verdicts rest on 3 new random seeds per task" in page
    table = read_table(made[0], "shrinkage")
    steps = table["steps"].sum() + table["fresh_steps"].sum()
    share = 100 * steps / (4 * 2 * (20000 + 50000))
    assert f"Tuning cost {steps:,} environment steps" in page
    assert (
        f"{share:.0f} % of the steps that this grid trains the same algorithms for. No other part of this page" in page
    )
    assert "Not tuned, trained with the settings that the grid gives: my_method." in page
    assert "100, 101 for tuning; 200, 201, 202 fresh; 0, 1 for the runs of this grid" in page
    assert "CartPole-v1 (4,000 steps, 20 % of a run’s)" in page
    assert "In 4 of 16 trials a part diverged or was stopped by its task; it counts as 0" in page
    assert not says_nan(page)


def test_where_tuning_did_not_help_the_section_says_so(made):
    table = read_table(made[0], "shrinkage")
    grid = read_grid(made[0])
    said = tuning_findings.helped(grid, table[table["algorithm"].isin(["a2c", "ppo"])])[0]
    assert said.startswith(
        "Tuning is not shown to have helped any of the 2 algorithms. Of 2 studies (one algorithm on one group of "
        "tasks), 1 has a higher mean"
    )
    assert (
        "none of them by more than chance explains (corrected for their number); 1 is worse by that measure. n" in said
    )


def test_a_single_fresh_seed_says_nothing_even_where_the_untuned_settings_won_elsewhere(made):
    table = read_table(made[0], "shrinkage")
    grid = read_grid(made[0])
    judged = table["verdict"].isin(["better", "worse", "undecided"])
    single = table.assign(verdict=table["verdict"].where(~judged))
    (said,) = tuning_findings.helped(grid, single)
    assert said.startswith("Whether tuning helped cannot be said: with a single new random seed")
    assert "in 2 of 4 studies; in 1 the untuned settings won the tuning itself." in said
    one_judged = table.assign(verdict=table["verdict"].where(~judged | (table["algorithm"] == "a2c")))
    said, group = tuning_findings.helped(grid, one_judged)
    assert "1 is worse by that measure; 2 with a single new random seed are not judged; in 1 the untuned" in said
    assert "Not judged: REINFORCE with baseline (0.200 → 0.400) and PPO" in group


def test_a_variant_with_the_settings_before_tuning_is_compared_at_full_budget(one):
    folder, grid, _ = one
    ppo = grid["algorithms"]["ppo"]
    algorithms = {"ppo": ppo, "ppo_published": {**ppo, "title": "PPO (untuned)"}}
    twins = [
        {
            **cell,
            "algorithm": "ppo_published",
            "tuned": None,
            "directory": cell["directory"].replace("ppo", "ppo_published"),
        }
        for cell in grid["cells"]
    ]
    edit_json(folder / "grid.json", algorithms=algorithms, cells=[*grid["cells"], *twins])
    write_runs(folder, {**grid, "algorithms": algorithms, "cells": twins})
    made = tables.make_tables(read_grid(folder))
    (said,) = tuning_findings.twins(read_grid(folder), made["tuning_settings"], made["scores"])
    means = made["scores"].groupby(["algorithm", "task"])["normalized"].mean().groupby("algorithm").mean()
    assert (
        f"PPO {tuning_findings.score(means['ppo'])} with tuned settings, "
        f"{tuning_findings.score(means['ppo_published'])} without them, as PPO (untuned); difference"
    ) in said
    twins[0]["settings"] = {**twins[0]["settings"], "gamma": 0.5}  # neither tuned nor as before
    edit_json(folder / "grid.json", cells=[*grid["cells"], *twins])
    assert tuning_findings.twins(read_grid(folder), made["tuning_settings"], made["scores"]) != [said]


def test_a_difference_at_full_budget_that_rests_on_a_single_task_says_so():
    close = np.array([0.1, 0.12, 0.11, 0.13])
    sides = {"CartPole-v1": [close + 0.8, close], "Hopper-v5": [close - 0.01, close]}
    found = tuning_findings.between(sides)
    assert found.low > 0
    assert tuning_findings.resting(sides, found).startswith("; it rests on CartPole-v1: −0.010 [")
    sides["Hopper-v5"][0] = close + 0.7
    assert tuning_findings.resting(sides, tuning_findings.between(sides)) == ""


def test_a_winner_that_rose_on_fresh_seeds_is_not_said_to_shrink(made):
    table = read_table(made[0], "shrinkage").assign(shrinkage=-0.1)
    assert "scored 0.100 higher than on the tuning seeds" in tuning_findings.shrank(table)[0]


def test_unequal_budgets_are_not_called_equal(tmp_path):
    folder = tmp_path / "unequal"
    asked = [study(name, "all", BUDGET, trials=trials) for name, trials in (("ppo", 4), ("reinforce", 5))]
    write_grid(folder, tasks=TASKS, studies=asked)
    assert tuning_findings.equal_budgets(read_grid(folder)).startswith("Not every algorithm")
    edit_json(folder / "grid.json", studies=[asked[0], {**asked[1], "trials": 4}])
    assert tuning_findings.equal_budgets(read_grid(folder)).startswith("Every algorithm")


def test_tuning_stands_at_the_top_of_the_page_once_it_has_something_to_say(made):
    assert made[1].count("Tuning helped 1 of 4 algorithms") == 2  # there and in the section


def test_a_grid_without_tuning_has_no_section(tmp_path):
    folder = tmp_path / "without"
    write_grid(folder)
    page = make_page(folder, face.FIGURES)
    assert 'id="tuning"' not in page
    assert "#tuning" not in page
    drawn = (folder / "figures/shrinkage.svg").read_text(encoding="utf-8")
    assert "this grid tunes no settings" in re.sub(r"<[^>]*>", " ", drawn)


def test_figures_are_made_without_warnings_and_hold_the_data(made):
    grid = read_grid(made[0])
    theme.apply()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {name: figures.draw(grid, name) for name in face.FIGURES}
        for figure in drawn.values():
            theme.image_bytes(figure, "svg")
    history = drawn["tuning_history"].axes[0]
    assert len(history.lines) == 4
    assert sum(len(marks.get_offsets()) for marks in history.collections) == 16
    assert len(drawn["tuning_space"].axes) == 8
    ppo = drawn["tuning_space"].axes[6]
    winner = next(line for line in ppo.lines if line.get_marker() == "*")
    assert (winner.get_xdata()[0], winner.get_ydata()[0]) == pytest.approx((np.log10(2e-3), 0.45))
    untuned = next(line for line in ppo.lines if line.get_linestyle() == ":")
    assert untuned.get_xdata()[0] == pytest.approx(np.log10(3e-4))
    gamma = drawn["tuning_space"].axes[7]
    assert gamma.get_xlim()[1] > 3 > gamma.get_xlim()[0]  # 1 − γ = 0.001
    bars = [bar.get_width() for bar in drawn["tuning_importance"].axes[0].patches]
    assert sorted(bars) == pytest.approx([25] * 3 + [75] * 3)
    texts = [text.get_text() for text in drawn["tuning_importance"].axes[0].texts]
    assert "no importances: fewer than ten complete trials, or all equal" in texts
    shrinkage = drawn["shrinkage"].axes[0]
    assert sum(len(marks.get_offsets()) for marks in shrinkage.collections) == 4 * 2 * 3
    for figure in drawn.values():
        plt.close(figure)


def test_figures_of_unfinished_studies_say_so(tmp_path):
    folder = tmp_path / "unfinished"
    write_grid(folder, algorithms=ALGORITHMS, tasks=TASKS, studies=studies())
    page = make_page(folder, face.FIGURES)
    assert "4 of the 4 requested studies are not finished" in visible_text(page)
    for name in face.FIGURES:
        drawn = re.sub(r"<[^>]*>", " ", (folder / f"figures/{name}.svg").read_text(encoding="utf-8"))
        assert "none of the 4 studies asked for has finished" in drawn
    assert not says_nan(visible_text(page))


def test_studies_of_several_groups_with_other_spaces_are_all_drawn(tmp_path):
    """Two groups, five settings of every scale in one and a single one in the other."""
    folder = tmp_path / "several"
    asked = [
        study("ppo", "classic", {"CartPole-v1": 4000}, trials=2),
        study("ppo", "mujoco", {"Hopper-v5": 4000}, trials=2),
    ]
    grid = write_grid(folder, algorithms=("ppo",), tasks=TASKS, studies=asked)
    wide = {
        **{name: {"low": 1e-4, "high": 1e-2, "scale": "log"} for name in ("gamma", "policy_learning_rate", "third")},
        "clip": {"choices": [0.1, "off", True, None]},
        "gae_lambda": {"low": 0.8, "high": 1.0, "scale": "linear"},
    }
    values = {"gamma": 1e-3, "policy_learning_rate": 1e-3, "third": 2e-3, "clip": "off", "gae_lambda": 1.0}
    trials = [Trial(values, [0.2, 0.3]), Trial({**values, "clip": True}, [0.1, 0.2])]
    write_study(folder, grid, asked[0], trials, [0.2] * 3, [0.2] * 3, space=wide)
    narrow = {"gamma": {"low": 0.9, "high": 0.999, "scale": "log_one_minus"}}
    trials = [Trial({"gamma": None}, [0.2, 0.3]), Trial({"gamma": 0.95}, [0.3, 0.4])]
    write_study(folder, grid, asked[1], trials, [0.2] * 3, [0.2] * 3, space=narrow)
    page = visible_text(make_page(folder, face.FIGURES))
    theme.apply()
    figure = figures.draw(read_grid(folder), "tuning_space")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["PPO, classic", "PPO, classic (continued)", "PPO, mujoco"]
    assert [label.get_text() for label in figure.axes[3].get_xticklabels()] == ["0.1", "off", "true", "null"]
    plt.close(figure)
    assert "0.1, off, true, null" in page
    assert "Tuning is not shown to have helped PPO. Of 2 studies" in page


def edit_csv(column: str, row: int, value):
    def spoil(path: Path) -> None:
        table = pd.read_csv(path).astype(object)
        table.loc[row, column] = value
        table.to_csv(path, index=False)

    return spoil


def drop_row(row: int):
    def spoil(path: Path) -> None:
        pd.read_csv(path).drop(index=row).to_csv(path, index=False)

    return spoil


def drop_column(column: str):
    def spoil(path: Path) -> None:
        pd.read_csv(path).drop(columns=column).to_csv(path, index=False)

    return spoil


def edit(**changes):
    def spoil(path: Path) -> None:
        edit_json(path, **changes)

    return spoil


def edit_inside(key: str, **changes):
    def spoil(path: Path) -> None:
        edit_json(path, **{key: {**json.loads(path.read_text())[key], **changes}})

    return spoil


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


MISTAKES = {
    "another algorithm": ("study.json", edit(algorithm="a2c"), "algorithm is 'a2c', the grid has 'ppo' there"),
    "another group": ("best.json", edit(group="mujoco"), "group is 'mujoco', the grid has 'all' there"),
    "other trials": ("study.json", edit(trials=16), "trials is 16, the grid has 2 there"),
    "another schema": ("best.json", edit(schema=2), f"schema is 2, this version reads {results.SCHEMA}"),
    "another best": ("study.json", edit_inside("best", trial=0), "its best is not what"),
    "another scale": (
        "study.json",
        edit(tasks={"CartPole-v1": {"steps": 4000, "random_score": 22.0, "reference_score": 500.0}}),
        "tasks.CartPole-v1.reference_score is 500.0, the grid has 475.0",
    ),
    "an unknown scale": (
        "study.json",
        edit_inside("space", gamma={"low": 0.9, "high": 0.999, "scale": "logarithmic"}),
        "space.gamma.scale is 'logarithmic'; valid are linear, log, log_one_minus",
    ),
    "no untuned value": ("study.json", edit(untuned={"gamma": 0.99}), "untuned has no 'policy_learning_rate'"),
    "an unknown setting": ("best.json", edit(settings={"gama": 0.9}), "settings.gama is no setting of ppo"),
    "half a study": ("study.json", truncate, "incomplete or invalid JSON"),
    "half the trials": ("trials.csv", truncate, "ends in the middle of a line"),
    "too few trials": ("trials.csv", drop_row(1), "incomplete: 1 trials, but study.json asked for 2"),
    "a missing column": ("trials.csv", drop_column("gamma"), "no column 'gamma'"),
    "an unknown state": ("trials.csv", edit_csv("state", 1, "failed"), "state = 'failed'; valid are"),
    "a pruned winner": ("trials.csv", edit_csv("state", 1, "pruned"), "no complete trial 1, the winner"),
    "no untuned trial": ("trials.csv", edit_csv("state", 0, "pruned"), "no complete trial 0, the untuned settings"),
    "a value that is none": ("trials.csv", edit_csv("value", 1, "inf"), "line 3 has value = inf; expected a number"),
    "a trial twice": ("trials.csv", edit_csv("trial", 1, 0), "trial 0 is listed more than once"),
    "a lost part": ("parts.csv", drop_row(0), "incomplete: 1 parts of trial 0, but trials.csv counts 2"),
    "a lost fresh part": (
        "parts.csv",
        drop_row(4),
        "incomplete: 2 parts of the tuned settings (trial 1) on fresh seeds",
    ),
    "an unknown status": ("parts.csv", edit_csv("status", 0, "killed"), "status = 'killed'; valid are"),
    "no parts": ("parts.csv", Path.unlink, "no such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_spoilt_study_is_named_with_what_is_wrong(one, mistake):
    folder, _, _ = one
    file, spoil, said = MISTAKES[mistake]
    path = folder / "tuning/ppo/all" / file
    spoil(path)
    with pytest.raises(results.ResultsError) as error:
        tables.make_tables(read_grid(folder))
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


GRID_MISTAKES = {
    "evaluation seeds": ({"seeds": [1, 2]}, "has 1 in seeds and in the grid's seeds"),
    "fresh seeds of tuning": ({"fresh_seeds": [100]}, "has 100 in seeds and in fresh_seeds"),
    "an unknown task": ({"serves": ["Hoper-v5"]}, "serves has 'Hoper-v5'; valid are Hopper-v5"),
    "an unknown algorithm": ({"algorithm": "pppo"}, "algorithm has 'pppo'; valid are ppo"),
    "a directory of no study": ({"directory": "tuning/ppo/al"}, "cells[0].tuned is 'tuning/ppo/all', which is not"),
    "no trials": ({"trials": "many"}, "studies[0] has trials = 'many'; expected int"),
}


@pytest.mark.parametrize("mistake", GRID_MISTAKES)
def test_a_spoilt_entry_of_the_grid_is_named_with_what_is_wrong(one, mistake):
    folder, grid, _ = one
    changes, said = GRID_MISTAKES[mistake]
    edit_json(folder / "grid.json", studies=[{**grid["studies"][0], **changes}])
    with pytest.raises(results.ResultsError) as error:
        read_grid(folder)
    assert str(folder / "grid.json") in str(error.value)
    assert said in str(error.value)


def test_a_grid_without_the_key_studies_is_refused(one):
    folder, _, _ = one
    content = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    del content["studies"]
    (folder / "grid.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(results.ResultsError, match="has no key 'studies'"):
        read_grid(folder)
