"""Claims about the quality of gradient estimates: how they are read, and their verdicts on made-up measurements."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.sections import FIGURES, TABLES
from analysis.sections.claims import sentences as claim_findings
from analysis.sections.claims.verdicts import CONTRADICTED, SUPPORTED, TOO_LITTLE, UNDECIDED, UNTESTABLE
from analysis.sections.claims.wording import HOW, OF_QUALITY
from experiments.checks import GridError
from experiments.claims import CLAIMS, read_claims
from experiments.metrics import HELD_METRICS, QUALITY_METRICS
from experiments.sources import ROOT
from tests.analysis_fixtures import HOPPER, claim, comparison, edit_json, section_tables, write_grid
from tests.quality_fixtures import quality_probe

SHIPPED = ROOT / "experiments/claims/gradient_quality.yaml"
TASKS = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5")
SEEDS, FRACTIONS = (0, 1, 2), (0, 0.5, 1)
PPO = {"algorithm": "ppo", "pairs": 3000}
VALUES = {"algorithm": "ppo", "against": "returns"}


def stated(metric="pairwise_cosine", first=PPO, second=None, **about) -> dict:
    return comparison(metric, first, second, **{"smallest_effect": 0.05, **about})


def probes(tasks=TASKS, seeds=SEEDS, fractions=FRACTIONS) -> list[dict]:
    return [quality_probe(task, fraction, "ppo", seed) for task in tasks for seed in seeds for fraction in fractions]


def judged(tmp_path, asked: dict, of=probes, quality=(), values=()) -> dict[str, pd.DataFrame]:
    """The tables of claims for one comparison, from rows of the tables `quality` and `value_quality`."""
    tasks = dict.fromkeys(TASKS, HOPPER)
    write_grid(tmp_path, algorithms=("ppo", "trpo"), tasks=tasks, probes=of(), claims=[claim("a", asked)])
    known = {"quality": quality, "value_quality": values}
    frames = {name: pd.DataFrame(rows, columns=list(TABLES[name])) for name, rows in known.items()}
    return section_tables("claims", grid=read_grid(tmp_path), **frames)


def row(tables) -> pd.Series:
    (found,) = (found for _, found in tables["claims"].iterrows())
    return found


def rows(cosine, half_width=0.02, of=probes, **about) -> list[dict]:
    """A row of the table `quality` for every probe; `cosine` is a number, or a function of the probe."""
    found = []
    for asked in of():
        value = cosine(asked) if callable(cosine) else cosine
        ends = {"": value, "_low": value - half_width, "_high": value + half_width}
        found.append(
            {name: asked[name] for name in ("task", "source", "seed", "fraction")}
            | {"value_function": "trained", "pairs": 3000}
            | {f"{name}{end}": of for name in ("pairwise_cosine", "reference_cosine") for end, of in ends.items()}
            | {f"ratio{end}": max(of, 0.001) for end, of in ends.items()}
            | about
        )
    return found


def errors(error, against: str, value_function: str = "trained", of=probes) -> list[dict]:
    """A row of the table `value_quality` for every probe; `error` is a function of the probe."""
    keys = ("task", "source", "seed", "fraction")
    about = {"value_function": value_function, "against": against}
    return [{name: asked[name] for name in keys} | about | {"relative_error": error(asked)} for asked in of()]


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(0.05, SUPPORTED), (0.22, CONTRADICTED), (0.2, UNDECIDED), (0.6, CONTRADICTED)]
)
def test_an_effect_of_one_side_is_held_against_than(tmp_path, cosine, verdict):
    found = row(judged(tmp_path, stated(direction="lower", than=0.25), quality=rows(cosine)))
    assert found["verdict"] == found["claim_verdict"] == verdict
    assert found["effect"] == pytest.approx(cosine)
    assert found["low"] < cosine < found["high"]
    assert (found["n_first"], found["asked"], found["tasks"]) == (27, 27, 3)
    assert found["claimed_high"] == pytest.approx(0.2)
    if cosine == 0.22:
        assert found["reason"] == "the whole interval is short of the smallest effect that counts"
    if cosine == 0.6:
        assert found["reason"] == "the opposite holds: the whole interval lies on the other side"


def test_without_than_the_effect_is_held_against_0(tmp_path):
    found = row(judged(tmp_path, stated(direction="higher"), quality=rows(0.1)))
    assert (found["verdict"], found["claimed_low"]) == (SUPPORTED, 0.05)


def test_only_the_sides_pairs_and_value_function_count(tmp_path):
    other = [*rows(0.9, pairs=1000), *rows(0.9, value_function="none"), *rows(0.9, source="trpo")]
    found = row(judged(tmp_path, stated(direction="lower", than=0.25), quality=[*rows(0.05), *other]))
    assert (found["effect"], found["n_first"]) == (pytest.approx(0.05), 27)


def test_from_fraction_leaves_out_earlier_policies(tmp_path):
    quality = rows(lambda probe: 0.9 if probe["fraction"] == 0 else 0.05)
    tables = judged(tmp_path, stated(direction="lower", than=0.25, from_fraction=0.1), quality=quality)
    found = row(tables)
    assert (found["verdict"], found["n_first"], found["asked"]) == (SUPPORTED, 18, 18)
    grid = read_grid(tmp_path)
    text = claim_findings.page(grid, tables["claims"], tables["claim_tasks"])["claims"][0]["comparisons"][0]
    assert text["basis"] == "18 frozen policies (none untrained) of 3 runs on each of 3 tasks"
    assert text["needed"].replace("\N{NO-BREAK SPACE}", " ") == "at most 0.2"
    assert text["effect"].startswith("PPO (3,000 pairs): 0.05 [0.0")
    assert text["evidence"] == ("figure-quality_agreement", FIGURES["quality_agreement"][1])
    assert text["table"] == "quality"


def test_two_shares_of_training_are_compared_within_a_run(tmp_path):
    quality = rows(lambda probe: 0.5 + 0.1 * probe["seed"] - 0.3 * probe["fraction"])
    asked = stated(first={**PPO, "fraction": 1}, second={**PPO, "fraction": 0}, direction="lower")
    tables = judged(tmp_path, asked, quality=quality)
    found = row(tables)
    assert (found["verdict"], found["effect"]) == (SUPPORTED, pytest.approx(-0.3))
    assert (found["n_first"], found["n_second"], found["asked"]) == (9, 9, 9)
    assert found["figure"] == "quality_training"
    nbsp = "\N{NO-BREAK SPACE}"
    assert found["first"].replace(nbsp, " ") == "PPO (3,000 pairs, at 100 % of training)"
    grid = read_grid(tmp_path)
    text = claim_findings.page(grid, tables["claims"], tables["claim_tasks"])["claims"][0]["comparisons"][0]
    assert text["basis"] == "9 runs, each at two shares of training: 3 runs on each of 3 tasks"


def test_a_variance_is_a_ratio_and_that_of_one_side_is_to_no_value_function(tmp_path):
    quality = [*rows(0.8), *rows(0.4, value_function="fitted")]
    tables = judged(tmp_path, stated("gradient_variance", direction="lower"), quality=quality)
    found = row(tables)
    assert (found["verdict"], found["effect"], found["scale"]) == (SUPPORTED, pytest.approx(0.8), "ratio")
    page = claim_findings.page(read_grid(tmp_path), tables["claims"], tables["claim_tasks"])
    text = page["claims"][0]["comparisons"][0]["effect"].replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("PPO (3,000 pairs, value function as trained) has 80 % [")
    assert text.endswith("of what no value function has")
    second = {**PPO, "value_function": "fitted"}
    found = row(judged(tmp_path, stated("gradient_variance", second, PPO, direction="lower"), quality=quality))
    assert (found["effect"], found["figure"]) == (pytest.approx(0.5), "quality_variance")


def test_agreement_with_two_value_functions_is_shown_in_their_figure(tmp_path):
    quality = [*rows(0.3), *rows(0.1, value_function="none")]
    asked = stated(second={**PPO, "value_function": "none"})
    found = row(judged(tmp_path, asked, quality=quality))
    assert (found["effect"], found["figure"]) == (pytest.approx(0.2), "quality_baselines")
    assert found["second"] == "PPO (3,000 pairs, no value function)"


def test_an_error_of_value_functions_has_its_interval_over_runs(tmp_path):
    values = errors(lambda probe: 0.6 + 0.1 * probe["seed"], "returns")
    values += errors(lambda probe: 0.1 - 0.05 * probe["seed"], "gae")
    asked = stated("value_error", VALUES, {**VALUES, "against": "gae"})
    found = row(judged(tmp_path, asked, values=values))
    effects = np.array([0.5, 0.65, 0.8])  # of the runs of each task
    assert found["effect"] == pytest.approx(0.65)
    half_width = 4.3027 * effects.std(ddof=1) / np.sqrt(3) / np.sqrt(3)  # Student's t, then the mean of three tasks
    assert (found["low"], found["high"]) == pytest.approx((0.65 - half_width, 0.65 + half_width), rel=1e-3)
    assert (found["verdict"], found["figure"]) == (SUPPORTED, "quality_values")
    assert found["first"] == "PPO (value function as trained, against true returns)"
    values[0]["relative_error"] = np.nan
    found = row(judged(tmp_path, asked, values=values))
    assert (found["n_first"], found["asked"]) == (26, 27)


@pytest.mark.parametrize(
    ("tasks", "seeds", "verdict"),
    [(TASKS[:1], SEEDS, TOO_LITTLE), (TASKS, SEEDS[:2], TOO_LITTLE), (TASKS[:2], SEEDS, SUPPORTED)],
)
def test_a_verdict_needs_policies_of_three_runs_on_two_tasks(tmp_path, tasks, seeds, verdict):
    def of():
        return probes(tasks, seeds)

    found = row(judged(tmp_path, stated(direction="lower", than=0.25), of, rows(0.05, of=of)))
    assert found["verdict"] == verdict
    if verdict == TOO_LITTLE:
        needed = "a verdict needs at least 3 runs whose frozen policies can be measured on each of 2 tasks"
        assert found["reason"].endswith(needed)


def test_what_the_grid_or_a_probe_lacks_is_said(tmp_path):
    asked = stated(direction="lower")
    assert row(judged(tmp_path, asked, list))["reason"] == "the grid has no probes of the quality of estimates of PPO"
    found = row(judged(tmp_path, asked))
    assert (found["verdict"], "none of its frozen policies has been measured yet" in found["reason"]) == (
        UNTESTABLE,
        True,
    )
    found = row(judged(tmp_path, stated(first={**PPO, "pairs": 500}), quality=rows(0.1)))
    assert "PPO (500 pairs) was not measured there: of pairs there is 3,000" in found["reason"]
    found = row(judged(tmp_path, stated(first={**PPO, "algorithm": "sac"}), quality=rows(0.1)))
    assert found["reason"] == "the grid has no algorithm sac"


def test_what_is_said_of_verdicts_names_these_measures_only_where_a_claim_has_them(tmp_path):
    tables = judged(tmp_path, stated(direction="lower"), quality=rows(0.05))
    shown = claim_findings.page(read_grid(tmp_path), tables["claims"], tables["claim_tasks"])
    assert shown["how"] == HOW | OF_QUALITY
    edit_json(tmp_path / "grid.json", claims=[claim("a", comparison("final_score", "ppo", "trpo"))])
    assert not claim_findings.about_quality(read_grid(tmp_path))


def test_a_key_of_a_wrong_kind_in_the_manifest_is_named(tmp_path):
    judged(tmp_path, stated(), quality=rows(0.1))
    edit_json(tmp_path / "grid.json", claims=[claim("a", stated(first={**PPO, "pairs": "many"}))])
    with pytest.raises(ResultsError, match="pairs = 'many'"):
        read_grid(tmp_path)
    edit_json(tmp_path / "grid.json", claims=[claim("a", stated(than="small"))])
    with pytest.raises(ResultsError, match="than = 'small'"):
        read_grid(tmp_path)


# ------------------------------------------------------------------------------------ how they are read


def read(tmp_path, **entry):
    """The one claim of a file with one comparison."""
    whole = {"metric": "pairwise_cosine", "sides": [PPO], "direction": "lower", "smallest_effect": 0.05} | entry
    text = yaml.safe_dump({"mine": {"statement": "A.", "source": "B", "comparisons": [whole]}})
    (tmp_path / "mine.yaml").write_text(text)
    (found,) = read_claims(tmp_path / "mine.yaml", "mine.yaml")
    return found


def test_sides_have_their_keys_in_the_manifest_and_no_others(tmp_path):
    entry = read(tmp_path, than=0.25).described()["comparisons"][0]
    assert entry["sides"] == [{"algorithm": "ppo", "gae_lambda": None, "critic": None, "pairs": 3000}]
    assert entry["than"] == 0.25
    assert "than" not in read(tmp_path).described()["comparisons"][0]
    assert "pairs" not in read_claims(CLAIMS, "claims.yaml")[0].described()["comparisons"][0]["sides"][0]


MISTAKES = {
    "no pairs": ({"sides": ["ppo"]}, "a side of comparison 1 of claim mine has no pairs, which pairwise_cosine needs"),
    "no algorithm": ({"sides": [{"pairs": 3000}]}, "has no algorithm, which pairwise_cosine needs"),
    "pairs of 0": ({"sides": [{**PPO, "pairs": 0}]}, "pairs of a side of comparison 1 of claim mine must be a whole"),
    "value function": (
        {"sides": [{**PPO, "value_function": "learned"}]},
        "must be one of trained, fitted, none, not 'learned'",
    ),
    "fraction": ({"sides": [{**PPO, "fraction": 2}]}, "must be a fraction of a run between 0 and 1, not 2"),
    "against": ({"sides": [{**PPO, "against": "gae"}]}, "has against, which is not for pairwise_cosine"),
    "critic": ({"sides": [{**PPO, "critic": "fitted"}]}, "has critic, which is not for pairwise_cosine"),
    "error without target": ({"metric": "value_error", "sides": ["ppo"]}, "has no against, which value_error needs"),
    "error with pairs": ({"metric": "value_error", "sides": [{**VALUES, "pairs": 9}]}, "pairs, which is not for value"),
    "error of none": (
        {"metric": "value_error", "sides": [{**VALUES, "value_function": "none"}]},
        "has value_function none, which has no error to measure",
    ),
    "two algorithms": (
        {"sides": [PPO, {**PPO, "algorithm": "trpo"}]},
        "compares two algorithms; pairwise_cosine compares at the policies of one",
    ),
    "one fraction": ({"sides": [PPO, {**PPO, "fraction": 1}]}, "one side of comparison 1 of claim mine has fraction"),
    "both": (
        {"sides": [{**PPO, "fraction": 1}], "from_fraction": 0.5},
        "has from_fraction, and its sides have fraction",
    ),
    "variances": (
        {"metric": "gradient_variance", "sides": [PPO, {**PPO, "pairs": 1000}]},
        "differ in pairs or fraction; gradient_variance compares value functions",
    ),
    "exact": ({"tasks": "exact"}, "is exact, which is for variance and"),
    "than": (
        {"metric": "auc", "sides": ["ppo", "trpo"], "than": 0.5},
        f"has than, which is for {', '.join(HELD_METRICS)}, not for auc",
    ),
    "pairs of a run": (
        {"metric": "auc", "sides": [PPO, "trpo"]},
        f"has pairs, which is for {', '.join(QUALITY_METRICS)}, not for auc",
    ),
    "best": ({"sides": [{"best_of": [PPO, {**PPO, "pairs": 9}]}, PPO]}, "has best_of, which is for"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_one_sentence(tmp_path, mistake):
    entry, said = MISTAKES[mistake]
    with pytest.raises(GridError) as error:
        read(tmp_path, **entry)
    assert said in str(error.value)
    assert str(error.value).startswith("mine.yaml: ")
    assert "\n" not in str(error.value)


def test_the_example_in_the_document_is_a_claim(tmp_path):
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- quality_claim -->\n```yaml\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "mine.yaml").write_text(example)
    (found,) = read_claims(tmp_path / "mine.yaml", "mine.yaml")
    assert [one.than for one in found.comparisons] == [0.25, None, None]
    assert {one.metric for one in found.comparisons} == {"pairwise_cosine", "value_error"}


def test_the_shipped_claims_name_their_paper_and_can_be_tested_by_a_grid_that_has_all(tmp_path):
    shipped = read_claims(SHIPPED, "experiments/claims/gradient_quality.yaml")
    assert len(shipped) >= 6
    assert all(entry.source.startswith("Ilyas et al. (2020), figure") for entry in shipped)
    used = {one.metric for entry in shipped for one in entry.comparisons}
    assert used == set(QUALITY_METRICS)
    quality = [
        one
        for value_function in ("trained", "fitted", "none")
        for pairs in (3_000, 10_000, 30_000, 100_000)
        for one in rows(0.3, pairs=pairs, value_function=value_function)
    ]
    values = [
        one
        for value_function in ("trained", "fitted")
        for against in ("gae", "returns")
        for one in errors(lambda probe: 0.3 + 0.01 * probe["seed"], against, value_function)
    ]
    tables = judged(tmp_path, stated(), quality=quality, values=values)
    claims = [entry.described() for entry in shipped]
    edit_json(tmp_path / "grid.json", claims=claims)
    frames = {"quality": quality, "value_quality": values}
    known = {name: pd.DataFrame(found, columns=list(TABLES[name])) for name, found in frames.items()}
    tables = section_tables("claims", grid=read_grid(tmp_path), **known)
    verdicts = tables["claims"].groupby("claim")["claim_verdict"].first()
    untested = set(verdicts[~verdicts.isin([SUPPORTED, CONTRADICTED, UNDECIDED])].index)
    assert untested == {"estimates_of_trpo_hardly_agree"}  # whose policies this grid does not have
    assert set(tables["claims"]["figure"]) <= set(FIGURES)
