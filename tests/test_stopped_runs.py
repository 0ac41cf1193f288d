"""A task that gives NaN, beside a good one: through runs, a study, a probe, tables, figures and the report."""

import contextlib
import json
import math
import re

import gymnasium
import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import figures, report, tables, verify
from analysis.reading.checks import ResultsError
from analysis.reading.runs import read_episodes
from experiments import probe, run, tune
from experiments.grid import load_grid
from experiments.schema import RUN_STATES, STOPPED
from tests.test_numbers import Guess

gymnasium.register("StoppedGood-v0", Guess)
gymnasium.register("StoppedBad-v0", Guess, kwargs={"at": 15, "reward": math.nan})
gymnasium.register("StoppedLate-v0", Guess, kwargs={"at": 45, "observation": np.array([math.inf])})
TASK = {"steps": 400, "random_score": 5, "reference_score": 10, "reference_source": "every guess right"}
GRID = {
    "description": "A good task and two bad ones.",
    "seeds": [0, 1],
    "compile": "never",
    "checkpoints": [0, 0.5, 1],
    "tasks": {"StoppedGood-v0": TASK, "StoppedBad-v0": TASK, "StoppedLate-v0": TASK | {"steps": 100}},
    "algorithms": {
        "reinforce": {"settings": {"num_envs": 2}},
        "ppo": {
            "settings": {"num_envs": 2, "rollout_length": 16},
            "search_space": {"gamma": {"low": 0.9, "high": 0.999, "scale": "log_one_minus"}},
        },
    },
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200, 201],
        "trials": 2,
        "startup_trials": 2,
        "pruner": {"name": "NopPruner"},
        "groups": {"all": {"tasks": {"StoppedGood-v0": 200, "StoppedBad-v0": 200}, "serves": ["StoppedGood-v0"]}},
    },
    "probes": {
        "source": "reinforce",
        "seeds": [0],
        "fractions": [0, 0.5],
        "batches": 32,
        "gae_lambdas": [0.5],
        "tasks": {name: {"batch_size": 1, "fit_episodes": 4} for name in ("StoppedGood-v0", "StoppedBad-v0")},
    },
}
BAD = "the task gave NaN as reward at step 29"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of the grid with tables, figures and report, made as the pipeline makes them."""
    folder = tmp_path_factory.mktemp("stopped")
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(GRID), encoding="utf-8")
    grid = load_grid(str(path))
    results = folder / "results"
    results.mkdir()
    (results / "grid.json").write_text(json.dumps(grid.manifest(), allow_nan=False), encoding="utf-8")
    manifest = grid.manifest()
    for study in manifest["studies"]:
        words = ["--algorithm", study["algorithm"], "--group", study["group"]]
        tune.main(["--grid", str(path), *words, "--output", str(results / study["directory"])])
    for cell in manifest["cells"]:
        words = ["--algorithm", cell["algorithm"], "--task", cell["task"], "--seed", str(cell["seed"])]
        words += [] if cell["tuned"] is None else ["--tuned", str(results / cell["tuned"] / "best.json")]
        run.main(["--grid", str(path), *words, "--output", str(results / cell["directory"])])
    for asked in manifest["probes"]:
        source = results / "runs" / asked["task"] / asked["source"] / str(asked["seed"])
        words = ["--task", asked["task"], "--seed", str(asked["seed"]), "--fraction", str(asked["fraction"])]
        words += ["--run", str(source), "--output", str(results / asked["directory"])]
        probe.main(["--grid", str(path), *words])
    for module in (tables, figures, report):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [module.__name__, "--results", str(results)])
            with contextlib.suppress(SystemExit):
                module.main()
    return results


def strict(path):
    """The content of a JSON file, which has no NaN and no infinity."""

    def refuse(constant):
        raise AssertionError(f"{path} has {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_everything_is_made(results):
    for kind in ("tables", "figures"):
        assert not (results / kind / "problems.json").exists()


def test_every_json_file_is_strict_and_every_run_has_its_state(results):
    assert all(strict(path) is not None for path in results.rglob("*.json"))
    ledger = pd.read_csv(results / "tables" / "ledger.csv").set_index("task")
    assert set(ledger.loc["StoppedGood-v0", "state"]) == {"done"}
    assert set(ledger.loc["StoppedBad-v0", "state"]) == {STOPPED} <= set(RUN_STATES)
    assert set(ledger.loc["StoppedBad-v0", "note"]) == {BAD}
    assert set(ledger.loc["StoppedLate-v0", "state"]) == {STOPPED}
    record = strict(results / "runs" / "StoppedBad-v0" / "ppo" / "0" / "run.json")
    assert (record["status"], record["diverged_at"], record["evaluation"]) == (STOPPED, 29, None)


def test_a_stopped_run_is_scored_as_a_diverged_one_and_no_statistic_is_infinite(results):
    for path in (results / "tables").glob("*.csv"):
        numbers = (
            pd.read_csv(path).select_dtypes("number").drop(columns="seeds_needed", errors="ignore")
        )  # inf: more than can be counted
        assert not np.isinf(numbers.to_numpy(dtype=float)).any(), path
    scores = pd.read_csv(results / "tables" / "scores.csv")
    assert (scores[scores["status"] == STOPPED]["score"] == 5).all()
    assert scores[["score", "mode_score", "normalized", "auc", "normalized_auc"]].notna().all(axis=None)
    summary = pd.read_csv(results / "tables" / "summary.csv").set_index("task")
    assert set(summary.loc["StoppedBad-v0", "stopped"]) == {2}
    assert set(summary["diverged"]) == {0}
    curves = pd.read_csv(results / "tables" / "curves.csv")
    bad = curves[(curves["task"] == "StoppedBad-v0") & (curves["step"] >= 29)]
    assert (bad["return"] == 5).all()
    assert len(bad)


def test_a_study_treats_it_as_divergence(results):
    parts = pd.read_csv(next(results.glob("tuning/*/*/parts.csv")))
    bad = parts[parts["task"] == "StoppedBad-v0"]
    assert set(bad["status"]) == {STOPPED}
    assert (bad["normalized"] == 0).all()
    assert pd.read_csv(next(results.glob("tuning/*/*/trials.csv")))["diverged"].tolist() == [2, 2]


def test_a_probe_that_meets_it_says_so_and_the_others_are_reported(results):
    jobs = pd.read_csv(results / "tables" / "ledger_jobs.csv").set_index("directory")
    probes = jobs[jobs["kind"] == "probe"]
    good = probes.index.str.contains("StoppedGood")
    assert set(probes[good]["state"]) == {"done"}
    assert set(probes[~good]["state"]) == {STOPPED}
    notes = set(probes[~good]["note"])
    assert any(re.search("NaN as reward at step 29 of the probe's episodes", note) for note in notes)
    assert any("of the source's run" in note for note in notes)


def test_the_report_and_verify_name_it(results, monkeypatch, capsys):
    for page in ("index.html", "report.md"):
        text = (results / "report" / page).read_text(encoding="utf-8")
        assert BAD in text
        assert "8 runs were stopped by their task" in text
        assert f"4 done, 0 diverged, 8 {STOPPED}, 0 failed, 0 missing" in text
    assert strict(results / "report" / "summary.json")["completeness"][STOPPED] == 8
    monkeypatch.setattr("sys.argv", ["verify", str(results)])
    with pytest.raises(SystemExit):
        verify.main()
    assert f"8 {STOPPED}" in capsys.readouterr().out


def test_an_infinite_return_in_a_record_of_an_earlier_version_is_refused_by_its_line(tmp_path):
    (tmp_path / "episodes.csv").write_text("step,return,length\n10,1.0,10\n20,inf,10\n", encoding="utf-8")
    with pytest.raises(ResultsError, match="line 3 has a return that is infinite"):
        read_episodes(tmp_path, {"status": "done", "episodes": 2, "settings": {}})
    assert len(read_episodes(tmp_path, {"status": "diverged", "episodes": 2, "settings": {}})) == 1
