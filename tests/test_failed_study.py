"""A study that Snakemake could not make: it fails until that is resolved, and nothing takes the old one for it."""

import yaml

from tests.pipeline_fixtures import run, snakemake

TASK = {"steps": 256, "random_score": 20, "reference_score": 475, "reference_source": "registered threshold"}
GRID = {
    "description": "One small study.",
    "seeds": [0],
    "compile": "never",
    "claims": [],
    "tuning": {
        "seeds": [100, 101],
        "fresh_seeds": [200],
        "trials": 2,
        "startup_trials": 1,
        "groups": {"all": {"tasks": {"CartPole-v1": 128}, "serves": ["CartPole-v1"]}},
    },
    "tasks": {"CartPole-v1": TASK},
    "algorithms": {
        "a2c": {"search_space": {"policy_learning_rate": {"low": 0.001, "high": 0.01}}, "settings": {"num_envs": 2}}
    },
}
STUDY, CELL = "results/tiny/tuning/a2c/all", "results/tiny/runs/CartPole-v1/a2c/0/run.json"
PAGE = "results/tiny/report/index.html"


def set_grid(folder, *path, value=None):
    """Write the grid, with another value at a path of keys."""
    data = yaml.safe_load(yaml.safe_dump(GRID))
    place = data
    for key in path[:-1]:
        place = place.setdefault(key, {})
    if path:
        place[path[-1]] = value
    (folder / "tiny.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


def make(folder, *words):
    """Snakemake on the grid: its status and what it said."""
    done = snakemake(folder, *words, grid="tiny.yaml")
    return done.returncode, done.stdout + done.stderr


def verified(folder):
    done = run(folder, "analysis.verify", "results/tiny")
    return done.returncode, done.stdout + done.stderr


OTHER_PROBLEMS = {
    "untuned settings": (
        ("algorithms", "a2c", "settings", "gamma"),
        0.5,
        "determines.tasks.CartPole-v1.settings.gamma",
    ),
    "preprocessing": (("tasks", "CartPole-v1", "normalize_observations"), True, "task.normalize_observations"),
    "reference": (("tasks", "CartPole-v1", "reference_score"), 400, "reference_score"),
    "random score": (("tasks", "CartPole-v1", "random_score"), 21, "random_score"),
}


def test_a_study_that_fails_fails_until_that_is_resolved(fresh):
    set_grid(fresh)
    status, said = make(fresh)
    assert status == 0, said
    assert verified(fresh)[0] == 0
    assert "Nothing to be done" in make(fresh)[1]
    made = {name: (fresh / name).stat().st_mtime_ns for name in (CELL, PAGE)}
    journal = (fresh / STUDY / "journal.log").read_bytes()

    set_grid(fresh, "algorithms", "a2c", "search_space", "policy_learning_rate", "low", value=0.002)
    for _ in range(2):
        status, said = make(fresh)
        assert status == 1
        assert "space.policy_learning_rate.low 0.001 where the grid has 0.002. To tune anew, move" in said
        assert made == {name: (fresh / name).stat().st_mtime_ns for name in (CELL, PAGE)}
    assert "rule tune" in make(fresh, "--dry-run", CELL)[1]  # also for one cell
    status, said = verified(fresh)
    assert status == 1
    assert "space.policy_learning_rate.low is 0.001, the grid has 0.002" in said
    assert "another problem" in make(fresh, "partial_report")[1]

    for path, value, difference in OTHER_PROBLEMS.values():
        set_grid(fresh, *path, value=value)
        assert "rule tune" in make(fresh, "--dry-run")[1]
        assert make(fresh, "results/tiny/grid.json")[0] == 0
        status, said = verified(fresh)
        assert status == 1
        assert f"{STUDY}/study.json: made for another problem: " in said
        assert f"{difference} is " in said

    set_grid(fresh)
    status, said = make(fresh)
    assert status == 0, said
    assert (fresh / STUDY / "journal.log").read_bytes() == journal  # nothing was trained again
    assert verified(fresh)[0] == 0
    assert "Nothing to be done" in make(fresh)[1]

    set_grid(fresh, "algorithms", "a2c", "search_space", "policy_learning_rate", "low", value=0.002)
    (fresh / STUDY).rename(fresh / "old")
    status, said = make(fresh)
    assert status == 0, said
    assert verified(fresh)[0] == 0
