"""Input that is odd or wrong: a clear sentence or defined values, no NaN on the page and no flood of warnings."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest

from analysis import tables
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from tests.analysis_fixtures import CARTPOLE, claim, comparison, edit_json, make_page, write_grid, write_runs
from tests.test_analysis import ROOT, table, visible_text

ONE_TASK = {"CartPole-v1": CARTPOLE}
CLAIMS = [
    claim("faster", comparison("auc", "ppo", "reinforce"), comparison("steps_to_threshold", "ppo", "reinforce")),
    claim("lacking", comparison("final_score", "ppo", "trpo")),
]
DRAWN = ("aggregate_scores", "learning_curves", "sample_efficiency", "diagnostics")


def runs_of(folder: Path, algorithm: str = "*") -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"runs/*/{algorithm}/*/run.json"))


def diverge(run: Path) -> None:
    edit_json(
        run / "run.json", status="diverged", diverged_at=1, diverged_because="loss is not finite", evaluation=None
    )


def set_episodes(run: Path, episodes: list[tuple[int, float]]) -> None:
    pd.DataFrame(episodes, columns=["step", "return"]).assign(length=9).to_csv(run / "episodes.csv", index=False)
    edit_json(run / "run.json", episodes=len(episodes))


def level(run: Path) -> None:
    """A run in which nothing varies: every return is 100, and every diagnostic as it was at first."""
    set_episodes(run, [(step, 100.0) for step in range(100, 20001, 100)])
    evaluation = {"returns": [100.0] * 20, "lengths": [9] * 20}
    edit_json(run / "run.json", evaluation={"sampled": evaluation, "mode": evaluation})
    updates = pd.read_csv(run / "updates.csv")
    columns = [column for column in updates if column not in ("step", "updates")]
    updates.assign(**{column: updates[column].iloc[0] for column in columns}).to_csv(run / "updates.csv", index=False)


def one_seed(folder: Path) -> None:
    write_runs(folder, write_grid(folder, seeds=(3,), tasks=ONE_TASK, claims=CLAIMS))


def finished(folder: Path) -> None:
    write_runs(folder, write_grid(folder, tasks=ONE_TASK, claims=CLAIMS))


def one_algorithm_diverged(folder: Path) -> None:
    finished(folder)
    for run in runs_of(folder, "ppo"):
        diverge(run)


def everything_diverged(folder: Path) -> None:
    finished(folder)
    for run in runs_of(folder):
        set_episodes(run, [])
        diverge(run)


def nothing_varies(folder: Path) -> None:
    finished(folder)
    for run in runs_of(folder):
        level(run)


def one_episode(folder: Path) -> None:
    finished(folder)
    for run in runs_of(folder):
        set_episodes(run, [(19_000, 30.0)])


def no_episode(folder: Path) -> None:
    finished(folder)
    for run in runs_of(folder):
        set_episodes(run, [])


def one_algorithm(folder: Path) -> None:
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks=ONE_TASK, claims=CLAIMS))


ODD: dict[Callable[[Path], None], list[str]] = {  # how to make it, and what the page says of it
    one_seed: [
        "A single run says nothing about the spread",
        "– (a single run)",
        "1 run on 1 task; a verdict needs at least 5 runs",
    ],
    one_algorithm_diverged: ["2 runs diverged and are counted at the random score: PPO on CartPole-v1 (seed 0)"],
    everything_diverged: ["4 runs diverged and are counted at the random score", "no: no difference seen"],
    nothing_varies: ["no: no difference seen", "CartPole-v1: no run of PPO or REINFORCE reached the threshold"],
    one_episode: ["the order is PPO &gt; REINFORCE"],
    no_episode: ["the order is PPO &gt; REINFORCE", "PPO minus REINFORCE: 0.00 [0.00, 0.00]"],
    one_algorithm: ["The grid has no algorithm reinforce.", "The grid has no algorithm trpo."],
}


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_odd_runs_make_a_page_without_nan_or_warnings(tmp_path, make):
    folder = tmp_path / make.__name__
    make(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = visible_text(make_page(folder, DRAWN))
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    for name in DRAWN:
        assert not re.search(r"\bnan\b", (folder / f"figures/{name}.svg").read_text(encoding="utf-8"), re.IGNORECASE)
    for said in ODD[make]:
        assert said in page


def test_the_command_lines_say_nothing_but_what_they_made_where_nothing_varies(tmp_path):
    folder = tmp_path / "level"
    nothing_varies(folder)
    for module in ("tables", "figures", "report"):
        command = [sys.executable, "-W", "error::RuntimeWarning", "-m", f"analysis.{module}", "--results", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert made.returncode == 0, made.stderr
        assert made.stderr.count("\n") == 1, made.stderr
    assert table(folder, "summary")[["std"]].eq(0).all(axis=None)
    assert table(folder, "pairs")["verdict"].eq("undecided").all()


def test_a_single_seed_has_no_interval_in_any_table(tmp_path):
    one_seed(tmp_path / "one")
    made = tables.make_tables(read_grid(tmp_path / "one"))
    for name in ("summary", "curve_intervals", "aggregate", "profiles", "improvement", "pairs", "efficiency", "claims"):
        ends = [c for c in made[name] if c.endswith(("low", "high")) and not c.startswith("claimed")]
        assert len(ends) >= 2
        assert made[name][ends].isna().all(axis=None), name


def change(section: str, **values) -> Callable[[Path], None]:
    """Other values in a section of a run's run.json, or of its top level."""

    def mistake(run: Path) -> None:
        content = json.loads((run / "run.json").read_text(encoding="utf-8"))
        edit_json(run / "run.json", **({section: content[section] | values} if section else values))

    return mistake


MIXED = {
    "of another algorithm": (change("cell", algorithm="a2c"), "cell.algorithm is 'a2c', the grid has 'ppo' there"),
    "of another task": (change("cell", task="Hopper-v5"), "cell.task is 'Hopper-v5', the grid has 'CartPole-v1' there"),
    "of another seed": (change("cell", seed=7), "cell.seed is 7, the grid has 1 there"),
    "of other settings": (change("settings", gamma=0.9), "settings.gamma is 0.9, but"),
    "of a setting more": (change("settings", clip=0.1), "settings.clip is 0.1, but"),
    "of other preprocessing": (change("task_settings", action_bounds="tanh"), "task_settings.action_bounds is 'tanh'"),
    "of another length": (change("", steps=9), "steps is 9, but"),
}


@pytest.mark.parametrize("kind", MIXED)
def test_a_run_of_something_else_is_refused_with_what_to_do(tmp_path, kind):
    mistake, said = MIXED[kind]
    folder = tmp_path / "mixed"
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks=ONE_TASK))
    run = folder / "runs/CartPole-v1/ppo/1"
    mistake(run)
    with pytest.raises(results.ResultsError) as error:
        tables.make_tables(read_grid(folder))
    sentence = str(error.value)
    assert sentence.startswith(f"{run / 'run.json'}: {said}")
    assert "run this cell again" in sentence


def test_a_run_of_another_grid_that_is_the_same_in_all_that_matters_counts_and_says_so(tmp_path):
    folder = tmp_path / "mixed"
    finished(folder)
    before = tables.make_tables(read_grid(folder))
    change("cell", grid="paper")(folder / "runs/CartPole-v1/ppo/1")
    diverge(folder / "runs/CartPole-v1/ppo/0")
    change("cell", grid="paper")(folder / "runs/CartPole-v1/ppo/0")
    made = tables.make_tables(read_grid(folder))
    notes = made["ledger"].query("algorithm == 'ppo'")["note"].tolist()
    assert notes == ["at step 1: loss is not finite; made for the grid paper", "made for the grid paper"]
    assert made["ledger"].query("algorithm == 'reinforce'")["note"].isna().all()
    same = "algorithm != 'ppo' or seed == 1"
    pd.testing.assert_frame_equal(made["scores"].query(same), before["scores"].query(same))


def test_a_run_that_the_grid_does_not_ask_for_is_not_counted(tmp_path):
    """As after a seed was taken out of the grid: what lies there stays, and moves no number."""
    folder = tmp_path / "more"
    finished(folder)
    before = tables.make_tables(read_grid(folder))["scores"]
    shutil.copytree(folder / "runs/CartPole-v1/ppo/1", folder / "runs/CartPole-v1/ppo/9")
    pd.testing.assert_frame_equal(tables.make_tables(read_grid(folder))["scores"], before)


def reference_is_random(grid: dict) -> None:
    grid["tasks"]["CartPole-v1"]["reference_score"] = grid["tasks"]["CartPole-v1"]["random_score"]


def unknown_metric(grid: dict) -> None:
    grid["claims"][0]["comparisons"][0]["metric"] = "finalscore"


def unknown_direction(grid: dict) -> None:
    grid["claims"][0]["comparisons"][0]["direction"] = "highest"


def unknown_rule(grid: dict) -> None:
    grid["claims"][0]["rule"] = "most"


def no_side(grid: dict) -> None:
    grid["claims"][0]["comparisons"][0]["sides"] = []


def unknown_algorithm(grid: dict) -> None:
    grid["cells"][0]["algorithm"] = "pp0"


def the_same_cell_twice(grid: dict) -> None:
    grid["cells"].append(grid["cells"][0])


EDITED = {
    reference_is_random: "tasks.CartPole-v1.reference_score is 22.0, the same as its random_score",
    unknown_metric: "comparison 1 of claim faster has the metric 'finalscore'; valid are final_score, ",
    unknown_direction: "direction is 'highest'; valid are higher, ",
    unknown_rule: "claims[0].rule is 'most'; valid are all, any",
    no_side: "claims[0].comparisons[0] has 0 sides; expected one or two",
    unknown_algorithm: "cells[0].algorithm is 'pp0', which is not among its algorithms: ppo",
    the_same_cell_twice: "cells[4] repeats an earlier cell: reinforce, CartPole-v1, seed 0",
}


@pytest.mark.parametrize("mistake", EDITED, ids=lambda mistake: mistake.__name__)
def test_a_grid_edited_by_hand_is_refused_in_one_sentence(tmp_path, mistake):
    folder = tmp_path / "edited"
    grid = write_grid(folder, tasks=ONE_TASK, claims=deepcopy(CLAIMS))
    mistake(grid)
    edit_json(folder / "grid.json", **grid)
    with pytest.raises(results.ResultsError) as error:
        tables.make_tables(read_grid(folder))
    assert EDITED[mistake] in str(error.value)
    assert str(error.value).startswith(str(folder / "grid.json"))
