"""The section on changes of the task: its tables, figure and sentences, and claims under a change."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.sections.claims import sentences as of_claims
from analysis.sections.robustness import figures, sentences
from analysis.tables import make_tables
from experiments.checks import GridError
from experiments.claims import read_claims
from experiments.grid import load_grid
from tests.analysis_fixtures import claim, comparison, edit_json, write_grid, write_runs

ABOUT = {
    "id": "InvertedPendulum-v5",
    "steps": 1000,
    "random_score": 0.0,
    "reference_score": 100.0,
    "reference_source": "a test",
    "threshold": None,
}
CHANGES = {"mass": {"nominal": 1.0, "sizes": [0.5, 2.0]}, "delay": {"nominal": 0.0, "sizes": [3.0]}}
RANDOMIZED = [{"wrapper": "experiments.tasks.changes:Changed", "mass": [0.5, 2]}]
TASKS = {
    "nominal": ABOUT | {"perturbations": CHANGES},
    "randomised": ABOUT | {"perturbations": CHANGES, "training_wrappers": RANDOMIZED},
}
SCORES = {"nominal": {0.5: 70.0, 2.0: 40.0, 3.0: None}, "randomised": {0.5: 78.0, 2.0: 60.0, 3.0: 20.0}}
OWN = {"nominal": 90.0, "randomised": 80.0}
PLACE = "InvertedPendulum-v5"


def side(task):
    on = {} if task == "nominal" else {"training_wrappers": RANDOMIZED}
    return {"algorithm": "ppo", "on": {"training_wrappers": []} | on, "tasks": {PLACE: task}}


CLAIMS = [
    claim(
        "less_is_lost",
        comparison(
            *("perturbation_loss", side("randomised"), side("nominal")),
            **dict(tasks=[PLACE], under={"mass": 2.0}, direction="lower", differing_in=["training_wrappers"]),
        ),
        comparison("perturbed_score", side("randomised"), tasks=[PLACE], under={"delay": 3.0}, smallest_effect=0.15),
    )
]


@pytest.fixture
def folder(tmp_path):
    """Ten runs on either task: 90 and 80 without changes, less with; seed s has s / 10 more of everything."""
    grid = write_grid(tmp_path, algorithms=("ppo",), tasks=TASKS, seeds=tuple(range(10)), claims=CLAIMS)
    write_runs(tmp_path, grid, episodes=20)
    for cell in grid["cells"]:
        path, more = tmp_path / cell["directory"] / "run.json", cell["seed"] / 10
        record = json.loads(path.read_text(encoding="utf-8"))
        entries = [(change, size) for change, of in CHANGES.items() for size in of["sizes"]]
        scores = SCORES[cell["task"]]
        perturbed = [
            {
                "change": change,
                "size": size,
                "returns": scores[size] and [scores[size] + more - 1, scores[size] + more + 1],
            }
            for change, size in entries
        ]
        record["evaluation"]["sampled"]["returns"] = [OWN[cell["task"]] + more] * 20
        further = {"training_wrappers": RANDOMIZED} if cell["task"] == "randomised" else {}
        record["task_settings"] |= {"id": "InvertedPendulum-v5", **further}
        edit_json(path, **record | {"perturbed": perturbed})
    return tmp_path


def test_tables_figure_sentences_and_claims(folder):
    grid = read_grid(folder)
    tables = make_tables(grid)
    table, summary = tables["robustness"], tables["robustness_summary"]
    assert len(table) == 2 * 10 * (3 + 2)  # with the nominal size of each change

    def row(task, change, size):
        found = summary[(summary["task"] == task) & (summary["change"] == change) & (summary["size"] == size)]
        assert len(found) == 1
        return found.iloc[0]

    heavy = row("nominal", "mass", 2.0)
    assert heavy["mean"] == pytest.approx(40.45)
    assert heavy["lost"] == pytest.approx(0.5)  # 50 of 100, whatever the seed
    assert heavy["low"] < 40.45 < heavy["high"]
    assert row("nominal", "mass", 1.0)["mean"] == row("nominal", "delay", 0.0)["mean"] == pytest.approx(90.45)
    assert row("nominal", "mass", 1.0)["lost"] == 0
    assert row("nominal", "delay", 3.0)["mean"] == 0  # no usable numbers count as the random score
    assert row("randomised", "mass", 2.0)["lost"] == pytest.approx(0.2)

    figure = figures.under_changes(grid, table, summary)
    titles = [axes.get_xlabel() for axes in figure.axes]
    assert titles == ["mass ×", "delay, steps"]
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() >= 1 and len(line.get_xdata()) == 3]
    np.testing.assert_allclose(thick[0].get_ydata(), [70.45, 90.45, 40.45])
    assert len(figure.axes[0].lines) == 2 * (10 + 1) + 1  # every run, the means and the mark of the nominal size
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert labels == ["nominal", "randomised"]
    plt.close(figure)

    said = sentences.page(grid, summary)["sentences"]
    of_nominal = said[1].removeprefix("What PPO on nominal loses at the worst size of each change: ")
    assert of_nominal == "0.50 with mass × 2 and 0.90 with a delay of 3 steps."

    claims = tables["claims"]
    assert claims["effect"].tolist() == pytest.approx([-0.3, 0.2045])
    assert claims["verdict"].tolist() == ["supported", "supported"]
    shown = of_claims.page(grid, claims, tables["claim_tasks"])["claims"]
    assert "under mass × 2" in json.dumps(shown, default=str, ensure_ascii=False).replace("\N{NO-BREAK SPACE}", " ")


def test_a_grid_without_changes_has_no_section(tmp_path):
    write_runs(tmp_path, write_grid(tmp_path, algorithms=("ppo",)))
    grid = read_grid(tmp_path)
    tables = make_tables(grid)
    assert tables["robustness"].empty
    assert sentences.page(grid, tables["robustness_summary"]) is None
    plt.close(figures.under_changes(grid, tables["robustness"], tables["robustness_summary"]))


def test_runs_of_other_changes_and_damaged_returns_are_refused(folder):
    path = folder / "runs/nominal/ppo/0/run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    edit_json(path, **record | {"perturbed": record["perturbed"][:2]})
    with pytest.raises(ResultsError, match=r"perturbed has the changes .* run this cell again"):
        make_tables(read_grid(folder))
    record["perturbed"][0]["returns"] = ["much"]
    edit_json(path, **record)
    with pytest.raises(ResultsError, match=r"perturbed\[0\]\.returns is \['much'\]; expected finite numbers"):
        make_tables(read_grid(folder))


def test_a_run_without_a_kept_policy_is_said_to_have_none(folder):
    for path in folder.glob("runs/randomised/ppo/*/run.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        del record["perturbed"]
        path.write_text(json.dumps(record), encoding="utf-8")
    grid = read_grid(folder)
    tables = make_tables(grid)
    said = sentences.page(grid, tables["robustness_summary"])["sentences"]
    assert said[-1] == "Without a run whose policy was kept: PPO on randomised."
    assert tables["claims"]["verdict"].tolist() == ["cannot be tested"] * 2
    assert "no evaluation under the change of" in tables["claim_tasks"]["note"].iloc[0]


COMPARISON = {
    **{"metric": "perturbed_score", "sides": ["ppo", "a2c"], "direction": "higher", "smallest_effect": 0.1},
    **{"tasks": ["CartPole-v1"], "under": {"delay": 2}},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"under": {"delay": 5}}, "is under delay 5, and perturbations of task CartPole-v1 has 2 for delay"),
        ({"under": {"mass": 2}}, "is under mass 2, and perturbations of task CartPole-v1 has nothing for mass"),
        ({"under": None}, "has no under, the change of the task, such as {mass: 2}, which perturbed_score needs"),
        ({"under": {"delay": "two"}}, "must be a mapping of one change to its size, not {'delay': 'two'}"),
        ({"under": {"delay": 1, "mass": 2}}, "must be a mapping of one change to its size"),
        ({"metric": "auc"}, "has under, which is for perturbed_score, perturbation_loss, not for auc"),
    ],
)
def test_a_claim_under_a_change_that_is_not_evaluated_is_a_sentence(tmp_path, change, said):
    (tmp_path / "claims.yaml").write_text(
        json.dumps({"mine": {"statement": "x", "source": "y", "comparisons": [COMPARISON | change]}})
    )
    task = {"steps": 100, "random_score": 20, "perturbations": {"delay": [2]}}
    content = {"seeds": 1, "tasks": {"CartPole-v1": task}, "algorithms": ["ppo", "a2c"], "claims": "claims.yaml"}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    with pytest.raises(GridError) as error:
        load_grid(str(tmp_path / "mine.yaml"))
    assert said in str(error.value)


def test_a_claim_under_a_change_is_read(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps({"mine": {"statement": "x", "source": "y", "comparisons": [COMPARISON]}}))
    [read] = read_claims(path, "claims.yaml")
    assert read.described()["comparisons"][0]["under"] == {"delay": 2}
