"""From scores to the ranking's tables, figures, sentences and section of the report."""

import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis import figures, report
from analysis import words as findings
from analysis.drawing import theme
from analysis.reading.grid import Grid, read_grid
from analysis.reading.tables import read_table, write_table
from analysis.sections import FIGURES, TABLES
from analysis.sections.completeness.sentences import NO_WIDTH, few_runs
from analysis.sections.ranking import figures as ranking_figures
from analysis.sections.ranking import sentences as ranking_findings
from analysis.sections.ranking import tables as ranking
from analysis.sections.ranking.sentences import leaders
from analysis.statistics import comparison
from analysis.tables import make_tables
from analysis.words import p_text
from tests.analysis_fixtures import (
    CARTPOLE,
    TASKS,
    edit_json,
    page_of,
    says_nan,
    section_tables,
    write_grid,
    write_runs,
)
from tests.test_analysis import visible_text

# Columns that depend on how many pairs are compared.
OF_ALL_PAIRS = ("p_adjusted", "p_permutation_adjusted", "verdict", "seeds_needed", "rests_on")
OF_ALL_PAIRS += ("difference_without", "low_without", "high_without")
FIVE = (0.0, 0.01, 0.02, 0.03, 0.04)


def grid_of(folder: Path, algorithms, tasks=TASKS, seeds=(0, 1, 2, 3, 4)) -> Grid:
    write_grid(folder, algorithms=algorithms, tasks=tasks, seeds=seeds)
    return read_grid(folder)


def scores_of(runs: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """A table of scores, as far as the ranking reads it, from algorithm → task → normalised scores."""
    return pd.DataFrame(
        [
            {"task": task, "algorithm": algorithm, "seed": seed, "normalized": value, "normalized_auc": value / 2}
            for algorithm, by_task in runs.items()
            for task, values in by_task.items()
            for seed, value in enumerate(values)
        ],
        columns=["task", "algorithm", "seed", "normalized", "normalized_auc"],
    )


def tables_of(grid: Grid, runs: dict[str, dict[str, list[float]]]) -> dict[str, pd.DataFrame]:
    """The ranking's tables, and as much of the summary as they are read with."""
    counts = [
        {"task": task, "algorithm": algorithm, "n": len(values), **spread_of(values)}
        for algorithm, by_task in runs.items()
        for task, values in by_task.items()
    ]
    summary = pd.DataFrame(counts, columns=["task", "algorithm", "n", "mean", "low", "high"])
    return section_tables("ranking", grid=grid, scores=scores_of(runs)) | {"summary": summary}


def spread_of(values: list[float]) -> dict[str, float]:
    return {"mean": np.mean(values), "low": min(values), "high": max(values)} if values else {}


def around(level: float) -> list[float]:
    return [level + value for value in FIVE]


@pytest.fixture
def three(tmp_path) -> tuple[Grid, dict[str, pd.DataFrame]]:
    """REINFORCE far below A2C and PPO, which are close, on two tasks; on Hopper A2C is far above PPO."""
    grid = grid_of(tmp_path / "three", ("reinforce", "a2c", "ppo"))
    runs = {
        "reinforce": {"CartPole-v1": around(0.1), "Hopper-v5": around(0.1)},
        "a2c": {"CartPole-v1": around(0.50), "Hopper-v5": around(0.75)},
        "ppo": {"CartPole-v1": [0.2, 0.9, 0.9, 1.3, 1.4], "Hopper-v5": around(0.4)},
    }
    return grid, tables_of(grid, runs)


def test_tables_have_their_columns_also_without_any_run(tmp_path):
    grid = grid_of(tmp_path / "empty", ("reinforce", "ppo"))
    for name, table in section_tables("ranking", grid=grid, scores=scores_of({})).items():
        assert tuple(table.columns) == TABLES[name]
        assert table.empty


def test_every_pair_is_compared_over_all_tasks_and_on_each_and_corrected_within_either(three):
    _, tables = three
    pairs = tables["pairs"].query("measure == 'score'")
    together = pairs.query("task == @ranking.ALL_TASKS")
    alone = pairs.query("task != @ranking.ALL_TASKS")
    assert (len(together), len(alone)) == (3, 6)
    assert together["p_adjusted"].tolist() == pytest.approx(comparison.holm(together["p"]).tolist())
    assert alone["p_adjusted"].tolist() == pytest.approx(comparison.holm(alone["p"]).tolist())
    row = together.query("algorithm == 'ppo' and other == 'reinforce'").iloc[0]
    assert row["difference"] == pytest.approx((0.94 - 0.12 + 0.42 - 0.12) / 2)
    assert row[["tasks", "n", "n_other"]].tolist() == [2, 10, 10]
    hopper = alone.query("task == 'Hopper-v5' and algorithm == 'ppo' and other == 'a2c'").iloc[0]
    assert (hopper["verdict"], hopper["tasks"], hopper["n"]) == ("worse", 1, 5)


def test_a_verdict_that_rests_on_a_single_task_says_so_and_what_is_left_without_it(tmp_path):
    """PPO is far above A2C on CartPole and a little below it on Hopper; A2C is above REINFORCE on both."""
    grid = grid_of(tmp_path / "rests", ("reinforce", "a2c", "ppo"))
    runs = {
        "reinforce": {"CartPole-v1": around(0.1), "Hopper-v5": around(0.1)},
        "a2c": {"CartPole-v1": around(0.3), "Hopper-v5": around(0.505)},
        "ppo": {"CartPole-v1": around(0.9), "Hopper-v5": around(0.5)},
    }
    tables = tables_of(grid, runs)
    together = tables["pairs"].query("measure == 'score' and task == @ranking.ALL_TASKS")
    rows = together.set_index(["algorithm", "other"])
    row = rows.loc[("ppo", "a2c")]
    assert (row["verdict"], row["rests_on"]) == ("better", "CartPole-v1")
    alone = comparison.difference([np.array(runs["ppo"]["Hopper-v5"])], [np.array(runs["a2c"]["Hopper-v5"])])
    assert row[["difference_without", "low_without", "high_without"]].tolist() == pytest.approx(
        [alone.value, alone.low, alone.high]
    )
    assert pd.isna(rows.loc[("a2c", "reinforce"), "rests_on"])
    assert tables["pairs"].query("task != @ranking.ALL_TASKS")["rests_on"].isna().all()
    pairs = [pair for pair in ranking_findings.score_pairs(grid, tables) if pair.task == ranking.ALL_TASKS]
    said = ranking_findings.steps_down(grid, ["ppo", "a2c", "reinforce"], pairs)
    assert said[0].count("rests on") == 1
    left = findings.interval(alone.value, alone.low, alone.high, findings.fixed)
    assert f"rests on CartPole-v1: {left} without it, the other way round)" in said[0]
    (pair,) = (row for row in ranking_findings.pair_rows(grid, tables) if row["pair"].rests_on)
    assert ranking_findings.on_single_tasks(pair)[-1].startswith("rests on CartPole-v1: ")
    seen = pair["pair"].turned()
    assert (seen.difference_without, seen.low_without) == (-alone.value, -alone.high)


def test_a_permutation_test_stands_beside_the_verdicts_where_it_can_decide_anything(three, tmp_path):
    _, tables = three
    together = tables["pairs"].query("measure == 'score' and task == @ranking.ALL_TASKS")
    assert together["p_permutation_adjusted"].tolist() == comparison.holm(together["p_permutation"]).tolist()
    assert (together["p_permutation"] <= 0.001).tolist() == (together["verdict"] != "undecided").tolist()
    grid = grid_of(tmp_path / "small", ("reinforce", "a2c", "ppo"), seeds=(0, 1))
    few = tables_of(grid, {name: {task: [0.1, 0.2] for task in TASKS} for name in grid.algorithms})
    assert few["pairs"]["p_permutation"].isna().all()  # 2 of 36 is its smallest


def test_verdicts_that_the_permutation_test_does_not_confirm_are_named(three):
    grid, tables = three
    pairs = ranking_findings.score_pairs(grid, tables)
    together = [replace(pair, p_permutation_adjusted=0.2) for pair in pairs if pair.task == ranking.ALL_TASKS]
    (said,) = ranking_findings.permutation_text(grid, together)
    assert said.startswith(
        "A permutation test within tasks, which assumes no distribution of scores, confirms 0 of the 2"
    )
    assert said.count("p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.20") == 2
    together = [replace(pair, p_permutation_adjusted=0.001) for pair in together]
    assert "shown to differ by this test alone: " in ranking_findings.permutation_text(grid, together)[0]


def test_only_tasks_that_both_have_count_for_a_pair(tmp_path):
    grid = grid_of(tmp_path / "partial", ("reinforce", "ppo"))
    runs = {"reinforce": {"CartPole-v1": around(0.1), "Hopper-v5": around(0.9)}, "ppo": {"CartPole-v1": around(0.3)}}
    tables = tables_of(grid, runs)
    row = tables["pairs"].query("measure == 'score' and task == @ranking.ALL_TASKS").iloc[0]
    assert row["difference"] == pytest.approx(0.2)
    assert row["tasks"] == 1
    assert tables["improvement"].query("measure == 'score'")["probability"].tolist() == [1]
    assert tables["aggregate"].query("measure == 'score'")[["tasks", "n", "requested"]].to_numpy().tolist() == [
        [2, 10, 10],
        [1, 5, 10],
    ]


def test_algorithms_without_a_task_in_common_are_no_pair(tmp_path):
    grid = grid_of(tmp_path / "apart", ("reinforce", "ppo"))
    runs = {"reinforce": {"CartPole-v1": around(0.1)}, "ppo": {"Hopper-v5": around(0.3)}}
    tables = tables_of(grid, runs)
    assert tables["pairs"].empty
    assert tables["improvement"].empty
    assert ranking_findings.pair_rows(grid, tables) == []
    assert ranking_findings.order(tables) == []
    assert len(ranking_findings.sentences(grid, tables)) == 1  # that runs are missing


def test_another_algorithm_moves_no_number_but_the_corrected_ones(tmp_path):
    grid = grid_of(tmp_path / "moves", ("reinforce", "a2c", "ppo"))
    runs = {
        name: {task: around(level) for task in TASKS}
        for name, level in (("reinforce", 0.1), ("a2c", 0.5), ("ppo", -2.3))
    }
    fewer = section_tables("ranking", grid=grid, scores=scores_of({name: runs[name] for name in ("reinforce", "a2c")}))
    more = tables_of(grid, runs)
    for name in ("aggregate", "profiles", "improvement", "pairs"):
        columns = [c for c in TABLES[name] if c not in OF_ALL_PAIRS]
        keys = [c for c in ("measure", "task", "algorithm", "other", "tau") if c in columns]
        both = fewer[name][columns].merge(more[name][columns], how="left", on=keys, suffixes=("", "_more"))
        for column in set(columns) - set(keys):
            assert both[column].to_numpy() == pytest.approx(both[f"{column}_more"].to_numpy(), nan_ok=True), column


def test_profile_levels_are_multiples_of_a_fixed_step_and_few_however_far_off_a_score_is():
    levels = ranking.profile_levels(np.array([0.31, 1.205]))
    assert (levels[0], levels[-1]) == pytest.approx((0, 1.22))
    assert len(ranking.profile_levels(np.array([-1e9, 1e9]))) == 501
    assert set(np.round(levels, 9)) <= set(np.round(ranking.profile_levels(np.array([-1.0, 3.0])), 9))


def test_the_order_its_steps_and_what_speaks_against_it_are_said(three):
    grid, tables = three
    said = " ".join(ranking_findings.sentences(grid, tables))
    iqm = tables["aggregate"].query("measure == 'score'").set_index("algorithm")["iqm"]
    first, second = ("A2C", "PPO") if iqm["a2c"] > iqm["ppo"] else ("PPO", "A2C")
    assert f"the order is {first} > {second} > REINFORCE." in said
    close = tables["pairs"].query("measure == 'score' and task == 'all tasks' and other == 'a2c'").iloc[0]
    assert close["verdict"] == "undecided"
    assert f"about {close['seeds_needed']:,.0f} seeds needed" in said
    assert f"{second} above REINFORCE (" in said
    assert "pair alone): 2 of 3 pairs over all tasks" in said
    assert "confirms 2 of the 2 verdicts over all tasks." in said
    tables["pairs"].loc[tables["pairs"]["task"] == "all tasks", "tasks"] -= 1  # as where one runs on fewer tasks
    assert "pair alone): 2 of 3 pairs over the tasks where both have runs" in " ".join(
        ranking_findings.sentences(grid, tables)
    )


def test_a_pair_is_seen_from_the_one_that_stands_first(three):
    grid, tables = three
    rows = ranking_findings.pair_rows(grid, tables)
    placed = ranking_findings.order(tables)
    assert [(row["pair"].algorithm, row["pair"].other) for row in rows] == [
        (placed[0], placed[1]),
        (placed[0], placed[2]),
        (placed[1], placed[2]),
    ]
    for row in rows:
        assert [pair.task for pair in row["alone"]] == list(grid.tasks)
    row = tables["pairs"].query("measure == 'score' and task == 'Hopper-v5' and algorithm == 'ppo' and other == 'a2c'")
    pair = next(
        p for r in rows for p in r["alone"] if {p.algorithm, p.other} == {"ppo", "a2c"} and p.task == "Hopper-v5"
    )
    sign = 1 if pair.algorithm == "ppo" else -1
    assert pair.difference == sign * row["difference"].iloc[0]
    assert pair.verdict == ("worse" if sign == 1 else "better")
    assert pair.low < pair.difference < pair.high
    together, opposite = rows[0]["pair"], rows[0]["pair"].turned()
    assert (opposite.algorithm, opposite.difference) == (together.other, -together.difference)
    assert opposite.probability_low == pytest.approx(1 - together.probability_high)


def test_the_leaders_of_a_task_take_their_verdicts_from_the_pairs(three):
    """On CartPole PPO's mean is far above A2C's, and so is its spread: that decides nothing."""
    grid, tables = three
    cartpole, hopper = leaders(grid, tables)
    assert (cartpole.best.algorithm, cartpole.following.algorithm) == ("ppo", "a2c")
    assert cartpole.verdict.startswith("no: about ")
    assert (hopper.best.algorithm, hopper.verdict) == ("a2c", "yes")
    turned = tables["pairs"].assign(verdict=tables["pairs"]["verdict"].map(lambda verdict: "undecided"))
    assert leaders(grid, tables | {"pairs": turned})[1].verdict.startswith("no")


@pytest.mark.parametrize(("n", "said"), [(2, "about half"), (5, "about 92 times"), (6, None)])
def test_few_runs_are_said_to_be_few(n, said):
    found = few_runs(pd.DataFrame({"n": [n, 9]}))
    assert [said in sentence and NO_WIDTH in sentence for sentence in found] == ([True] if said else [])


def test_a_variant_of_an_algorithm_is_not_counted_as_another(tmp_path):
    grid = grid_of(tmp_path / "variants", ("reinforce", "ppo"))
    assert report.compared(grid) == "2 policy-gradient algorithms on 2 tasks"
    grid.algorithms["ppo_published"] = {**grid.algorithms["ppo"], "title": "PPO (untuned)"}
    assert report.compared(grid) == "2 policy-gradient algorithms (PPO also with other settings) on 2 tasks"


def test_seeds_needed_in_words():
    assert ranking_findings.seeds_text(12.0) == "about 12 seeds needed"
    assert ranking_findings.seeds_text(np.inf) == "more than 1,000 seeds needed"
    assert ranking_findings.seeds_text(np.nan) == "no difference seen"


def test_p_values_in_words():
    assert [p_text(p) for p in (0.0, 0.00012, 0.034, 0.5, 1.0, np.nan)] == [
        *("< 0.0001", "0.00012", "0.034", "0.50", "1.00", "–")
    ]


def drawn(grid: Grid, tables: dict[str, pd.DataFrame], name: str) -> str:
    """The words in a figure that is made from the tables' files."""
    theme.apply()
    summary = tables["summary"].assign(requested=tables["summary"]["n"])
    tables = tables | {"summary": summary.reindex(columns=list(TABLES["summary"]))}
    for table in ("aggregate", "profiles", "improvement", "summary"):
        write_table(grid.folder, table, tables[table])
    figure = figures.draw(grid, name)
    text = theme.image_bytes(figure, "svg").decode()
    plt.close(figure)
    return re.sub(r"<[^>]*>", " ", text)


RANKING = ("aggregate_scores", "performance_profiles", "probability_of_improvement")


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_figures_of_few_or_no_runs_are_drawn_without_a_warning(tmp_path, name, seeds):
    grid = grid_of(tmp_path / "few", ("reinforce", "ppo"), seeds=range(max(seeds, 1)))
    runs = {"reinforce": {task: [0.2] * seeds for task in TASKS}, "ppo": {task: [0.4] * seeds for task in TASKS}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = tables_of(grid, runs)
        text = drawn(grid, tables, name)
    assert not says_nan(text)
    assert ("PPO" in text) == (seeds > 0 or name != "probability_of_improvement")


def test_the_figure_of_improvement_shows_each_pair_from_both_sides(three):
    _, tables = three
    found = ranking_figures.both_ways(tables["improvement"].query("measure == 'score'")).set_index(
        ["algorithm", "other"]
    )
    assert len(found) == 6
    for (algorithm, other), row in found.iterrows():
        opposite = found.loc[(other, algorithm)]
        assert row["probability"] + opposite["probability"] == pytest.approx(1)
        assert (row["low"], row["n"]) == (pytest.approx(1 - opposite["high"]), opposite["n_other"])


def section(folder: Path) -> str:
    """The words of the report's section, with tables by way of their files and without drawing figures."""
    grid = read_grid(folder)
    for name, table in make_tables(grid).items():
        write_table(folder, name, table)
    page = page_of(folder, dict.fromkeys(FIGURES, '<svg width="9pt" height="9pt"/>'))
    return visible_text("</style>" + page.split('<section id="ranking">')[1].split("</section>")[0])


def test_the_section_marks_averages_over_fewer_runs(tmp_path):
    folder = tmp_path / "partial"
    grid = write_grid(folder, algorithms=("reinforce", "a2c", "ppo"), seeds=(0, 1, 2))
    write_runs(folder, grid)
    shutil.rmtree(folder / "runs/Hopper-v5/ppo/1")
    text = section(folder)
    assert "5 of 6 †" in text
    # The sentence that opens it, its row, two pairs of three, these and the leader on Hopper, three captions, and what
    # it means.
    assert text.count("†") == 11
    assert "averages over fewer runs than requested (PPO 5 of 6)" in text
    assert not says_nan(text)


def test_an_algorithm_whose_runs_all_diverged_ranks_as_the_random_policy(tmp_path):
    folder = tmp_path / "diverged"
    grid = write_grid(folder, algorithms=("reinforce", "ppo"))
    write_runs(folder, grid)
    for path in folder.glob("runs/*/ppo/*/run.json"):
        edit_json(path, status="diverged", diverged_at=100, diverged_because="loss is not finite", evaluation=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = section(folder)
    aggregate = read_table(folder, "aggregate").query("algorithm == 'ppo'")
    values = aggregate[[f"{name}{end}" for name in ("iqm", "mean", "median") for end in ("", "_low", "_high")]]
    assert (values == 0).all(axis=None)
    assert (aggregate["optimality_gap"] == 1).all()
    assert not says_nan(text)
    assert "the order is REINFORCE &gt; PPO" in text


def test_a_single_run_has_no_verdict_and_the_section_says_why(tmp_path):
    folder = tmp_path / "single"
    write_runs(folder, write_grid(folder, seeds=(3,)))
    text = section(folder)
    assert "– (a single run)" in text
    assert "No pair has a verdict over all tasks" in text
    assert not says_nan(text)


def test_a_single_algorithm_has_a_section_without_pairs(tmp_path):
    folder = tmp_path / "alone"
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}))
    text = section(folder)
    assert "Which means differ by more than seeds explain" not in text
    assert "All tasks together" in text
