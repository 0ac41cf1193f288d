"""Below the least evidence there is no verdict, and scores that turn a ranking upside down are refused."""

import re

import pandas as pd
import pytest
import yaml

from analysis import report
from analysis.making import Maker
from analysis.problems import made_tables
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.sections import FIGURES
from analysis.sections.claims.verdicts import CONTRADICTED, SUPPORTED, TOO_LITTLE, UNDECIDED
from experiments.checks import GridError
from experiments.grid import GRIDS, load_grid
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    HOPPER,
    claim,
    comparison,
    edit_json,
    make_page,
    probe,
    write_grid,
    write_runs,
)
from tests.test_claim_verdicts import BANDIT, estimator, grid_of, only, tables

GOOD, BAD = [0.60, 0.62, 0.58, 0.61, 0.59], [0.30, 0.32, 0.28, 0.31, 0.29]
NAMES = [f"Task{number}-v0" for number in range(4)]
STATED = comparison("final_score", "ppo", "reinforce")


def runs_on(names, seeds, ppo=GOOD, reinforce=BAD, fewer=()) -> dict:
    """Made-up scores of so many runs of both; one fewer of REINFORCE on the tasks in `fewer`."""
    scores = {"ppo": (ppo * 4)[:seeds], "reinforce": (reinforce * 4)[:seeds]}
    return {
        (task, name): of[: seeds - (task in fewer and name == "reinforce")]
        for task in names
        for name, of in scores.items()
    }


def verdict_on(tmp_path, n_tasks, seeds, stated=STATED, **values) -> pd.Series:
    names = NAMES[:n_tasks]
    grid = grid_of(tmp_path, claim("a", stated), tasks=dict.fromkeys(names, HOPPER), seeds=range(seeds))
    return only(tables(grid, runs_on(names, seeds, **values)))


@pytest.mark.parametrize(
    ("n_tasks", "seeds", "fewer", "verdict"),
    [
        (2, 2, (), TOO_LITTLE),
        (2, 20, (), TOO_LITTLE),
        (4, 4, (), TOO_LITTLE),
        (1, 10, (), TOO_LITTLE),
        (3, 5, NAMES[:1], TOO_LITTLE),  # of one algorithm alone, a run has failed
        (3, 5, (), SUPPORTED),
        (4, 5, NAMES[:1], SUPPORTED),  # three tasks have enough
    ],
)
def test_a_verdict_needs_five_runs_of_both_on_three_tasks(tmp_path, n_tasks, seeds, fewer, verdict):
    row = verdict_on(tmp_path, n_tasks, seeds, fewer=fewer)
    assert row["verdict"] == row["claim_verdict"] == verdict
    if verdict == TOO_LITTLE:
        assert row["reason"].endswith("a verdict needs at least 5 runs of each algorithm on each of 3 tasks")
    assert row["effect"] == pytest.approx(0.3, abs=0.03)  # the effect is shown all the same


@pytest.mark.parametrize(
    ("ppo", "reinforce", "enough"),
    [
        (GOOD, BAD, SUPPORTED),
        (BAD, GOOD, CONTRADICTED),
        ([0.1, 0.9, 0.2, 0.8, 0.6], [0.5, 0.1, 0.9, 0.2, 0.7], UNDECIDED),
    ],
)
def test_no_verdict_of_any_kind_comes_from_too_little(tmp_path, ppo, reinforce, enough):
    for n_tasks, seeds, expected in ((2, 2, TOO_LITTLE), (3, 5, enough)):
        found = verdict_on(tmp_path / str(seeds), n_tasks, seeds, ppo=ppo, reinforce=reinforce)
        assert found["verdict"] == expected


@pytest.mark.parametrize("direction", ["higher", "equal"])
@pytest.mark.parametrize(
    ("seeds", "named", "verdict"),
    [
        (10, NAMES[:1], "coloured"),
        (9, NAMES[:1], TOO_LITTLE),
        (5, NAMES[:4], TOO_LITTLE),
        (10, [NAMES[0], "Other-v0"], TOO_LITTLE),  # not a task of the grid
    ],
)
def test_a_claim_that_names_its_tasks_needs_ten_runs_on_each(tmp_path, direction, seeds, named, verdict):
    stated = comparison("auc", "ppo", "reinforce", tasks=named, direction=direction)
    row = verdict_on(tmp_path, 4, seeds, stated)
    coloured = SUPPORTED if direction == "higher" else CONTRADICTED
    assert row["verdict"] == (coloured if verdict == "coloured" else verdict)
    if verdict == TOO_LITTLE:
        assert "a claim that names its tasks needs at least 10 runs of each algorithm on each of them" in row["reason"]


def test_a_task_by_itself_has_a_verdict_from_ten_runs_on(tmp_path):
    for seeds, expected in ((9, TOO_LITTLE), (10, SUPPORTED)):
        grid = grid_of(
            tmp_path / str(seeds), claim("a", STATED), tasks=dict.fromkeys(NAMES, HOPPER), seeds=range(seeds)
        )
        made = tables(grid, runs_on(NAMES, seeds))
        assert set(made["claim_tasks"]["verdict"]) == {expected}
        assert only(made)["verdict"] == SUPPORTED


@pytest.mark.parametrize("direction", ["lower", "equal", "higher"])
@pytest.mark.parametrize(
    ("tasks", "seeds", "fractions", "enough"),
    [(1, 1, (0.5,), False), (1, 10, (0.1, 0.5), False), (2, 2, (0.1, 0.5, 1), False), (2, 3, (0.5,), True)],
)
def test_the_laboratory_needs_policies_of_three_runs_on_two_tasks(tmp_path, direction, tasks, seeds, fractions, enough):
    names = ["CartPole-v1", "Hopper-v5"][:tasks]
    places = [(task, fraction, seed) for task in names for fraction in fractions for seed in range(seeds)]
    stated = comparison("relative_bias", "ppo", direction=direction, smallest_effect=0.1)
    grid = grid_of(
        tmp_path,
        claim("a", stated),
        probes=[probe(task, fraction, seed=seed) for task, fraction, seed in places],
        seeds=range(seeds),
    )
    measured = [
        estimator(task, "ppo", bias=(0.6, 0.5, 0.7), fraction=fraction, seed=seed) for task, fraction, seed in places
    ]
    row = only(tables(grid, measured=measured))
    verdict = SUPPORTED if direction == "higher" else CONTRADICTED
    assert row["verdict"] == (verdict if enough else TOO_LITTLE)
    if not enough:
        assert "at least 3 runs whose frozen policies can be measured on each of 2 tasks" in row["reason"]


def test_policies_that_say_nothing_are_no_evidence(tmp_path):
    places = [(task, seed) for task in ("CartPole-v1", "Hopper-v5") for seed in range(3)]
    stated = comparison("relative_bias", "ppo", direction="equal", smallest_effect=0.25)
    grid = grid_of(tmp_path, claim("a", stated), probes=[probe(task, 0.5, seed=seed) for task, seed in places])
    measured = [
        estimator(task, "ppo", bias=None if n else (0.6, 0.5, 0.7), seed=seed) for n, (task, seed) in enumerate(places)
    ]
    assert only(tables(grid, measured=measured))["verdict"] == TOO_LITTLE
    nothing = [row | {f"relative_bias{end}": float("nan") for end in ("", "_low", "_high")} for row in measured]
    assert only(tables(grid, measured=nothing))["verdict"] == UNDECIDED  # more of the same would say nothing either


@pytest.mark.parametrize("tasks", ["exact", [EXACT], [EXACT, BANDIT]])
def test_an_exact_problem_needs_no_number_of_runs(tmp_path, tasks):
    stated = comparison("relative_bias", "reinforce_baseline", tasks=tasks, direction="higher", smallest_effect=0.1)
    problems = [probe(of, 0, "initialisation") for of in (EXACT, BANDIT)]
    grid = grid_of(tmp_path, claim("a", stated), probes=problems)
    about = {"source": "initialisation", "fraction": 0, "critic": "exact"}
    measured = [estimator(of, "reinforce_baseline", bias=(0.5, 0.3, 0.7), **about) for of in (EXACT, BANDIT)]
    made = tables(grid, measured=measured)
    assert only(made)["verdict"] == SUPPORTED
    assert set(made["claim_tasks"]["verdict"]) == {SUPPORTED}


def texts(folder, *stated, **about) -> dict[str, str]:
    """Page and Markdown of made-up runs, by the names of their files."""
    write_runs(folder, write_grid(folder, algorithms=("ppo", "reinforce"), claims=stated, **about))
    drawn = dict.fromkeys(FIGURES, '<svg width="1pt" height="1pt"/>')
    make_page(folder, ())
    made, missing = report.texts(Maker({"grid": read_grid(folder)}, read=made_tables(folder)), drawn)
    assert not missing
    return {name: made[name] for name in ("index.html", "report.md")}


def test_on_the_page_too_little_is_grey_and_what_cannot_be_tested_is_one_line(tmp_path):
    stated = [claim("few", STATED), claim("absent", comparison("auc", "trpo", "npg"), comparison("auc", "trpo"))]
    pages = texts(tmp_path, *stated, tasks={"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}, seeds=range(2))
    for page in pages.values():
        assert "the grid has no algorithms trpo and npg; the grid has no algorithm trpo." in page
        assert "2 runs on each of 2 tasks; a verdict needs at least 5 runs of each algorithm on each of 3 tasks" in page
        assert "Of 2 claims, 1 has too little evidence and 1 cannot be tested." in page
    section = pages["index.html"].split('<section id="claims">')[1].split("</section>")[0]
    assert set(re.findall(r'class="verdict ([\w-]+)"', section)) == {"too-little", "untestable"}
    folded = section.split('id="claim-absent"')[1].split("</li>")[0]
    assert re.match(r">\s*<details>\s*<summary>", folded)
    (line,) = (line for line in pages["report.md"].splitlines() if line.startswith("**2. "))
    assert "cannot be tested: the grid has no algorithms trpo and npg" in line


def test_a_grid_without_claims_has_neither_section_nor_failure(tmp_path):
    path = tmp_path / "mine.yaml"
    content = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | {"claims": []}), encoding="utf-8")
    assert load_grid(str(path)).claims == ()
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert len(load_grid(str(path)).claims) == len(load_grid("smoke").claims) > 0
    pages = texts(tmp_path / "results")
    assert 'id="claims"' not in pages["index.html"]
    assert "## Claims" not in pages["report.md"]


@pytest.mark.parametrize("name", ["default", "paper", "ppo_ablation"])
def test_the_shipped_grids_ask_for_enough_runs(name):
    grid = load_grid(name)
    assert len(grid.tasks) >= 3
    assert len(grid.seeds) >= 5


SCORES = {
    "swapped": ({"random_score": 475, "reference_score": 21.6}, "is 21.6, below its random_score, 475"),
    "swapped below 0": ({"random_score": -100, "reference_score": -499.9}, "is -499.9, below its random_score, -100"),
    "the same": ({"random_score": 475}, "the same random_score and reference_score, 475"),
    "hardly apart": ({"random_score": 474, "reference_score": 475}, "which hardly differs from its random_score, 474"),
    "hardly apart below 0": (
        {"random_score": -1000, "reference_score": -999},
        "which hardly differs from its random_score, -1000",
    ),
    "a threshold below random": ({"threshold": 20}, "threshold of task CartPole-v1 is 20, which random actions reach"),
    "a threshold at random": ({"threshold": 21.6}, "is 21.6, which random actions reach"),
}


@pytest.mark.parametrize("mistake", SCORES)
def test_scores_that_mislead_are_one_sentence(tmp_path, mistake):
    changes, said = SCORES[mistake]
    content = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    content["tasks"]["CartPole-v1"] |= changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(GridError) as error:
        load_grid(str(path))
    for words in ("mine.yaml", "task CartPole-v1", said):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scores", [(-1234, -174.87), (0, 1), (-1, 0), (0.53, 360), (0, 1e-9), (1000, 1011)])
def test_scores_of_any_size_that_are_apart_pass(tmp_path, scores):
    content = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    content["tasks"]["CartPole-v1"] |= dict(
        zip(("random_score", "reference_score"), scores, strict=True), threshold=None
    )
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert load_grid(str(path)).tasks["CartPole-v1"].reference_score == scores[1]


def test_results_with_swapped_scores_are_refused_too(tmp_path):
    grid = grid_of(tmp_path)
    tasks = {name: dict(task) for name, task in grid.tasks.items()}
    tasks["CartPole-v1"] |= {"random_score": 475.0, "reference_score": 21.6}
    edit_json(grid.folder / "grid.json", tasks=tasks)
    with pytest.raises(
        ResultsError, match=r"reference_score is 21\.6, below its random_score, 475\.0; exchange the two"
    ):
        read_grid(grid.folder)
