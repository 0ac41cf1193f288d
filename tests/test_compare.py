"""Two results folders side by side: what is the same, what differs, and how often that is said in error."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.command import run_command
from analysis.compare import pairs as compare
from analysis.compare.__main__ import compare as compare_folders
from analysis.compare.__main__ import json_of, main
from analysis.compare.text import WIDTH, text_of
from analysis.sections.ranking.tables import ALL_TASKS
from analysis.statistics.comparison import difference
from tests.analysis_fixtures import (
    CARTPOLE,
    HOPPER,
    TASKS,
    Trial,
    edit_json,
    study,
    write_grid,
    write_runs,
    write_study,
)

CELL = "runs/CartPole-v1/ppo/0"
NAMES = ("reinforce", "ppo")


def write(folder: Path, source: int = 0, **about) -> dict:
    """A finished folder from a seeded generator; returns its grid."""
    grid = write_grid(folder, **about)
    write_runs(folder, grid, episodes=40, rng=np.random.default_rng(source))
    return grid


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """A folder and its copy."""
    write(tmp_path / "a", seeds=(0, 1, 2))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    return tmp_path / "a", tmp_path / "b"


def compared(a: Path, b: Path, **options) -> compare.Comparison:
    """Both compared, without a warning; and what is always true of the text is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare_folders(compare.read_side(a), compare.read_side(b), **options)
        text = text_of(found)
        json.loads(json_of(found), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert "nan" not in text.replace("finance", "")
    assert "\n\n\n" not in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.startswith(f"# Two results compared\n\n**{found.verdict.split()[0]}")
    return found


def edit_episodes(folder: Path, change) -> None:
    episodes = pd.read_csv(folder / "episodes.csv")
    changed = change(episodes)
    (episodes if changed is None else changed).to_csv(folder / "episodes.csv", index=False)


def shift(folder: Path, grid: dict, algorithm: str, by: float) -> None:
    """Raise an algorithm's training returns and evaluations by a share of every task's scale."""
    for cell in grid["cells"]:
        if cell["algorithm"] == algorithm:
            task = grid["tasks"][cell["task"]]
            amount = by * (task["reference_score"] - task["random_score"])
            edit_episodes(
                folder / cell["directory"], lambda table, n=amount: table.assign(**{"return": table["return"] + n})
            )
            set_returns(folder / cell["directory"], lambda returns, n=amount: [value + n for value in returns])


def set_returns(folder: Path, change) -> None:
    run = json.loads((folder / "run.json").read_text())
    evaluation = {kind: {**of, "returns": change(of["returns"])} for kind, of in run["evaluation"].items()}
    edit_json(folder / "run.json", evaluation=evaluation)


def verdicts(found: compare.Comparison, measure: str = "score") -> dict[tuple[str, str], str]:
    return {(pair.task, pair.algorithm): pair.verdict for pair in found.scores if pair.measure == measure}


def exit_status(monkeypatch, *arguments: str | Path) -> int:
    """Of the command line, run in this process."""
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        run_command(main, "analysis.compare")
    return stopped.value.code


def test_a_copy_has_the_same_numbers(two):
    found = compared(*two)
    assert found.verdict == "The same numbers: all 12 runs have identical episodes and evaluations."
    assert found.status == 0
    assert set(verdicts(found).values()) == {"identical"}
    assert all(run.identical for run in found.runs)
    assert not found.changes
    text = text_of(found)
    assert "nothing to test" in text
    assert "The same in both: python 3.11.7" in text


@pytest.mark.parametrize("row", [0, 17])
def test_one_changed_episode_is_found_with_the_step_until_which_the_runs_agree(two, row):
    def change(episodes):
        episodes.loc[row, "return"] += 1e-9

    edit_episodes(two[1] / CELL, change)
    found = compared(*two)
    steps = pd.read_csv(two[0] / CELL / "episodes.csv")["step"]
    moved = [run for run in found.runs if not run.identical]
    assert [(run.task, run.algorithm, run.seed) for run in moved] == [("CartPole-v1", "ppo", 0)]
    assert moved[0].same_until == (steps[row - 1] if row else 0)
    assert found.status == 0
    assert verdicts(found)["CartPole-v1", "reinforce"] == verdicts(found)["Hopper-v5", "ppo"] == "identical"
    assert verdicts(found)["CartPole-v1", "ppo"] == "not told apart"
    assert found.verdict.startswith("Not the same numbers, but no score differs by more than chance: 1 of 4 pairs")
    expected = f"{steps[row - 1]:,}" if row else "0: the first episode differs"
    assert f"2 of 3 | {expected} " in text_of(found)


def test_a_run_with_more_episodes_or_another_evaluation_is_not_identical(two):
    longer, evaluated = two[1] / CELL, two[1] / "runs/Hopper-v5/ppo/1"
    edit_episodes(longer, lambda table: pd.concat([table, table.tail(1)]))
    edit_json(longer / "run.json", episodes=41)
    set_returns(evaluated, lambda returns: [returns[0] + 1e-9, *returns[1:]])
    found = compared(*two)
    moved = {(run.task, run.seed): run.same_until for run in found.runs if not run.identical}
    last = pd.read_csv(two[0] / CELL / "episodes.csv")["step"].iloc[-1]
    assert moved == {("CartPole-v1", 0): last, ("Hopper-v5", 1): None}
    assert "the end, 1 evaluation differs" in text_of(found)


def test_runs_that_diverged_at_another_step_are_not_identical(two):
    for folder, step in zip(two, (50.0, 51.0), strict=True):
        edit_json(folder / CELL / "run.json", status="diverged", diverged_at=step, evaluation=None)
    found = compared(*two)
    assert [(run.task, run.seed) for run in found.runs if not run.identical] == [("CartPole-v1", 0)]


def test_what_is_missing_on_either_side_is_counted_and_named(two):
    shutil.rmtree(two[1] / "runs/Hopper-v5/ppo/2")
    shutil.rmtree(two[0] / CELL)
    (two[0] / "logs/runs/CartPole-v1/ppo").mkdir(parents=True)
    (two[0] / f"logs/{CELL}.log").touch()
    found = compared(*two)
    assert found.verdict == "The same numbers: all 10 runs that are in both have identical episodes and evaluations."
    text = " ".join(text_of(found).split())
    assert "11 of 12 runs (1 failed) - no run in a: PPO on CartPole-v1 (seed 0)" in text
    assert "11 of 12 runs (1 missing) - no run in b: PPO on Hopper-v5 (seed 2)" in text


def test_an_algorithm_that_does_better_is_found_and_the_others_are_not_told_apart(tmp_path):
    for source, name in enumerate("ab"):
        grid = write(tmp_path / name, source=source, seeds=range(5))
    shift(tmp_path / "b", grid, "ppo", 0.5)
    found = compared(tmp_path / "a", tmp_path / "b")
    for measure in ("score", "auc"):
        verdict = verdicts(found, measure)
        assert [name for name, said in verdict.items() if said == "differs"] == [
            ("CartPole-v1", "ppo"),
            ("Hopper-v5", "ppo"),
            (ALL_TASKS, "ppo"),
        ]
        assert {said for (_, algorithm), said in verdict.items() if algorithm != "ppo"} == {"not told apart"}
    assert all(pair.low < 0.5 < pair.high for pair in found.scores if pair.algorithm == "ppo")
    assert found.verdict == (
        "Not the same: 2 of 4 pairs of an algorithm and a task differ by more than chance: PPO on CartPole-v1 and "
        "Hopper-v5. Both ask for the same there."
    )
    assert (found.status, compared(tmp_path / "b", tmp_path / "a").status) == (1, 1)


def test_small_differences_on_every_task_are_found_together(tmp_path):
    tasks = {f"Task-v{number}": CARTPOLE for number in range(7)}
    grid = write(tmp_path / "a", seeds=range(4), tasks=tasks, algorithms=("ppo",))
    for cell in grid["cells"]:
        set_returns(tmp_path / "a" / cell["directory"], lambda returns, n=cell["seed"]: [100.0 + 10 * n])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for cell in grid["cells"][4:]:
        set_returns(tmp_path / "b" / cell["directory"], lambda returns: [returns[0] + 14])
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found.verdict == "Not the same: no pair alone differs by more than chance, but with all tasks together: PPO."
    assert [(pair.task, len(pair.tasks)) for pair in found.scores if pair.verdict == "differs"] == [(ALL_TASKS, 6)]
    assert verdicts(found)["Task-v0", "ppo"] == "identical"
    assert "| 6 tasks together " in text_of(found)
    assert found.status == 1


def made_up_scores(source: np.random.Generator, tasks: list[str], n: int) -> dict[str, dict[str, np.ndarray]]:
    """n runs of one algorithm on every task, of unequal spread, skewed on every other task."""
    scores, auc = {}, {}
    for index, task in enumerate(tasks):
        spread = 0.1 * 3**index
        scores[task] = source.normal(0.5, spread, n) if index % 2 else source.exponential(spread, n)
        auc[task] = 0.5 * scores[task] + source.normal(0, 0.2 * spread, n)
    status = {task: np.full(n, "done") for task in tasks}
    return {"score": scores, "normalized": scores, "auc": auc, "normalized_auc": auc, "status": status}


def test_where_nothing_differs_the_whole_answer_errs_in_at_most_5_percent():
    """Everything that can be called different, on all tasks, by both measures, and over all tasks together."""
    source, trials, tasks, algorithms = np.random.default_rng(3), 150, ["A", "B", "C"], ("reinforce", "ppo")
    asked = {(task, algorithm): [] for task in tasks for algorithm in algorithms}
    wrong, uncorrected = 0, 0
    for _ in range(trials):
        pairs = []
        for algorithm in algorithms:
            sides = [made_up_scores(source, tasks, 5) for _ in range(2)]
            for measure in ("score", "auc"):
                pairs += compare.score_pairs(measure, algorithm, *sides, set(), asked)
        wrong += compare.status_of(compare.judged(pairs, margin=0.01))
        uncorrected += any(pair.p <= 0.05 for pair in pairs)
    assert len(pairs) == 2 * 2 * (len(tasks) + 1)
    error = np.sqrt(0.05 * 0.95 / trials)
    assert wrong / trials <= 0.05 + 2 * error
    assert uncorrected / trials > 0.2  # without the correction it would err that often


def test_two_that_differ_by_the_margin_are_called_the_same_in_at_most_2_5_percent():
    """And two without a difference mostly are, once the runs are enough."""
    source, margin = np.random.default_rng(4), 0.02
    said = {}
    for truth in (margin, 0.0):
        found = [difference([source.normal(truth, 0.03, 60)], [source.normal(0, 0.03, 60)]) for _ in range(400)]
        said[truth] = np.mean([pair_of(one, margin).verdict == "same" for one in found])
    assert said[margin] <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / 400)
    assert said[0.0] > 0.8


def pair_of(found, margin: float) -> compare.ScorePair:
    """A difference, judged alone."""
    names = {"measure": "score", "task": "T", "tasks": ["T"], "algorithm": "ppo", "verdict": "", "asked": []}
    counts = dict.fromkeys(("n_a", "n_b", "diverged_a", "diverged_b"), 0) | {"a": 0.0, "b": 0.0}
    ends = {"difference": found.value, "low": found.low, "high": found.high, "p": found.p, "p_adjusted": np.nan}
    within = max(abs(found.low), abs(found.high))
    return compare.judged([compare.ScorePair(**names, **counts, **ends, same_within=within)], margin)[0]


def test_a_difference_within_the_margin_is_of_no_interest_however_sure_it_is(tmp_path):
    for source, name in enumerate("ab"):
        grid = write(tmp_path / name, source=source, seeds=range(5))
        for cell in grid["cells"]:
            set_returns(tmp_path / name / cell["directory"], lambda returns, n=source: [100.0 + n, 100.0 + n])
    found = compared(tmp_path / "a", tmp_path / "b")
    assert {pair.p for pair in found.scores if pair.measure == "score"} == {0.0}
    assert set(verdicts(found).values()) == {"same"}  # 1 of 453 and of 2482
    found = compared(tmp_path / "a", tmp_path / "b", margin=0.001)
    assert verdicts(found)["CartPole-v1", "ppo"] == "differs"
    assert verdicts(found)["Hopper-v5", "ppo"] == "same"


def test_runs_that_all_have_the_same_score_are_equal_and_have_no_interval_to_judge_by(tmp_path):
    for source, name in enumerate("ab"):
        grid = write(tmp_path / name, source=source, seeds=range(3))
        for cell in grid["cells"]:
            set_returns(tmp_path / name / cell["directory"], lambda returns: [500.0] * 20)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert set(verdicts(found).values()) == {"equal"}
    assert {(p.low, p.high, p.p_adjusted) for p in found.scores if p.measure == "score"} == {(0.0, 0.0, 1.0)}
    assert "no spread to judge by" in text_of(found)
    assert found.status == 0


def test_a_single_seed_has_no_interval_and_no_test_and_the_text_says_why(tmp_path):
    for source, name in enumerate("ab"):
        write(tmp_path / name, source=source, seeds=(0,))
    found = compared(tmp_path / "a", tmp_path / "b")
    assert set(verdicts(found).values()) == {"too few runs"}
    assert found.status == 2
    assert found.verdict.startswith("Not the same numbers, and nothing says whether by more than chance: 4 pairs")
    text = " ".join(text_of(found).split())
    assert "Every mean is a single run, whose spread is unknown" in text
    assert "The test takes" not in text
    assert compared(tmp_path / "a", shutil.copytree(tmp_path / "a", tmp_path / "c")).status == 0


def test_a_pair_with_a_single_run_in_one_folder_is_left_out_of_the_tests(tmp_path):
    for source, name in enumerate("ab"):
        write(tmp_path / name, source=source, seeds=range(3), tasks={"Acrobot-v1": CARTPOLE, **TASKS})
    for seed in (0, 1):
        shutil.rmtree(tmp_path / f"b/runs/Hopper-v5/ppo/{seed}")
    found = compared(tmp_path / "a", tmp_path / "b")
    assert [name for name, said in verdicts(found).items() if said == "too few runs"] == [("Hopper-v5", "ppo")]
    (together,) = [p for p in found.scores if (p.measure, p.task, p.algorithm) == ("score", ALL_TASKS, "ppo")]
    assert together.tasks == ["Acrobot-v1", "CartPole-v1"]
    assert found.verdict.endswith("none of 6 pairs of an algorithm and a task is identical, 1 cannot be tested.")
    assert "| Hopper-v5 (3, 1) " in text_of(found)
    assert "p is corrected for all 14 tests" in " ".join(text_of(found).split())
    assert found.status == 0


def test_where_all_runs_diverged_their_number_is_said_and_nothing_is_undefined(tmp_path):
    for source, name in enumerate("ab"):
        grid = write(tmp_path / name, source=source, seeds=range(3))
        for cell in grid["cells"]:
            about = {"diverged_at": 50.0 + source, "diverged_because": "policy_loss", "evaluation": None}
            edit_json(tmp_path / name / cell["directory"] / "run.json", status="diverged", **about)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert set(verdicts(found).values()) == {"equal"}
    assert not any(run.identical for run in found.runs)
    text = " ".join(text_of(found).split())
    assert "Diverged runs, which have the random score: REINFORCE on CartPole-v1 (3 of 3 in a, 3 of 3 in b)" in text
    assert "12 of 12 runs (12 diverged)" in text


def test_a_setting_that_differs_is_named_and_marked_where_it_may_matter(tmp_path):
    write(tmp_path / "a", seeds=(0, 1), algorithms=(*NAMES, "a2c"))
    write(
        tmp_path / "b",
        seeds=(0, 1),
        algorithms=(*NAMES, "a2c"),
        source=1,
        settings={"ppo": {"gamma": 0.9}, "reinforce": {"gamma": 0.99000001}},
    )
    found = compared(tmp_path / "a", tmp_path / "b")
    text = text_of(found)
    assert "- PPO on all 2 tasks: `gamma` 0.99 → 0.9\n" in text
    assert "- REINFORCE on all 2 tasks: `gamma` 0.99 → 0.99000001\n" in text
    assert all(pair.asked == (["settings"] if pair.algorithm in NAMES else []) for pair in found.scores)
    assert "| Hopper-v5 † " in text
    assert text.count("†") == 13  # two algorithms' three rows of both measures, and what the sign means


def test_tuned_settings_are_told_from_those_of_the_grid(tmp_path):
    entry = study("ppo", "all", {"CartPole-v1": 1000})
    for name, gamma in (("a", 0.95), ("b", 0.951234567)):
        grid = write_grid(tmp_path / name, studies=[entry], tasks={"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER})
        start = {"policy_learning_rate": 3e-4, "gamma": 0.99}
        trials = [Trial(start, [0.1, 0.2]), Trial({**start, "gamma": gamma}, [0.5, 0.6])]
        write_study(tmp_path / name, grid, {**entry, "trials": 2}, trials, tuned=[0.4] * 3, untuned=[0.1] * 3)
        for cell in grid["cells"]:
            if cell["tuned"]:
                cell["settings"]["gamma"] = gamma
        write_runs(tmp_path / name, grid, episodes=40)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert "- PPO on CartPole-v1: `gamma` 0.95 → 0.95123 (tuned)\n" in text_of(found)
    (change,) = found.changes
    assert (change.a, change.b, change.tuned, change.tasks) == (0.95, 0.951234567, (True, True), ["CartPole-v1"])


def test_other_tasks_algorithms_seeds_and_budgets_are_named(tmp_path):
    write(tmp_path / "a", seeds=(0, 1), algorithms=("reinforce", "ppo"))
    cartpole = {**CARTPOLE, "steps": 40000}
    write(tmp_path / "b", seeds=(1, 2), algorithms=("ppo", "a2c"), tasks={"CartPole-v1": cartpole})
    found = compared(tmp_path / "a", tmp_path / "b")
    text = text_of(found)
    for line in (
        "only in a, tasks: Hopper-v5",
        "only in a, algorithms: reinforce",
        "only in a, seeds: 0",
        "only in b, algorithms: a2c",
        "only in b, seeds: 2",
        "CartPole-v1: `steps` 20,000 → 40,000",
    ):
        assert f"- {line}\n" in text
    assert [pair.asked for pair in found.scores] == [["steps"], ["steps"]]
    assert [(run.task, run.algorithm, run.seed) for run in found.runs] == [("CartPole-v1", "ppo", 1)]


def test_scores_are_normalised_with_the_constants_of_the_first_folder(tmp_path):
    write(tmp_path / "a", seeds=(0, 1, 2))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    grid = json.loads((tmp_path / "b/grid.json").read_text())
    grid["tasks"]["Hopper-v5"] |= {"reference_score": 5000.0, "random_score": -10.0}
    edit_json(tmp_path / "b/grid.json", tasks=grid["tasks"])
    shift(tmp_path / "b", grid, "ppo", 0.0)  # writes the same again
    run = tmp_path / "b/runs/Hopper-v5/ppo/0"
    set_returns(run, lambda returns: [value + 2482 for value in returns])
    found = compared(tmp_path / "a", tmp_path / "b")
    (pair,) = [p for p in found.scores if (p.measure, p.task, p.algorithm) == ("score", "Hopper-v5", "ppo")]
    assert pair.difference == pytest.approx(1 / 3)  # 2482 is from random to reference in a
    assert pair.b - pair.a == pytest.approx(2482 / 3)
    assert verdicts(found)["Hopper-v5", "reinforce"] == "identical"
    text = " ".join(text_of(found).split())
    assert "`random_score` 18 → -10" in text
    assert "Hopper-v5: random or reference score is another in b." in text


def test_grids_that_share_nothing_cannot_be_compared(tmp_path):
    write(tmp_path / "a", tasks={"CartPole-v1": CARTPOLE})
    write(tmp_path / "b", tasks={"Hopper-v5": HOPPER})
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found.verdict == "Cannot be compared: no algorithm has runs on the same task in both."
    assert found.status == 2
    assert "- only in a, tasks: CartPole-v1\n" in text_of(found)


def test_grids_without_a_common_seed_are_compared_by_their_scores(tmp_path):
    for name, seeds in (("a", range(4)), ("b", range(4, 8))):
        write(tmp_path / name, source=seeds[0], seeds=seeds)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert (found.runs, found.status) == ([], 0)
    assert found.verdict.startswith("No run has the same seed in both, but no score differs by more than chance")


def test_the_command_prints_the_text_writes_the_data_and_exits_with_its_status(tmp_path, capsys, monkeypatch):
    for source, name in enumerate("ab"):
        grid = write(tmp_path / name, source=source, seeds=range(5), tasks={"Hopper-v5": TASKS["Hopper-v5"]})
    shift(tmp_path / "b", grid, "ppo", 2.0)
    assert exit_status(monkeypatch, tmp_path / "a", tmp_path / "b", "--json", tmp_path / "new/found.json") == 1
    said = capsys.readouterr()
    found = compared(tmp_path / "a", tmp_path / "b")
    assert (said.out, said.err) == (text_of(found), "")
    written = json.loads((tmp_path / "new/found.json").read_text())
    assert (written["verdict"], written["status"]) == (found.verdict, 1)
    assert [pair["verdict"] for pair in written["scores"]] == [pair.verdict for pair in found.scores]


def test_what_made_the_runs_is_told_apart(two):
    for cell in (CELL, "runs/CartPole-v1/ppo/1"):
        versions = {"python": "3.12.1", "torch": "2.13.0", "policy-gradient-ladder": "0.1.0"}
        edit_json(two[1] / cell / "run.json", commit="f" * 40, uncommitted_changes=True, versions=versions)
    text = " ".join(text_of(compared(*two)).split())
    assert "- python: 3.11.7 in a; 3.12.1 (2 runs) and 3.11.7 (10 runs) in b" in text.replace(
        "3.11.7 (10 runs) and 3.12.1 (2 runs)", "3.12.1 (2 runs) and 3.11.7 (10 runs)"
    )
    assert "0123456789 (10 runs)" in text
    assert "ffffffffff (2 runs)" in text
    assert "uncommitted changes: no in a; yes in b" in text
    assert "The same in both: torch 2.13.0" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{0}", "{0}_before"], "b_before: no such folder; there is "),
        (["{0}", "{0}/../b"], "are the same folder; compare it with a copy kept from before."),
        (["{0}", "{1}", "--margin", "-1"], "--margin is -1; expected a difference of normalised scores, 0 or more."),
        (["{0}", "{1}", "--json", "{1}"], ": a folder; expected the name of a file."),
        (["{0}", "{1}/runs"], "runs/grid.json: no such file."),
    ],
)
def test_a_mistake_is_said_in_one_sentence(two, capsys, monkeypatch, arguments, sentence):
    a, b = two
    assert exit_status(monkeypatch, *(argument.format(b, a) for argument in arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_equal_episodes_with_another_auc_are_not_the_same_numbers(two):
    """Earlier versions did not write the episodes that were open at the end."""
    a, b = two
    path = next(b.glob("runs/*/*/*/run.json"))
    run = json.loads(path.read_text())
    edit_json(path, open_episodes=[{"start": run["steps"] // 2, "return": 1e3, "length": run["steps"] // 2}])
    found = compared(a, b)
    assert all(pair.identical for pair in found.runs)
    moved = {(pair.measure, pair.task, pair.algorithm) for pair in found.scores if pair.verdict != "identical"}
    _, task, algorithm, *_ = path.relative_to(b).parts
    assert {name for name in moved if name[1] != ALL_TASKS} == {("auc", task, algorithm)}
    assert found.verdict.startswith("Not the same numbers")
