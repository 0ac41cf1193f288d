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
        [
            f"has from_fraction, which is for variance, relative_bias, bias_squared, cosine, "
            f"{', '.join(claims.QUALITY_METRICS)}, not for auc"
        ],
    ),
    "settings of the laboratory": (
        changed("comparisons", 1, "differing_in", value=["clip"]),
        ["has differing_in, which is for final_score", "not for variance"],
    ),
}


SQUASH, CLIP = ({"algorithm": "ppo", "on": {"action_bounds": bounds}} for bounds in ("squash", "clip"))
BEST = {"best_of": ["ppo", "ppo_published"]}
SIDES = (*COMPARISON, "sides")


def of_sides(metric, *sides, **about):
    """MINE with one comparison of other sides."""
    return changed(
        "comparisons", value=[MINE["clipping_helps"]["comparisons"][0] | {"metric": metric, "sides": [*sides]} | about]
    )


MISTAKES |= {
    "on an unknown key": (
        changed(*SIDES, value=[{"algorithm": "ppo", "on": {"action_bound": "clip"}}, "ppo"]),
        ["on of a side of comparison 1 of claim clipping_helps has no key 'action_bound'", "mean 'action_bounds'"],
    ),
    "on an invalid value": (
        changed(*SIDES, value=[{"algorithm": "ppo", "on": {"action_bounds": "cut"}}, "ppo"]),
        ["action_bounds of on of a side of comparison 1", "must be clip or squash, not 'cut'"],
    ),
    "on a name": (changed(*SIDES, value=[{"algorithm": "ppo", "on": {"id": "x"}}, "ppo"]), ["has no key 'id'"]),
    "on what is no mapping": (
        changed(*SIDES, value=[{"algorithm": "ppo", "on": "squash"}, "ppo"]),
        ["on of a side of comparison 1", "must be a mapping of keys of a task"],
    ),
    "on in the laboratory": (
        changed("comparisons", 1, "sides", value=[{"algorithm": "ppo", "on": {}}]),
        ["a side of comparison 2", "has on, which is for final_score", "not for variance"],
    ),
    "on what is nowhere": (
        changed(*SIDES, value=[SQUASH, CLIP]),
        ["comparison 1 of claim clipping_helps has ppo on {action_bounds: squash}", "no such task", "CartPole-v1"],
    ),
    "the same default": (
        changed(*SIDES, value=[{"algorithm": "ppo", "on": {}}, CLIP]),
        ["both sides of comparison 1", "same"],
    ),
    "an unknown evaluation": (
        changed(*SIDES, value=[{"algorithm": "ppo", "score": "greedy"}, "ppo"]),
        ["score of a side of comparison 1", "one of sampled, mode, not 'greedy'"],
    ),
    "an evaluation of a curve": (
        of_sides("auc", {"algorithm": "ppo", "score": "mode"}, "ppo"),
        ["has score, which is for final_score, learning_per_step, spread, not for auc"],
    ),
    "a mode of the mode score": (
        of_sides("mode_score", {"algorithm": "ppo", "score": "mode"}, "ppo"),
        ["has score, which is for", "not for mode_score"],
    ),
    "a spread alone": (of_sides("spread", "ppo"), ["has one side; spread compares two"]),
    "a spread of nothing": (
        of_sides("spread", "ppo", "ppo_published", smallest_effect=1),
        ["smallest_effect of comparison 1", "must be below 1"],
    ),
    "the best of one": (of_sides("auc", "reinforce", {"best_of": ["ppo"]}), ["best_of", "a list of at least two"]),
    "the best of a pair and more": (
        of_sides("auc", "reinforce", BEST | {"algorithm": "ppo"}),
        ["a side of comparison 1", "has algorithm beside best_of"],
    ),
    "the best alone": (of_sides("auc", BEST), ["compares the best of several sides; its other side must be a single"]),
    "the best of two": (of_sides("auc", BEST, {"best_of": ["a", "b"]}), ["its other side must be a single one"]),
    "the best of the best": (of_sides("auc", "a", {"best_of": [BEST, "c"]}), ["lists another best_of"]),
    "one of the best twice": (of_sides("auc", "a", {"best_of": ["ppo", "ppo"]}), ["lists a side twice"]),
    "the best of itself": (of_sides("auc", "ppo", BEST), ["lists the side with which the best is compared"]),
    "the best of drops": (
        of_sides("drop", "reinforce", BEST),
        ["has best_of, which is for final_score, mode_score, auc, learning_per_step, not for drop"],
    ),
    "a cost of no several": (
        of_sides("final_score", "reinforce", {"algorithm": "ppo", "cost_at_most": 5}),
        ["has cost_at_most without best_of"],
    ),
    "a cost on all tasks": (
        of_sides("final_score", "reinforce", BEST | {"cost_at_most": 5}),
        ["has cost_at_most", "let tasks name one task"],
    ),
    "a limit that is no number": (
        of_sides("final_score", "reinforce", BEST | {"cost_at_most": "low"}),
        ["cost_at_most of a side of comparison 1", "must be a number"],
    ),
    "nothing checked": (changed("checked", value=" "), ["checked of claim clipping_helps must be text"]),
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
    of_gradients = {*claims.GRADIENT_METRICS, *claims.ESTIMATOR_METRICS, *claims.QUALITY_METRICS}
    assert set(analysis_claims.METRICS) - of_runs == of_gradients
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


SCORES = {"random_score": -1200, "reference_score": -200, "reference_source": "guessed", "steps": 1000}
TASKS = {
    "Pendulum-v1": SCORES,
    "squashed": {"id": "Pendulum-v1", "action_bounds": "squash"} | SCORES,
    "normalised": {"id": "Pendulum-v1", "normalize_rewards": True} | SCORES,
    "Acrobot-v1": {"random_score": -499, "reference_score": -100, "reference_source": "guessed", "steps": 1000},
}


def with_tasks(folder, content, **changes):
    """A grid of PPO on TASKS, some of them changed, that names a file of claims."""
    tasks = {name: {**about, **changes.get(name, {})} for name, about in TASKS.items()} | {
        name: about for name, about in changes.items() if name not in TASKS
    }
    return load(folder, content, grid={"seeds": [0], "tasks": tasks, "algorithms": ["ppo", "reinforce"]})


def test_a_side_says_with_its_values_on_which_task_it_is(tmp_path):
    normalised = {"algorithm": "ppo", "on": {"normalize_rewards": True}}
    content = of_sides("auc", SQUASH, {"best_of": [CLIP, normalised]})
    sides = with_tasks(tmp_path, content).manifest()["claims"][8]["comparisons"][0]["sides"]
    empty = {"algorithm": "ppo", "gae_lambda": None, "critic": None}
    said = [
        ({"action_bounds": "squash", "normalize_rewards": False}, {"Pendulum-v1": "squashed"}),
        ({"action_bounds": "clip", "normalize_rewards": False}, dict.fromkeys(["Pendulum-v1"], "Pendulum-v1")),
        ({"action_bounds": "clip", "normalize_rewards": True}, {"Pendulum-v1": "normalised"}),
    ]
    said[1][1]["Acrobot-v1"] = "Acrobot-v1"
    squash, clip, normalised = ({**empty, "on": on, "tasks": tasks} for on, tasks in said)
    assert sides[0] == squash
    assert sides[1] == {**empty, "algorithm": None, "best_of": [clip, normalised]}


def test_tasks_that_cannot_be_compared_are_refused_when_the_grid_is_read(tmp_path):
    content = of_sides("auc", SQUASH, CLIP)
    for changes, said in (
        ({"random_score": -1300}, "squashed and on Pendulum-v1, whose random_score is -1300 and -1200; give both"),
        ({"reference_score": -100}, "whose reference_score is -100 and -200"),
        ({"steps": 2000}, "whose steps is 2000 and 1000"),
    ):
        with pytest.raises(GridError, match=said):
            with_tasks(tmp_path, content, squashed=changes)
    with_tasks(tmp_path, of_sides("auc", SQUASH, CLIP, differing_in=["action_bounds", "steps"]), squashed=changes)
    content = of_sides("steps_to_threshold", SQUASH, CLIP)
    with pytest.raises(GridError, match="whose threshold is -300 and None"):
        with_tasks(tmp_path, content, squashed={"threshold": -300})


def test_two_tasks_that_fit_a_side_are_refused(tmp_path):
    with pytest.raises(GridError, match=r"on \{action_bounds: squash\}, and of .* squashed and again are this"):
        with_tasks(tmp_path, of_sides("auc", SQUASH, CLIP), again=TASKS["squashed"])


def test_a_side_whose_algorithm_the_grid_does_not_have_may_be_nowhere(tmp_path):
    trpo = {"algorithm": "trpo", "on": {"action_bounds": "squash", "normalize_rewards": True}}
    grid = with_tasks(tmp_path, of_sides("auc", trpo, CLIP))
    assert grid.claims[8].comparisons[0].sides[0].tasks == {}


def test_what_was_checked_stands_in_the_manifest_of_claims_that_say_it(tmp_path):
    grid = load(tmp_path, changed("checked", value="The learning rates."))
    described = grid.manifest()["claims"]
    assert described[8]["checked"] == "The learning rates."
    assert all("checked" not in claim for claim in described[:8])


def test_the_example_of_sides_in_the_document_is_a_claim(tmp_path):
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- sides -->\n```yaml\n(.*?)```", text, re.DOTALL)[1]
    first, second, third = with_tasks(tmp_path, example).claims[8].comparisons
    assert [side.on for side in first.sides] == [{"action_bounds": "squash"}, {"action_bounds": "clip"}]
    assert [side.score for side in second.sides] == ["mode", "sampled"]
    assert [side.tasks["Pendulum-v1"] for side in third.singles()] == ["squashed", "Pendulum-v1", "normalised"]


def test_the_example_of_estimators_in_the_document_is_a_claim(tmp_path):
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- estimator_claim -->\n```yaml\n(.*?)```", text, re.DOTALL)[1]
    claim = load(tmp_path, example).claims[8]
    assert [side.estimator for comparison in claim.comparisons for side in comparison.sides] == [
        *("mine", "mine", "score_function", "mine", "mine")
    ]
    assert claim.comparisons[2].sides[0].at == {"sigma": 0.1}
