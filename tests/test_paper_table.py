"""A paper's table beside ours: the paper's score, against its definition and at its edges, and PPO's Table 1."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.reading.sources import runs, states
from analysis.sections.paper_table import sentences
from analysis.sections.paper_table.tables import paper_runs, paper_scale, paper_scores
from experiments.checks import GridError
from experiments.grid import load_grid
from tests.analysis_fixtures import edit_json, make_page, write_grid, write_runs

LAST = 100
TABLE = {
    "title": "Table 7",
    "source": "A paper, Table 7",
    "scores": {"reinforce": -0.4, "ppo": 0.8},
    "last_episodes": LAST,
    "seeds": 2,
    "differs": ["The paper has other tasks."],
}


@pytest.fixture
def folder(tmp_path):
    """Two algorithms on two tasks with three seeds, of which the paper has two."""
    grid = write_grid(tmp_path, seeds=(0, 1, 2))
    edit_json(tmp_path / "grid.json", published_table=TABLE)
    write_runs(tmp_path, grid)
    return tmp_path


def tables(folder):
    grid = read_grid(folder)
    by_run = paper_runs(grid, runs(grid, states(grid)))
    scale = paper_scale(grid, by_run)
    return grid, by_run, scale, paper_scores(grid, by_run, scale)


def scores_by_definition(grid, folder, seeds, best_of):
    """Algorithm → the mean over runs of (score − random) / (best − random). best_of: of scores by algorithm, seed."""
    shifted = {}
    for task in grid.tasks:
        found = {}
        for cell in grid.cells:
            if cell["task"] == task and cell["seed"] in seeds:
                episodes = pd.read_csv(folder / cell["directory"] / "episodes.csv")
                within = episodes[episodes["step"] <= cell["steps"]]
                found[cell["algorithm"], cell["seed"]] = within["return"].tail(LAST).mean()
        random, best = grid.tasks[task]["random_score"], best_of(found)
        for (algorithm, _), score in found.items():
            shifted.setdefault(algorithm, []).append((score - random) / (best - random))
    return {algorithm: np.mean(scores) for algorithm, scores in shifted.items()}


def best_mean(found):
    return max(np.mean([score for (a, _), score in found.items() if a == name]) for name, _ in found)


@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 2]])
def test_the_score_is_the_papers_by_its_definition(folder, seeds):
    grid, _, _, scores = tables(folder)
    own = scores[scores["seeds"] == len(seeds)].set_index("algorithm")
    by_run = scores_by_definition(grid, folder, seeds, lambda found: max(found.values()))
    by_mean = scores_by_definition(grid, folder, seeds, best_mean)
    for algorithm in TABLE["scores"]:
        assert own.loc[algorithm, "score"] == pytest.approx(by_run[algorithm])
        assert own.loc[algorithm, "score_by_mean"] == pytest.approx(by_mean[algorithm])
        assert own.loc[algorithm, "score_low"] < own.loc[algorithm, "score"] < own.loc[algorithm, "score_high"]
        assert own.loc[algorithm, "n"] == own.loc[algorithm, "requested"] == 2 * len(seeds)


def test_no_run_is_above_1_and_one_on_each_task_is_1(folder):
    _, by_run, scale, _ = tables(folder)
    of_all = scale[scale["seeds"] == 3].set_index("task")
    for task, own in by_run.groupby("task"):
        assert own["score"].max() == of_all.loc[task, "best"]


def test_a_diverged_run_has_the_random_score(folder):
    before = tables(folder)[3].set_index(["algorithm", "seeds"])
    path = folder / "runs/Hopper-v5/ppo/0/run.json"
    edit_json(path, status="diverged", diverged_at=100, diverged_because="loss", evaluation=None)
    _, by_run, _, after = tables(folder)
    run = by_run[(by_run["task"] == "Hopper-v5") & (by_run["algorithm"] == "ppo") & (by_run["seed"] == 0)].iloc[0]
    assert (run["score"], run["episodes"]) == (18.0, 0)
    assert after.set_index(["algorithm", "seeds"]).loc[("ppo", 3), "score"] < before.loc[("ppo", 3), "score"]


def test_without_a_run_on_a_task_there_is_no_score_and_the_page_says_so(folder):
    for seed in range(3):
        (folder / f"runs/Hopper-v5/ppo/{seed}/run.json").unlink()
    grid, _, scale, scores = tables(folder)
    assert scores.set_index(["algorithm", "seeds"])["score"].isna().to_dict() == {
        ("reinforce", 2): False,
        ("ppo", 2): True,
        ("reinforce", 3): False,
        ("ppo", 3): True,
    }
    assert any("9 of 12 runs are there" in said for said in sentences.sentences(grid, scores, scale))


def test_one_seed_a_task_has_a_score_without_an_interval(folder):
    for task in ("CartPole-v1", "Hopper-v5"):
        for seed in (1, 2):
            (folder / f"runs/{task}/ppo/{seed}/run.json").unlink()
    own = tables(folder)[3].set_index(["algorithm", "seeds"]).loc[("ppo", 3)]
    assert not np.isnan(own["score"])
    assert np.isnan(own["score_low"])


def test_no_run_at_all_and_a_best_result_that_is_no_better_than_random(folder):
    for path in folder.glob("runs/*/*/*/episodes.csv"):
        episodes = pd.read_csv(path)
        episodes["return"] = -1000.0
        episodes.to_csv(path, index=False)
    grid, _, scale, scores = tables(folder)
    assert scores["score"].isna().all()
    said = " ".join(sentences.sentences(grid, scores, scale))
    assert "No run is better than a random policy on CartPole-v1 and Hopper-v5, so there is nothing to be 1" in said
    for path in folder.glob("runs/*/*/*/run.json"):
        path.unlink()
    grid, _, _, scores = tables(folder)
    assert (scores["n"] == 0).all()
    assert sentences.headline(grid, scores) == []


def test_the_page_has_the_papers_numbers_beside_ours_and_what_differs(folder):
    page = make_page(folder, ["paper_table"])
    for text in ("Beside the paper", "A paper, Table 7", "−0.40", "0.80", "The paper has other tasks.", "no verdict"):
        assert text in page


def test_a_grid_without_a_paper_has_no_such_section(tmp_path):
    write_runs(tmp_path, write_grid(tmp_path))
    assert "Beside the paper" not in make_page(tmp_path, ["paper_table"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": {"ppp": 1.0}}, "published_table.scores has 'ppp'"),
        ({"scores": {"ppo": "high"}}, "published_table.scores"),
        ({"seeds": "two"}, "published_table"),
    ],
)
def test_a_damaged_table_in_grid_json_is_refused(folder, change, said):
    edit_json(folder / "grid.json", published_table=TABLE | change)
    with pytest.raises(ResultsError, match=said):
        read_grid(folder)


GRID = """
steps: 600
seeds: 2
tasks: [CartPole-v1]
algorithms: [reinforce, ppo]
published_table: {TABLE}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": {"ppp": 1.0}}, "scores of published_table has 'ppp'; did you mean 'ppo'"),
        ({"scores": {"ppo": "high"}}, "the score of ppo in published_table must be a number"),
        ({"scores": {}}, "scores of published_table is empty"),
        ({"seeds": 3}, "is over 3 seeds, and the grid has 2"),
        ({"last_episodes": 0}, "last_episodes of published_table must be a whole number above 0"),
        ({"episodes": 10}, "published_table has no key 'episodes'"),
    ],
)
def test_a_mistake_in_a_grids_table_is_found_when_the_grid_is_read(tmp_path, change, said):
    path = tmp_path / "mine.yaml"
    path.write_text(GRID.replace("{TABLE}", json.dumps(TABLE | change)))
    with pytest.raises(GridError, match=said):
        load_grid(str(path))


def test_a_score_of_an_algorithm_on_some_of_the_tasks_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    text = GRID.replace("{TABLE}", json.dumps(TABLE)).replace("[CartPole-v1]", "[CartPole-v1, Acrobot-v1]")
    path.write_text(text.replace("[reinforce, ppo]", "{reinforce: , ppo: {only: [CartPole-v1]}}"))
    with pytest.raises(GridError, match=r"scores of published_table has 'ppo', which runs on some of the tasks alone"):
        load_grid(str(path))


def test_as_many_seeds_as_the_paper_are_said_once(folder):
    edit_json(folder / "grid.json", published_table=TABLE | {"seeds": 3})
    grid, _, scale, scores = tables(folder)
    assert "and the seeds: 3 in the paper, and as many here." in sentences.sentences(grid, scores, scale)[0]


def test_the_grid_of_ppos_table_1_has_the_papers_eleven_settings_and_numbers():
    grid = load_grid("ppo_table1")
    assert len(grid.tasks) == 7
    assert {task.steps for task in grid.tasks.values()} == {1_000_000}
    assert grid.seeds == (0, 1, 2, 3, 4)
    found = {}
    for name, score in grid.published_table.scores.items():
        settings = grid.resolved(name, "Hopper-v5").settings()
        assert settings["num_envs"] * settings["rollout_length"] == 2048
        table3 = ("epochs", "minibatch_size", "gamma", "gae_lambda", "policy_learning_rate", "value_learning_rate")
        assert [settings[key] for key in table3] == [10, 64, 0.99, 0.95, 3e-4, 3e-4]
        assert settings["entropy_coefficient"] == 0
        assert list(settings["hidden_sizes"]) == [64, 64]
        found[settings["clip"], settings.get("penalty"), settings.get("penalty_target")] = score
    assert set(grid.algorithms) == set(grid.published_table.scores)
    assert found == {  # (ε, β at the start, d_targ): score
        (None, None, None): -0.39,
        (0.1, None, None): 0.76,
        (0.2, None, None): 0.82,
        (0.3, None, None): 0.70,
        (None, 1, 0.003): 0.68,
        (None, 1, 0.01): 0.74,
        (None, 1, 0.03): 0.71,
        (None, 0.3, None): 0.62,
        (None, 1, None): 0.71,
        (None, 3, None): 0.72,
        (None, 10, None): 0.69,
    }
