"""What a file of claims may say, how a grid takes it up, and the sentence that each mistake gets."""

import copy
import json
import re

import pytest
import yaml

from analysis.sections.claims import verdicts as analysis_claims
from experiments import claims
from experiments.checks import GridError
from experiments.determinants import what_determines
from experiments.grid import GRIDS, load_grid
from experiments.sources import ROOT
from tests.test_grid import GRID, write

MINE = {
    "clipping_helps": {
        "statement": "Clipping helps.",
        "source": "my own question",
        "comparisons": [
            {"metric": "auc", "sides": ["ppo", "ppo_published"], "direction": "higher", "smallest_effect": 0.05},
            {
                "metric": "variance",
                "sides": [{"gae_lambda": 0, "critic": "fitted"}, {"algorithm": "reinforce"}],
                "direction": "lower",
                "smallest_effect": 0.1,
                "tasks": ["CartPole-v1"],
                "from_fraction": 0.5,
            },
        ],
    }
}


def load(folder, content, grid=GRID, named="mine_claims.yaml"):
    """A grid that names a file of claims beside it."""
    write(folder / "mine_claims.yaml", content)
    return load_grid(write(folder / "mine.yaml", grid | {"claims": named}))


def changed(*path, value):
    """MINE with another value at a path of keys, or without the key."""
    content = copy.deepcopy(MINE)
    at = content["clipping_helps"]
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return content


def test_a_grid_without_claims_of_its_own_has_those_of_every_grid(tmp_path):
    grid = load_grid(write(tmp_path / "mine.yaml", GRID))
    assert len(grid.claims) == 8
    assert {claim.file for claim in grid.claims} == {"experiments/claims.yaml"}


def test_a_grids_own_claims_stand_after_those_of_every_grid(tmp_path):
    for named in ("mine_claims.yaml", ["mine_claims.yaml"]):
        grid = load(tmp_path, MINE, named=named)
        assert len(grid.claims) == 9
        manifest = json.loads(json.dumps(grid.manifest()))["claims"]
        assert manifest[8]["id"] == "clipping_helps"
        assert (manifest[8]["rule"], manifest[8]["variants"]) == ("all", {})
        first, second = manifest[8]["comparisons"]
        assert first["sides"] == [
            {"algorithm": name, "gae_lambda": None, "critic": None} for name in ("ppo", "ppo_published")
        ]
        assert (first["tasks"], first["from_fraction"], first["differing_in"]) == ("all", 0, [])
        assert second["sides"][0] == {"algorithm": None, "gae_lambda": 0, "critic": "fitted"}
        assert (second["tasks"], second["from_fraction"]) == (["CartPole-v1"], 0.5)


def test_claims_determine_no_run_and_no_probe(tmp_path):
    without, grid = load_grid(write(tmp_path / "mine.yaml", GRID)), load(tmp_path, MINE)
    assert [what_determines(grid, cell) for cell in grid.cells()] == [
        what_determines(without, cell) for cell in without.cells()
    ]
    assert [what_determines(grid, probe) for probe in grid.probes] == [
        what_determines(without, probe) for probe in without.probes
    ]
    assert grid.manifest() != without.manifest()


def test_an_algorithm_that_the_grid_does_not_have_is_no_mistake(tmp_path):
    content = changed("comparisons", 0, "sides", value=["trpo", "ppo"])
    assert load(tmp_path, content).claims[8].comparisons[0].sides[0].algorithm == "trpo"


COMPARISON = ("comparisons", 0)
MISTAKES = {
    "a list": ([1], ["mine_claims.yaml must be a mapping from a name"]),
    "nothing": ("", ["must be a mapping from a name"]),
    "no YAML": ("a: [", ["mine_claims.yaml is not valid YAML"]),
    "an id with a space": ({"clipping helps": MINE["clipping_helps"]}, ["letters, digits", "'clipping helps'"]),
    "an id that is taken": (
        {"baseline_speeds_up_learning": MINE["clipping_helps"]},
        ["claim baseline_speeds_up_learning is also in experiments/claims.yaml"],
    ),
    "a claim twice": ("a: {}\na: {}\n", ["'a' is given twice"]),
    "no statement": (changed("statement", value=None), ["claim clipping_helps needs the key 'statement': text"]),
    "unknown key": (changed("sorce", value="x"), ["claim clipping_helps has no key 'sorce'", "did you mean 'source'"]),
    "unknown rule": (changed("rule", value="most"), ["rule of claim clipping_helps must be all or any, not 'most'"]),
    "no comparisons": (changed("comparisons", value=[]), ["must be a list of at least one comparison"]),
    "a variant of text": (changed("variants", value={"x": "ppo"}), ["variants of claim clipping_helps must be"]),
    "a grid that is not shipped": (
        changed("grid", value="ppo_ablatoin"),
        ["grid of claim clipping_helps is 'ppo_ablatoin'", "did you mean 'ppo_ablation'"],
    ),
    "unknown metric": (
        changed(*COMPARISON, "metric", value="final_scor"),
        ["metric of comparison 1 of claim clipping_helps is 'final_scor'", "did you mean 'final_score'", "variance"],
    ),
    "unknown direction": (
        changed(*COMPARISON, "direction", value="up"),
        ["direction of comparison 1", "higher, lower"],
    ),
    "no smallest effect": (changed(*COMPARISON, "smallest_effect", value=0), ["must be a number above 0, not 0"]),
    "a ratio of nothing": (
        changed("comparisons", 1, "smallest_effect", value=1),
        ["smallest_effect of comparison 2", "must be below 1"],
    ),
    "three sides": (changed(*COMPARISON, "sides", value=["a", "b", "c"]), ["a list of one or two sides"]),
    "the same side twice": (
        changed(*COMPARISON, "sides", value=["ppo", "ppo"]),
        ["both sides of comparison 1", "same"],
    ),
    "a side of two kinds": (
        changed("comparisons", 1, "sides", value=[{"algorithm": "ppo", "gae_lambda": 0}]),
        ["a side of comparison 2", "one of algorithm and gae_lambda"],
    ),
    "a λ beyond 1": (changed("comparisons", 1, "sides", value=[{"gae_lambda": 2}]), ["between 0 and 1, not 2"]),
    "unknown critic": (
        changed("comparisons", 1, "sides", value=[{"gae_lambda": 1, "critic": "good"}]),
        ["critic of a side of comparison 2", "trained, fitted, exact, wrong", "'good'"],
    ),
    "a critic of runs": (
        changed(*COMPARISON, "sides", value=[{"algorithm": "ppo", "critic": "fitted"}]),
        ["a side of comparison 1", "runs have no other critic"],
    ),
    "one side of steps": (
        changed(
            "comparisons",
            value=[MINE["clipping_helps"]["comparisons"][0] | {"metric": "steps_to_threshold", "sides": ["ppo"]}],
        ),
        ["comparison 1 of claim clipping_helps has one side; steps_to_threshold compares two"],
    ),
    "tasks by another word": (
        changed(*COMPARISON, "tasks", value="every"),
        ["tasks of comparison 1", "all, exact, or"],
    ),
    "no tasks": (changed(*COMPARISON, "tasks", value=[]), ["tasks of comparison 1"]),
    "runs of exact problems": (changed(*COMPARISON, "tasks", value="exact"), ["exact, which is for variance"]),
    "a fraction of runs": (
        changed(*COMPARISON, "from_fraction", value=0.5),
        ["has from_fraction, which is for variance, relative_bias, bias_squared, cosine, not for auc"],
    ),
    "settings of the laboratory": (
        changed("comparisons", 1, "differing_in", value=["clip"]),
        ["has differing_in, which is for final_score", "not for variance"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path, mistake):
    content, said = MISTAKES[mistake]
    with pytest.raises(GridError) as error:
        load(tmp_path, content)
    for words in ("mine_claims.yaml", *said):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_claims_that_is_not_there_is_named(tmp_path):
    with pytest.raises(GridError, match=r"there is no file of claims .*other\.yaml"):
        load(tmp_path, MINE, named="other.yaml")
    with pytest.raises(GridError, match=r"claims of the grid must be a YAML file of claims, or a list of them, not 3"):
        load(tmp_path, MINE, named=3)


def test_both_sides_of_the_project_know_the_same_metrics():
    of_runs = {name for name, metric in analysis_claims.METRICS.items() if metric.of_runs}
    assert of_runs == set(claims.RUN_METRICS)
    assert set(analysis_claims.METRICS) - of_runs == set(claims.GRADIENT_METRICS)
    assert {name for name, metric in analysis_claims.METRICS.items() if metric.ratio} == set(claims.RATIO_METRICS)


@pytest.mark.parametrize("name", ["default", "paper", "smoke"])
def test_shipped_grids_have_what_the_claims_name_or_the_claim_says_what_to_add(name):
    grid = load_grid(name)
    for claim in grid.claims:
        named = {side.algorithm for comparison in claim.comparisons for side in comparison.sides} - {None}
        assert named <= set(grid.algorithms) | set(claim.variants)


def test_the_ablation_of_ppo_can_test_the_claim_about_it():
    """With variants that differ in nothing but what the claim is about."""
    grid = load_grid("ppo_ablation")
    (claim,) = (claim for claim in grid.claims if claim.id == "epochs_learn_more_and_clipping_makes_them_safe")
    assert claim.grid == grid.name
    for comparison in claim.comparisons:
        for task in grid.tasks:
            first, second = (grid.cell(side.algorithm, task, 0).settings for side in comparison.sides)
            assert {key for key in first if first[key] != second[key]} == set(comparison.differing_in)


def test_the_example_in_the_document_is_a_claim(tmp_path):
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- claim -->\n```yaml\n(.*?)```", text, re.DOTALL)[1]
    assert load(tmp_path, example).claims[8].id == "small_clip_range_is_safer"
    table = text.split("<!-- claim -->")[1].split("\n## ")[0]
    metrics = " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", metrics)) == set(analysis_claims.METRICS)


def test_variants_that_a_claim_proposes_differ_in_what_it_says_they_do(tmp_path):
    data = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    claim = load_grid("smoke").claims[-1]
    grid = load_grid(write(tmp_path / "more.yaml", data | {"algorithms": data["algorithms"] | claim.variants}))
    for comparison in claim.comparisons:
        first, second = (grid.cell(side.algorithm, "CartPole-v1", 0).settings for side in comparison.sides)
        assert {key for key in first if first[key] != second[key]} == set(comparison.differing_in)
