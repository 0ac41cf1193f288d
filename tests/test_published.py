"""Published scores beside ours: the data, every metric, interval, verdict and reason, and the section of the page."""

import dataclasses
import json
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind_from_stats

from algorithms.core.task import Task
from analysis import figures, tables
from analysis.drawing import theme
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.jobs import state_of
from analysis.reading.tables import write_table
from analysis.sections import FIGURES, TABLES
from analysis.sections.published import sentences as published_findings
from analysis.sections.published import tables as published
from analysis.sections.published.figures import in_columns, published_scores
from analysis.sections.published.tables import (
    SETTINGS,
    TIME_LIMITS,
    difference_interval,
    mean_of_window,
    read_published,
    read_settings,
    std_over_seeds,
    version_relation,
)
from analysis.statistics.scores import mean_of_last
from experiments.grid import algorithm_class, load_grid
from tests.analysis_fixtures import (
    CARTPOLE,
    HOPPER,
    edit_json,
    page_of,
    says_nan,
    write_grid,
    write_run_json,
    write_runs,
    write_updates,
)
from tests.test_analysis import visible_text

SETS = """
theirs:
  source: somewhere
  settings: {gamma: 0.99, policy_learning_rate: 3.0e-4, clip: 0.2, normalize_observations: false}
  time_limits: terminations
annealed:
  source: somewhere
  settings: {anneal_learning_rate: true}
  otherwise: [RMSprop, ReLU]
  time_limits: bootstrapped
"""
ENTRY = {
    "algorithm": "ppo",
    "task": "Hopper-v5",
    "steps": 50000,
    "run_steps": 50000,
    "n": 3,
    "metric": "evaluation_sampled",
    "window": None,
    "bin": None,
    "mean": 1000,
    "spread": 100,
    "spread_kind": "std",
    "settings": "theirs",
    "source": "Somebody",
    "reference": "somewhere @0123456 table 1",
    "caveat": None,
    "note": None,
}


def write_published(folder: Path, *changes: dict) -> tuple[Path, Path]:
    """published_scores.csv with ENTRY as changed by each of `changes`, and published_settings.yaml."""
    folder.mkdir(exist_ok=True)
    paths = folder / "scores.csv", folder / "settings.yaml"
    pd.DataFrame([{**ENTRY, **change} for change in changes]).to_csv(paths[0], index=False)
    paths[1].write_text(SETS, encoding="utf-8")
    return paths


@pytest.fixture
def hopper(tmp_path):
    """A grid of ppo on Hopper-v5, 50,000 steps, three runs: they score 900, 1000 and 1100 with sampled actions, 100
    more with mode actions, and their episodes end every 100 steps with return 0, 1, 2 …, less or more 100: the folder.
    """
    return write_hopper(tmp_path / "grid")


def write_hopper(folder: Path, scores=(900.0, 1000.0, 1100.0), seeds=None, **task) -> Path:
    seeds = range(len(scores)) if seeds is None else seeds
    settings = {"ppo": {"clip": 0.2}}
    grid = write_grid(folder, algorithms=("ppo",), tasks={"Hopper-v5": HOPPER}, seeds=tuple(seeds), settings=settings)
    if task:
        grid["tasks"]["Hopper-v5"] |= task
        (folder / "grid.json").write_text(json.dumps(grid), encoding="utf-8")
    for cell, score in zip(grid["cells"], scores, strict=False):
        run = folder / cell["directory"]
        run.mkdir(parents=True)
        steps = np.arange(100, 50100, 100)
        episodes = {"step": steps, "return": np.arange(len(steps)) + score - 1000, "length": 100}
        pd.DataFrame(episodes).to_csv(run / "episodes.csv", index=False)
        write_updates(run / "updates.csv", 50000, ppo=True, rng=np.random.default_rng(0))
        write_run_json(run, grid, cell, episodes=len(steps), final=[score - 10, score + 10], speed=4000.0)
        evaluation = json.loads((run / "run.json").read_text())["evaluation"]
        evaluation["mode"] = {"returns": [score + 100.0], "lengths": [100]}
        edit_json(run / "run.json", evaluation=evaluation)
    return folder


def compare(folder: Path, *changes: dict) -> pd.DataFrame:
    """The table of a grid against ENTRY as changed by each of `changes`."""
    grid = read_grid(folder)
    runs = [(cell, run) for cell in grid.cells if (run := state_of(grid, cell)[1]) is not None]
    return published.published(grid, runs, *write_published(folder.parent / "published", *changes))


def row(folder: Path, **change) -> pd.Series:
    (only,) = (found for _, found in compare(folder, change).iterrows())
    return only


def test_every_setting_of_the_published_sets_is_one_of_the_algorithm_that_it_is_compared_with():
    sets = read_settings(SETTINGS)
    entries = read_published(published.SCORES, sets)
    preprocessing = {field.name for field in dataclasses.fields(Task)}
    for algorithm, name in set(zip(entries["algorithm"], entries["settings"], strict=True)):
        valid = {field.name for field in dataclasses.fields(algorithm_class(algorithm))} | preprocessing
        if name:
            assert set(sets[name].settings) <= valid, (algorithm, name)
    assert set(sets) == set(entries["settings"]) - {""}


def test_a_published_set_can_be_the_settings_of_its_algorithm():
    sets = read_settings(SETTINGS)
    entries = read_published(published.SCORES, sets)
    preprocessing = {field.name for field in dataclasses.fields(Task)}
    for algorithm, name in set(zip(entries["algorithm"], entries["settings"], strict=True)) - {("", "")}:
        if name:
            own = {key: value for key, value in sets[name].settings.items() if key not in preprocessing}
            algorithm_class(algorithm).from_settings(own)


def test_the_published_scores_are_each_there_once():
    entries = read_published(published.SCORES, read_settings(SETTINGS))
    keys = ["algorithm", "task", "steps", "source", "reference"]
    assert not entries[keys].duplicated().any()
    assert not entries["mean"].isna().any()


def test_untuned_ppo_of_the_grid_of_published_sizes_has_the_settings_of_cleanrl():
    grid = load_grid("paper")
    manifest = grid.manifest()
    cell = next(c for c in manifest["cells"] if (c["algorithm"], c["task"]) == ("ppo_published", "HalfCheetah-v5"))
    sets = read_settings(SETTINGS)
    entries = read_published(published.SCORES, sets)
    entry = entries[(entries["source"] == "CleanRL") & (entries["task"] == "HalfCheetah-v4")].itertuples()
    task = manifest["tasks"]["HalfCheetah-v5"]
    assert published.settings_relation(cell, task, next(entry), cell["steps"], sets) == ("same", "")


def test_the_last_episodes_are_those_that_ended_by_the_step():
    steps, returns = np.array([10, 20, 30, 40, 50]), np.array([1.0, 2, 4, 8, 16])
    assert mean_of_last(steps, returns, end=40, n=2, before=-7) == 6
    assert mean_of_last(steps, returns, end=25, n=100, before=-7) == 1.5
    assert mean_of_last(steps, returns, end=9, n=2, before=-7) == -7


def test_a_window_is_averaged_over_steps_and_not_over_episodes():
    steps, returns = np.array([5, 11, 12, 13, 35]), np.array([9.0, 1, 2, 3, 10])
    # Bins (10, 20] with mean 2, (20, 30] empty and so 2, (30, 40] with 10; the mean over episodes would be 4.
    assert mean_of_window(steps, returns, end=40, window=30, width=10, before=-7) == pytest.approx(14 / 3)


def test_a_window_that_begins_empty_has_the_return_before_it():
    steps, returns = np.array([4, 5, 25]), np.array([100.0, 9, 3])
    assert mean_of_window(steps, returns, end=30, window=20, width=10, before=-7) == 6
    assert mean_of_window(steps[2:], returns[2:], end=30, window=20, width=10, before=-7) == -2
    assert mean_of_window(steps[2:], returns[2:], end=20, window=20, width=10, before=-7) == -7


@pytest.mark.parametrize(
    ("change", "ours"),
    [
        ({"metric": "evaluation_sampled"}, [900, 1000, 1100]),
        ({"metric": "evaluation_mode"}, [1000, 1100, 1200]),
        (
            {"metric": "last_episodes", "window": 100},
            [349.5, 449.5, 549.5],
        ),  # returns 400 … 499, less 100, as they are, …
        ({"metric": "last_episodes", "window": 10, "steps": 20000}, [94.5, 194.5, 294.5]),
        ({"metric": "window", "window": 1000, "bin": 500}, [394.5, 494.5, 594.5]),
        ({"metric": "window", "window": 1000, "bin": 500, "steps": 30000}, [194.5, 294.5, 394.5]),
    ],
)
def test_ours_is_computed_by_the_published_metric_at_the_published_step(hopper, change, ours):
    found = row(hopper, **change)
    assert found["ours"] == pytest.approx(np.mean(ours))
    half = 4.302653 * 100 / np.sqrt(3)
    assert [found["ours_low"], found["ours_high"]] == pytest.approx([np.mean(ours) - half, np.mean(ours) + half])
    assert found["verdict"] != "not comparable"


def test_a_run_that_has_diverged_has_the_random_score_from_there_on(hopper):
    path = hopper / "runs/Hopper-v5/ppo/0/run.json"
    edit_json(path, status="diverged", diverged_at=30000, diverged_because="not finite", evaluation=None)
    assert row(hopper)["ours"] == pytest.approx((18 + 1000 + 1100) / 3)
    last = {"metric": "last_episodes", "window": 1}
    assert row(hopper, **last)["ours"] == pytest.approx((18 + 499 + 599) / 3)
    assert row(hopper, **last, steps=20000)["ours"] == pytest.approx((99 + 199 + 299) / 3)


def test_the_interval_with_a_published_spread_is_welchs():
    ours = np.array([3.0, 4, 8, 9])
    difference, low, high, method = difference_interval(ours, 5.0, 2.0, 6)
    test = ttest_ind_from_stats(ours.mean(), ours.std(ddof=1), 4, 5.0, 2.0, 6, equal_var=False)
    half = np.array([high - difference, difference - low])
    assert method == "Welch"
    assert difference == 1
    # Welch's t at the end of the interval has p = 0.05.
    shifted = ttest_ind_from_stats(ours.mean() - low, ours.std(ddof=1), 4, 5.0, 2.0, 6, equal_var=False)
    assert shifted.pvalue == pytest.approx(0.05)
    assert half[0] == pytest.approx(half[1])
    assert test.pvalue > 0.05
    assert low < 0 < high


def test_without_a_published_spread_the_interval_holds_the_mean_of_as_many_further_runs():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        ours, theirs = rng.normal(size=5), rng.normal(size=4).mean()
        _, low, high, method = difference_interval(ours, theirs, np.nan, 4)
        held += low <= 0 <= high
    assert method == "prediction"
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_both_sides_without_any_spread_differ_by_what_they_differ():
    assert difference_interval(np.array([500.0, 500]), 500.0, 0.0, 3) == (0, 0, 0, "Welch")


@pytest.mark.parametrize(
    ("kind", "spread", "n", "expected"),
    [
        ("std", 10, 4, 10),
        ("population_std", 10, 5, np.sqrt(125)),
        ("standard_error", 10, 4, 20),
        ("interval", 19.6, 4, 20),
        ("std_of_episodes", 10, 4, np.nan),
        ("std", 10, 1, np.nan),
        ("std", 10, np.nan, np.nan),
        ("", np.nan, 4, np.nan),
    ],
)
def test_what_stands_behind_the_plus_minus_decides_the_standard_deviation(kind, spread, n, expected):
    entry = pd.Series({"spread_kind": kind, "spread": spread, "n": n})
    assert std_over_seeds(entry) == pytest.approx(expected, nan_ok=True)


def test_population_std_is_turned_into_that_of_a_sample():
    values = np.array([1.0, 4, 4, 9])
    entry = pd.Series({"spread_kind": "population_std", "spread": values.std(), "n": 4})
    assert std_over_seeds(entry) == pytest.approx(values.std(ddof=1))


def test_verdicts_follow_from_the_interval_of_the_difference(hopper):
    # Ours 1000 ± 100, n = 3.
    table = compare(hopper, {"mean": 1100}, {"mean": 1500}, {"mean": 500}, {"mean": 1500, "spread": 1000})
    assert table["verdict"].tolist() == ["consistent", "below", "above", "consistent"]
    assert table["difference"].tolist() == pytest.approx([-100, -500, 500, -500])
    assert table["normalized_difference"].tolist() == pytest.approx([d / 2482 for d in (-100, -500, 500, -500)])
    for found in table.itertuples():
        expected = {
            "above": found.difference_low > 0,
            "below": found.difference_high < 0,
            "consistent": found.difference_low < 0 < found.difference_high,
        }
        assert expected[found.verdict]


def test_a_standard_error_is_not_taken_for_a_standard_deviation(hopper):
    changes = {"n": 4, "spread": 100}, {"n": 4, "spread": 200, "spread_kind": "std"}, {"n": 4, "spread": 100}
    changes[0]["spread_kind"] = "standard_error"
    highs = compare(hopper, *changes)["difference_high"]
    assert highs[0] == pytest.approx(highs[1])
    assert highs[0] > highs[2] + 50


def test_a_difference_of_no_interest_is_consistent_however_certain(tmp_path):
    folder = write_hopper(tmp_path / "grid", scores=(1000.0, 1000.0, 1000.0))
    means = (1024, 1026, 976, 974)  # 1 % of the distance from random to reference score is 24.8
    table = compare(folder, *({"mean": mean, "spread": 0} for mean in means))
    assert table["verdict"].tolist() == ["consistent", "below", "consistent", "above"]


@pytest.mark.parametrize(
    ("change", "because", "reason"),
    [
        ({"steps": 1000000}, "steps", "Ours has 50,000 steps, theirs 1,000,000."),
        ({"steps": 20000}, "steps", "Ours was evaluated after 50,000 steps, theirs after 20,000."),
        ({"metric": "maximum"}, "metric", "The maximum over training is published, which no score at one step"),
        ({"metric": "unstated"}, "metric", "What was measured is not stated."),
        ({"caveat": "another estimator"}, "entry", "Another estimator."),
        ({"n": None}, "seeds", "The number of seeds is not published, so there is no interval."),
        ({"task": "Hopper-v1"}, "version", "Another version of the task: v1 instead of v5 (v1 ran on MuJoCo 1.31)."),
        (
            {"task": "Hopper-v1", "metric": "maximum", "steps": 1000000},
            "metric version steps",
            "The maximum over training is published, which no score at one step of the same runs exceeds; another "
            "version of the task: v1 instead of v5 (v1 ran on MuJoCo 1.31); ours has 50,000 steps, theirs 1,000,000.",
        ),
    ],
)
def test_why_there_is_no_verdict(hopper, change, because, reason):
    found = row(hopper, **change)
    assert (found["verdict"], found["because"]) == ("not comparable", because)
    assert found["reason"].startswith(reason)
    assert found[["difference", "difference_low", "difference_high"]].isna().all()


def test_a_maximum_over_training_is_never_a_verdict_even_where_all_else_is_the_same(hopper):
    found = row(hopper, metric="maximum", mean=1000)
    assert found["verdict"] == "not comparable"
    assert np.isnan(found["ours"])


def test_scores_of_another_version_stand_beside_each_other_without_a_verdict(hopper):
    found = row(hopper, task="Hopper-v1")
    assert (found["ours"], found["published"]) == (1000, 1000)
    assert found["verdict"] == "not comparable"


def test_a_training_score_is_read_from_a_longer_run_but_an_evaluation_is_not(hopper):
    last = {"metric": "last_episodes", "window": 10}
    table = compare(hopper, {"steps": 20000, **last}, {"steps": 20000}, {"steps": 49500}, {"steps": 50500})
    assert (table["verdict"] != "not comparable").tolist() == [True, False, True, True]  # 1 % off is what a rollout is


def test_too_few_runs_have_no_verdict(tmp_path):
    none = write_hopper(tmp_path / "none", scores=(), seeds=(0, 1))
    single = write_hopper(tmp_path / "single", scores=(1000.0,), seeds=(0, 1))
    assert row(none)["reason"] == "No run of ours has finished."
    found = row(single)
    assert found["reason"] == "Ours is a single run, whose spread is unknown."
    assert (found["n"], found["requested"], found["ours"]) == (1, 2, 1000)


def test_runs_that_are_all_alike_tell_nothing_of_a_score_without_spread(tmp_path):
    folder = write_hopper(tmp_path / "grid", scores=(1000.0, 1000.0))
    bare = {"spread": None, "spread_kind": None}
    assert row(folder, **bare, mean=900)["because"] == "runs"
    assert row(folder, **bare, mean=1010)["verdict"] == "consistent"


def test_a_time_limit_of_ones_own_is_another_task(tmp_path):
    folder = write_hopper(tmp_path / "grid", scores=(), seeds=(0,), max_episode_steps=200)
    assert row(folder)["reason"].startswith("Our task has a time limit of its own, 200 steps; ")


@pytest.mark.parametrize(
    ("ours", "theirs", "level"),
    [
        ("HalfCheetah-v5", "HalfCheetah-v5", "same"),
        ("HalfCheetah-v5", "HalfCheetah-v4", "comparable"),
        ("HalfCheetah-v4", "HalfCheetah-v5", "comparable"),
        ("Swimmer-v5", "Swimmer-v4", "comparable"),
        ("HalfCheetah-v5", "HalfCheetah-v2", "nearly"),
        ("HalfCheetah-v3", "HalfCheetah-v2", "same"),
        ("Hopper-v5", "Hopper-v4", "nearly"),
        ("InvertedPendulum-v5", "InvertedPendulum-v2", "nearly"),
        ("InvertedDoublePendulum-v5", "InvertedDoublePendulum-v4", "nearly"),
        ("Walker2d-v5", "Walker2d-v4", "not"),
        ("Walker2d-v4", "Walker2d-v2", "nearly"),
        ("Ant-v5", "Ant-v4", "not"),
        ("Humanoid-v5", "Humanoid-v3", "not"),
        ("Reacher-v5", "Reacher-v2", "not"),
        ("Hopper-v5", "Hopper-v1", "not"),
        ("CartPole-v1", "CartPole-v0", "not"),
        ("my.tasks:CartPole-v1", "CartPole-v1", "same"),
    ],
)
def test_versions(ours, theirs, level):
    found, change = version_relation(ours, theirs)
    assert found == level
    assert bool(change) == (level != "same" or ours[-1] != theirs[-1])


def test_every_known_difference_of_the_settings_is_told(hopper):
    assert row(hopper)[["settings", "differences", "time_limits"]].tolist() == ["same", "", "terminations"]
    grid = json.loads((hopper / "grid.json").read_text())
    for cell in grid["cells"]:
        cell["settings"] |= {"gamma": 0.98, "clip": 0.2000001}
        edit_json(hopper / cell["directory"] / "run.json", settings=cell["settings"])
    (hopper / "grid.json").write_text(json.dumps(grid), encoding="utf-8")
    found = row(hopper)
    assert (found["settings"], found["differences"]) == ("other", "gamma 0.98 (0.99)")
    assert found["verdict"] == "consistent"
    found = row(hopper, settings="annealed")
    assert found["differences"] == "no anneal_learning_rate (yes); theirs also: RMSprop, ReLU"
    assert row(hopper, settings=None)["settings"] == "unknown"


def test_a_learning_rate_that_falls_over_other_steps_is_a_difference():
    cell = {"settings": {"anneal_learning_rate": True}}
    sets = {"a": published.SettingsSet({"anneal_learning_rate": True}, [], TIME_LIMITS[0])}
    entry = pd.Series({"settings": "a", "run_steps": 3_000_000.0})
    assert published.settings_relation(cell, {}, entry, 1_000_000, sets) == (
        "other",
        "learning rate falls over 1,000,000 steps (3,000,000)",
    )
    assert published.settings_relation(cell, {}, entry, 3_000_000, sets) == ("same", "")


def test_an_entry_is_compared_with_every_variant_of_its_algorithm_and_no_other(tmp_path):
    folder = tmp_path / "grid"
    grid = write_grid(folder, algorithms=("ppo", "ppo_published", "a2c"), tasks={"Hopper-v5": HOPPER})
    grid["algorithms"]["ppo_published"]["module"] = "ppo"
    (folder / "grid.json").write_text(json.dumps(grid), encoding="utf-8")
    table = compare(folder, {"task": "Hopper-v4"}, {"task": "HopperMore-v5"})
    assert table["algorithm"].tolist() == ["ppo", "ppo_published"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metric": "final"}, "line 2 has metric = 'final'; valid are"),
        ({"spread_kind": "sd"}, "line 2 has spread_kind = 'sd'; valid are std"),
        ({"settings": "their"}, "line 2 has settings = 'their'; valid are theirs"),
        ({"mean": None}, "line 2 has mean = nan; expected a number."),
        ({"mean": "a lot"}, "line 2 has mean = 'a lot'; expected a number."),
        ({"steps": None}, "line 2 has steps = nan; expected a number."),
        ({"spread": None}, "line 2 has spread = nan; expected a number, as there is a spread_kind."),
        ({"spread_kind": None}, "line 2 has spread_kind = ''; expected one of std, population_std"),
        ({"metric": "last_episodes"}, "line 2 has window = nan; expected a number, as its metric needs."),
        ({"metric": "window", "window": 1000}, "line 2 has bin = nan; expected a number, as its metric needs."),
        ({"n": 0}, "line 2 has n = 0; expected a number of seeds, or nothing where it is not published."),
        ({"task": "Hopper"}, "line 2 has task = 'Hopper'; expected an id that ends in its version, such as Hopper-v5."),
        ({"source": None}, "line 2 has source = ''; expected who published it."),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path, change, sentence):
    scores, settings = write_published(tmp_path, change)
    with pytest.raises(results.ResultsError, match=re.escape(f"{scores}: {sentence}")):
        read_published(scores, read_settings(settings))


def test_a_missing_column_is_named(tmp_path):
    scores, settings = write_published(tmp_path, {})
    pd.read_csv(scores).rename(columns={"spread_kind": "kind_of_spread"}).to_csv(scores, index=False)
    with pytest.raises(results.ResultsError, match=re.escape(f"{scores}: no column 'spread_kind'; it has spread, ")):
        read_published(scores, read_settings(settings))


def test_a_column_that_nothing_reads_is_refused(tmp_path):
    scores, settings = write_published(tmp_path, {})
    pd.read_csv(scores).assign(seeds=3).to_csv(scores, index=False)
    with pytest.raises(results.ResultsError, match=re.escape(f"{scores}: unknown column 'seeds'; valid are ")):
        read_published(scores, read_settings(settings))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 3\n", "a is 3; expected keys source, settings, time_limits, otherwise."),
        ("a: {source: b, setting: {}, time_limits: unknown}\n", "a has a key 'setting'; valid are settings"),
        ("a: {source: b, time_limits: unknown}\n", "a.settings is None; expected dict."),
        ("a: {source: b, settings: {}, time_limits: ends}\n", "a.time_limits is 'ends'; valid are terminations"),
        ("a: {source: b\n", "not whole YAML ("),
        ("- a\n", "expected names with their settings, found list."),
    ],
)
def test_a_wrong_set_of_settings_is_refused(tmp_path, text, sentence):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(results.ResultsError, match=re.escape(f"{path}: {sentence}")):
        read_settings(path)


def section(folder: Path, table: pd.DataFrame) -> str:
    """The section's text, from a table in place of that of the project's own entries."""
    grid = read_grid(folder)
    made = {**tables.make_tables(grid), "published": table}
    for name, content in made.items():
        write_table(folder, name, content)
    theme.apply()
    drawn = dict.fromkeys(FIGURES, '<svg width="1pt" height="1pt"/>')
    figure = figures.draw(grid, "published_scores")
    drawn["published_scores"] = theme.image_bytes(figure, "svg").decode()
    plt.close(figure)
    page = page_of(folder, drawn)
    return visible_text("</style>" + page.split('<section id="published">')[1].split("</section>")[0])


def test_the_section_says_what_can_be_compared_and_what_prevents_the_rest(hopper):
    changes = [
        {},
        {"mean": 1500, "settings": "annealed", "source": "Else"},
        {"steps": 1000000},
        {"steps": 2000000},
        {"task": "Hopper-v1"},
        {"task": "Hopper-v4", "source": "Third"},
    ]
    text = section(hopper, compare(hopper, *changes))
    for said in (
        "6 published scores are about an algorithm and a task of this grid; ",
        "3 of them measure something that our runs measure too: 2 consistent and 1 with ours below.",
        "With the same settings on both sides, which tests the implementation: 2 consistent (2 of 2 against runs that "
        "treat time limits as terminations). With other or unknown settings",
        "Ours below the published score: PPO on Hopper-v5 (1,000 against 1,500, Else).",
        "No verdict for 3: 1 because the task has changed too much since and 2 because our runs have fewer steps, or "
        "were evaluated after more.",
        "2 differ only in the number of steps. The shortest are: Hopper-v5 (50,000 here, "
        "1,000,000 there). The grid “paper” goes up to 1M steps",
        "3 without a verdict, and why",
        "± 100 (std over seeds) n = 3",
        "theirs also: RMSprop, ReLU",
        "settings as far as known the same; theirs treats time limits as terminations",
        "task v4 instead of v5 (until v4 the healthy reward is also given on the step that ends an episode)",
    ):
        assert said in text, said
    assert not says_nan(text)


def test_a_grid_with_nothing_to_compare_says_so(tmp_path):
    folder = tmp_path / "grid"
    grid = write_grid(folder, algorithms=("actor_critic",), tasks={"CartPole-v1": CARTPOLE})
    write_runs(folder, grid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = section(folder, tables.make_tables(read_grid(folder))["published"])
    assert "No published score of these algorithms on these tasks is known to this project." in text
    assert "without a verdict" not in text


def test_the_projects_own_entries_make_a_table_and_a_section_without_nan_or_warning(tmp_path):
    folder = tmp_path / "grid"
    grid = write_grid(
        folder, algorithms=("reinforce", "actor_critic", "ppo"), tasks={"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}
    )
    write_runs(folder, grid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = tables.make_tables(read_grid(folder))["published"]
        text = section(folder, table)
    assert list(table.columns) == list(TABLES["published"])
    assert set(table["algorithm"]) == {"reinforce", "ppo"}
    assert (table["verdict"] == "not comparable").all()
    assert "; none of them measures something that our runs measure too." in text
    assert "No published score on these tasks was found for One-step actor-critic." in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_the_figure_has_a_row_for_each_comparable_entry(hopper):
    table = compare(hopper, {}, {"mean": 1500, "settings": "annealed", "source": "Else"}, {"steps": 1000000})
    theme.apply()
    figure = published_scores(read_grid(hopper), table)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["PPO: Somebody, v5 *", "PPO: Else, v5"]
    middles = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert middles == [1000, 1000, 1000, 1500]
    plt.close(figure)


def test_panels_of_many_tasks_stand_in_two_columns_of_like_height():
    columns = in_columns({"a": 3.0, "b": 1.0, "c": 1.0, "d": 1.0}, entries=20)
    assert [list(column) for column in columns] == [["a"], ["b", "c", "d"]]
    assert in_columns({"a": 3.0, "b": 1.0}, entries=4) == [{"a": 3.0, "b": 1.0}]


def test_the_longer_grid_is_as_long_as_the_section_says():
    name, steps = published_findings.LONGER
    assert max(task.steps for task in load_grid(name).tasks.values()) == int(steps.removesuffix("M steps")) * 1_000_000


def test_scores_without_any_spread_are_said_to_tell_little():
    table = pd.DataFrame({"difference_low": [0.0, 0.0], "difference_high": [0.0, 0.0]})
    assert "so this says little" in published_findings.width(table)


def test_the_headline_says_how_many_scores_are_compared_and_which_of_them_test_little():
    def headline(*ends: tuple[float, float]) -> str:
        rows = [{"verdict": "consistent", "difference_low": low, "difference_high": high} for low, high in ends]
        table = pd.DataFrame([*rows, {"verdict": "not comparable"}])
        return published_findings.headline(table)[0]

    said = "Of 3 published scores, 2 measure the same as our runs; of these, 2 consistent"
    assert headline((-1, 1), (-2, 1)) == f"{said}."
    assert headline((0, 0), (0, 0)).startswith(f"{said} (both with the same score in every run")
    assert headline((0, 0), (-2, 1)).startswith(f"{said} (1 with the same score in every run")
    assert headline() == "Of 1 published score, 0 measure the same as our runs."


def test_many_verdicts_come_with_a_warning_about_chance():
    table = pd.DataFrame(
        {
            "difference_low": -10,
            "difference_high": 30,
            "normalized_difference_low": -0.1,
            "normalized_difference_high": 0.3,
        },
        index=range(published_findings.MANY),
    )
    assert "± 20 %" in published_findings.width(table)
    assert f"Of {len(table)} such intervals, about 1 would" in published_findings.width(table)
    assert "by chance" not in published_findings.width(table[1:])
