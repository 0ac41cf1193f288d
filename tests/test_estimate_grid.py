"""The key `estimators` of a grid, its probes and their command line; mistakes in it, and what makes them stale."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from experiments import estimate, estimation
from experiments.cells import EstimatorProbe
from experiments.checks import GridError
from experiments.estimation import FOLDER, InvalidEstimator, estimator_of, names
from experiments.grid import load_grid
from tests.pipeline_fixtures import ROOT, environment

GRID = {"steps": 100, "tasks": ["CartPole-v1"], "algorithms": ["reinforce"], "seeds": 1, "claims": []}
TINY = {"problems": ["step"], "only": ["score_function", "pathwise"], "batches": 8, "batch_size": 4, "batch_sizes": [2]}


def grid_with(tmp_path, estimators):
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump(GRID | {"estimators": estimators}, sort_keys=False), encoding="utf-8"
    )
    return load_grid(str(tmp_path / "mine.yaml"))


def test_an_empty_mapping_asks_for_all_problems_and_all_estimators(tmp_path):
    probes = grid_with(tmp_path, {}).probes
    assert [probe.task for probe in probes] == names("problems")
    for probe in probes:
        assert isinstance(probe, EstimatorProbe)
        assert probe.exact
        assert probe.directory == f"probes/{probe.task}/initialisation/0/0"
        assert {variant.estimator for variant in probe.variants} == set(names("estimators"))
        assert probe.counts == {1: 64, 4: 64, 16: 64, 64: 128, 256: 64}


def test_without_the_key_there_is_no_such_probe(tmp_path):
    assert grid_with(tmp_path, None).probes == ()


def test_places_and_settings_are_as_asked(tmp_path):
    asked = {
        "problems": {"quadratic": [{"dimensions": 2e0, "sigma": 1}], "arms": None},
        "only": {"score_function": None, "gumbel_softmax": {"temperature": [0.2, 2]}, "natural": {"fisher": "exact"}},
        "seed": 3,
    }
    quadratic, arms = grid_with(tmp_path, asked).probes
    assert [place.numbers for place in quadratic.places] == [{"dimensions": 2, "sigma": 1}]
    assert [place.offset for place in arms.places] == [10, 1010]
    assert [str(variant) for variant in arms.variants] == [
        *("score_function", "score_function common_noise=True"),
        *("gumbel_softmax temperature=0.2", "gumbel_softmax temperature=2", "natural fisher=exact"),
    ]
    assert arms.seed == 3


@pytest.mark.parametrize(
    ("estimators", "says"),
    [
        ({"problem": ["arms"]}, "estimators has no key 'problem'; did you mean 'problems'"),
        ({"problems": ["quadratc"]}, "problems of estimators has 'quadratc'; did you mean 'quadratic'"),
        ({"problems": []}, "problems of estimators must be a list of different names, or a mapping"),
        ({"only": ["pathwize"]}, "only of estimators has 'pathwize'; did you mean 'pathwise'"),
        (
            {"problems": {"quadratic": [{"dimension": 2}]}},
            "quadratic in problems of estimators has no number 'dimension'; did you mean 'dimensions'",
        ),
        ({"problems": {"quadratic": {"sigma": 1}}}, "quadratic in problems of estimators must be a list of places"),
        ({"problems": {"quadratic": [{"sigma": "1"}]}}, "sigma of quadratic in problems .* must be a number, not '1'"),
        (
            {"problems": {"quadratic": [{"sigma": 0}]}},
            "quadratic in problems of estimators: sigma must be above 0, not 0",
        ),
        ({"problems": {"wave": [{"sigma": 1}, {"sigma": 1.0}]}}, "wave .* has the place d = 2, σ = 1 twice"),
        (
            {"problems": {"game": [{"agents": 40}]}},
            r"game in problems of estimators: agents is 40, .* 3\^40 = 1.2e\+19 joint actions; at most 16",
        ),
        ({"problems": {"chain": [{"rescaled": 1}]}}, "chain in problems of estimators has no number 'rescaled'"),
        (
            {"problems": ["arms"], "only": ["pathwise"]},
            "only of estimators has 'pathwise', which applies to no problem here: it needs a reward that can be "
            "differentiated by the action, and arms has discrete actions",
        ),
        (
            {"problems": ["arms", "step"], "only": ["pathwise"]},
            "problems of estimators has 'arms', to which no estimator applies: it needs a reward that can be",
        ),
        (
            {"only": {"gumbel_softmax": {"temperature": [0, 1]}}},
            "temperature of gumbel_softmax in only of estimators must be a number above 0, not 0",
        ),
        ({"only": {"gumbel_softmax": {"temprature": 1}}}, "has no setting 'temprature'; did you mean 'temperature'"),
        ({"only": {"score_function": {"degree": 1}}}, "has no setting 'degree'; it has none"),
        ({"only": {"pathwise_critic": {"degree": 1.5}}}, "degree of .* must be a whole number above 0, not 1.5"),
        ({"only": {"natural": {"fisher": "none"}}}, "fisher of .* must be one of exact, batch, not 'none'"),
        ({"only": {"natural": "exact"}}, "natural in only of estimators must be a mapping of settings"),
        ({"batches": 7}, "batches of estimators must be a whole number from 8, not 7"),
        ({"batch_sizes": [4, 4]}, "batch_sizes of estimators must be a list of different whole numbers above 0"),
        ({"batch_size": 0}, "batch_size of estimators must be a whole number above 0, not 0"),
    ],
)
def test_a_mistake_is_said_in_one_sentence_that_names_the_file_and_the_key(tmp_path, estimators, says):
    with pytest.raises(GridError, match=says) as refused:
        grid_with(tmp_path, estimators)
    assert "mine.yaml: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_line_writes_a_probe_that_is_the_same_the_next_time(tmp_path, capsys):
    grid_with(tmp_path, TINY)
    words = ["--grid", str(tmp_path / "mine.yaml"), "--task", "step", "--seed", "0"]
    arrays = []
    for name in ("first", "second"):
        estimate.main([*words, "--output", str(tmp_path / name)])
        with np.load(tmp_path / name / "grams.npz") as content:
            arrays.append(dict(content))
    assert "2 estimators" in capsys.readouterr().out
    record = json.loads((tmp_path / "first" / "probe.json").read_text(encoding="utf-8"))
    about = {"grid": "mine", "task": "step", "source": "initialisation", "seed": 0, "fraction": 0.0, "step": 0}
    assert record["probe"] == about
    assert record["measures"] == "estimators"
    assert [entry["id"] for entry in record["estimators"]] == ["0/score_function", "0/pathwise"]
    assert record["seconds"]["total"] > 0
    assert set(arrays[0]) == {
        *("0/truth", "0/natural_truth", "0/score_function/2", "0/score_function/4", "0/pathwise/2", "0/pathwise/4")
    }
    assert arrays[0]["0/score_function/4"].shape == (8, 1)
    assert all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0])


def test_a_problem_that_the_grid_lacks_is_said_in_a_sentence(tmp_path):
    grid_with(tmp_path, TINY)
    words = ["--grid", str(tmp_path / "mine.yaml"), "--seed", "0", "--output", str(tmp_path / "out")]
    with pytest.raises(GridError, match=r"no probe of arms with seed 0 at 0; .*step with seed 0 at 0"):
        estimate.main(["--task", "arms", *words])


DIGESTS = """
import json, sys
from experiments.determinants import what_determines
from experiments.grid import load_grid
grid = load_grid("mine.yaml")
jobs = {f"{p.measures} {p.task}": p for p in grid.probes} | {f"cell {c.algorithm}": c for c in grid.cells()}
about = {name: what_determines(grid, job) for name, job in jobs.items()}
print(json.dumps({name: found.digest(found.code()) for name, found in about.items()}))
"""


def test_a_new_or_edited_estimator_makes_the_estimators_probes_stale_and_nothing_else(fresh):
    data = GRID | {
        "checkpoints": [0],
        "algorithms": ["reinforce_baseline"],
        "estimators": {"problems": ["step", "arms"]},
    }
    data["probes"] = {
        "source": "reinforce_baseline",
        "seeds": [0],
        "fractions": [0],
        "batches": 8,
        "exact": {"batch_size": 2},
    }
    (fresh / "mine.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    own = fresh / "experiments" / "estimation"

    def digests():
        command = [sys.executable, "-c", DIGESTS]
        done = subprocess.run(command, cwd=fresh, env=environment(), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def stale_after(file, text):
        before = digests()
        file.write_text(text, encoding="utf-8")
        after = digests()
        return {name for name in before if before[name] != after[name]}

    mine = own / "estimators" / "mine.py"
    text = (
        (FOLDER / "estimators" / "score_function.py").read_text(encoding="utf-8").replace('"score function"', '"mine"')
    )
    both = {"estimators step", "estimators arms"}
    assert stale_after(mine, text) == both
    assert stale_after(mine, text + "\n# An edit.\n") == both
    measuring = own / "measuring.py"
    assert stale_after(measuring, measuring.read_text(encoding="utf-8") + "\n# An edit.\n") == both
    problem = own / "problems" / "step.py"
    assert stale_after(problem, problem.read_text(encoding="utf-8") + "\n# An edit.\n") == {"estimators step"}


def test_a_file_that_cannot_be_imported_is_said_in_one_sentence(fresh):
    (fresh / "mine.yaml").write_text(yaml.safe_dump(GRID | {"estimators": {}}), encoding="utf-8")
    (fresh / "experiments" / "estimation" / "estimators" / "mine.py").write_text("def (", encoding="utf-8")
    command = [sys.executable, "-m", "experiments.grid", "--grid", "mine.yaml"]
    done = subprocess.run(command, cwd=fresh, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    says = "error: mine.yaml: estimators: experiments/estimation/estimators/mine.py cannot be imported: SyntaxError"
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"TITLE": None}, r"mine\.py needs a TITLE \(text\), which figures show"),
        ({"gradients": None}, r"mine\.py needs a function gradients\(batch\)"),
        ({"TRUTH": "own"}, r"mine\.py: TRUTH must be 'plain' or 'natural', not 'own'"),
        ({"SETTINGS": {"x": [1]}}, r"mine\.py: SETTINGS must be a mapping of names to tuples of values"),
        ({"SETTINGS": {"x": ()}}, r"mine\.py: SETTINGS must be a mapping of names to tuples of values"),
    ],
)
def test_a_mistake_in_an_estimators_file_is_said_in_one_sentence(content, says, monkeypatch):
    right = {"TITLE": "mine", "gradients": lambda batch: batch.rewards}
    monkeypatch.setattr(estimation, "load", lambda kind, name: SimpleNamespace(**right | content))
    with pytest.raises(InvalidEstimator, match=says):
        estimator_of.__wrapped__("mine")


def test_reading_a_grid_with_estimators_does_not_wait_for_scipy():
    """It takes two seconds to import, and each probe of the default grid reads the grid."""
    read = "import sys; from experiments.grid import load_grid; load_grid('estimators'); print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"
