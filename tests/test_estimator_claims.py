"""Claims about estimators: how they are read, and verdicts on estimates that were made up."""

import json
import re

import pandas as pd
import pytest
import yaml

from analysis.making import Maker
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table, write_table
from analysis.sections.claims import sentences
from analysis.sections.claims.verdicts import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTABLE
from analysis.sections.estimators.tables import estimators
from experiments import claims
from experiments.checks import GridError
from experiments.claims import read_claims
from experiments.metrics import OF_ESTIMATORS
from experiments.sources import ROOT
from tests.analysis_fixtures import claim, says_nan, write_grid
from tests.estimator_fixtures import write_all

SHIPPED = ROOT / "experiments" / "claims" / "estimators.yaml"


def compare(metric, *sides, direction="lower", smallest=0.05, tasks="exact") -> dict:
    """A comparison as it stands in a manifest; a side is a name or (name, settings, at)."""
    entries = []
    for side in sides:
        name, settings, at = side if isinstance(side, tuple) else (side, {}, {})
        entry = {"algorithm": None, "gae_lambda": None, "critic": None, "estimator": name}
        entries.append(entry | ({"settings": settings} if settings else {}) | ({"at": at} if at else {}))
    about = {"metric": metric, "sides": entries, "direction": direction, "smallest_effect": smallest, "tasks": tasks}
    return about | {"from_fraction": 0.0, "differing_in": []}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of probes, the grid's entries of them, and the table."""
    folder = tmp_path_factory.mktemp("results") / "made"
    probes = write_all(folder)
    write_grid(folder, algorithms=(), tasks={}, probes=probes)
    return folder, probes, Maker({"grid": read_grid(folder)}).table("estimators")


def verdicts_on(measured, *comparisons, table=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `claims` and `claim_tasks` of one claim with these comparisons."""
    folder, probes, known = measured
    write_grid(folder, algorithms=(), tasks={}, probes=probes, claims=[claim("mine", *comparisons)])
    maker = Maker({"grid": read_grid(folder), "estimators": known if table is None else table})
    return maker.table("claims"), maker.table("claim_tasks")


@pytest.mark.parametrize(
    ("comparison", "verdict", "figure"),
    [
        (compare("variance", "leave_one_out", "score_function"), SUPPORTED, "estimator_variance"),
        (compare("variance", "score_function", "leave_one_out"), CONTRADICTED, "estimator_variance"),
        (compare("variance", "leave_one_out", direction="higher"), CONTRADICTED, "estimator_variance"),
        (compare("relative_bias", "pathwise", direction="higher", tasks=["step"]), SUPPORTED, "estimator_bias"),
        (
            compare("relative_bias", "pathwise", direction="equal", smallest=0.25, tasks=["quadratic"]),
            SUPPORTED,
            "estimator_bias",
        ),
        (
            compare("relative_bias", "without_discount", direction="equal", smallest=0.1, tasks=["chain"]),
            CONTRADICTED,
            "estimator_bias",
        ),
        (
            compare(
                *("variance", ("pathwise", {}, {"dimensions": 32}), ("pathwise", {}, {"dimensions": 1})),
                tasks=["quadratic"],
            ),
            SUPPORTED,
            "variance_growth",
        ),
        (
            compare(
                *("absolute_variance", ("score_function", {}, {"sigma": 1}), ("score_function", {}, {"sigma": 0.1})),
                smallest=0.9,
                tasks=["quadratic", "step"],
            ),
            SUPPORTED,
            "estimator_sigma",
        ),
        (
            compare(
                *(
                    "relative_bias",
                    ("gumbel_softmax", {"temperature": 1}, {}),
                    ("gumbel_softmax", {"temperature": 0.1}, {}),
                ),
                direction="higher",
                smallest=0.1,
            ),
            SUPPORTED,
            "estimator_settings",
        ),
        (
            compare("cosine", "pathwise", "score_function", direction="higher", tasks=["quadratic"]),
            SUPPORTED,
            "estimator_cosine",
        ),
        (compare("cost", "pathwise", "score_function", tasks=["quadratic"]), SUPPORTED, "estimator_cost"),
        (compare("plain_cosine", ("natural", {"fisher": "batch"}, {})), UNTESTABLE, "natural_gradient"),
        (
            compare("plain_cosine", ("natural", {"fisher": "exact"}, {}), "score_function"),
            SUPPORTED,
            "natural_gradient",
        ),
        (
            compare("reparameterised", ("natural", {"fisher": "exact"}, {}), direction="higher", smallest=0.99),
            SUPPORTED,
            "natural_gradient",
        ),
        (
            compare("relative_bias", "score_function", direction="equal", tasks=["quadratic"]),
            UNDECIDED,
            "estimator_bias",
        ),
    ],
)
def test_the_verdict_is_that_of_the_estimates(measured, comparison, verdict, figure):
    found, places = verdicts_on(measured, comparison)
    assert (found["verdict"].iloc[0], found["figure"].iloc[0]) == (verdict, figure), found.iloc[0].to_dict()
    if verdict == UNTESTABLE:
        assert "no problem of the grid has" in found["reason"].iloc[0]
    else:
        assert found["unit"].iloc[0] == "places"
        assert not places.empty


def test_sides_are_compared_at_the_same_place_and_averaged_over_places(measured):
    found, places = verdicts_on(measured, compare("variance", "leave_one_out", "score_function"))
    assert found["asked"].iloc[0] == 9 + 3 + 3 + 2 + 2
    assert dict(zip(places["task"], places["n_first"], strict=True)) == {
        **{"quadratic": 9, "step": 3, "game": 3},
        **{"arms": 2, "chain": 2},
    }
    game = measured[2].query("problem == 'game' and estimator == 'leave_one_out' and main == 1")["ratio"]
    effect = places.loc[places["task"] == "game", "effect"].iloc[0]
    assert effect == pytest.approx(float((game.prod()) ** (1 / 3)))


def test_places_that_differ_in_a_number_are_paired_by_the_others(measured):
    sides = [("pathwise", {}, {"dimensions": d}) for d in (32, 1)]
    _, places = verdicts_on(measured, compare("variance", *sides, tasks=["quadratic"]))
    assert places["n_first"].iloc[0] == 3  # one for each σ
    _, places = verdicts_on(measured, compare("variance", ("pathwise", {}, {"dimensions": 8}), tasks=["quadratic"]))
    assert places["n_first"].iloc[0] == 3


def test_an_equality_says_where_it_is_furthest_off(measured):
    """And holds at every place: one that is off contradicts it."""
    sides = compare("relative_bias", "deterministic", direction="equal", smallest=0.25, tasks=["quadratic"])
    found, places = verdicts_on(measured, sides)
    assert found["verdict"].iloc[0] == CONTRADICTED
    assert found["effect"].iloc[0] == pytest.approx(0.3)
    assert re.fullmatch("furthest off at d = .*, σ = 1", places["note"].iloc[0])


def test_a_problem_that_lacks_a_side_is_left_out_of_all_and_named_where_it_is_asked_for(measured):
    _, places = verdicts_on(measured, compare("variance", "counterfactual", "score_function"))
    assert list(places["task"]) == ["game"]
    found, places = verdicts_on(
        measured, compare("variance", "counterfactual", "score_function", tasks=["game", "arms", "mars"])
    )
    assert found["verdict"].iloc[0] == SUPPORTED
    said = dict(zip(places["task"], places["note"], strict=True))
    assert said["arms"] == "Counterfactual was not measured there"
    assert said["mars"] == "the grid does not measure estimators on it"


def test_settings_that_a_claim_leaves_open_are_named(measured):
    found, places = verdicts_on(measured, compare("variance", "gumbel_softmax", tasks=["arms"]))
    assert found["verdict"].iloc[0] == UNTESTABLE
    assert "several settings (temperature 0.1; temperature 0.5; temperature 1)" in places["note"].iloc[0]


def test_a_switch_that_is_not_said_is_off(measured):
    main = measured[2]
    noisy = main[main["estimator"] == "leave_one_out"].assign(settings='{"common_noise": true}')
    for column in ("ratio", "ratio_low", "ratio_high"):
        noisy[column] *= 0.01
    table = pd.concat([main, noisy])
    _, places = verdicts_on(measured, compare("variance", "leave_one_out", tasks=["game"]), table=table)
    plain = places["effect"].iloc[0]
    on = ("leave_one_out", {"common_noise": True}, {})
    found, places = verdicts_on(measured, compare("variance", on, "leave_one_out", tasks=["game"]), table=table)
    assert places["effect"].iloc[0] == pytest.approx(0.01)
    assert plain > 0.1
    off = ("leave_one_out", {"common_noise": False}, {})
    _, places = verdicts_on(measured, compare("variance", off, tasks=["game"]), table=table)
    assert places["effect"].iloc[0] == pytest.approx(plain)
    assert found["first"].iloc[0] == "Leave one out (common noise)"


def test_a_grid_without_estimators_cannot_test_them(tmp_path):
    stated = [claim("mine", compare("variance", "pathwise", "score_function"))]
    write_grid(tmp_path, claims=stated)
    empty = estimators([])
    made = Maker({"grid": read_grid(tmp_path), "estimators": empty}).table("claims")
    assert made["verdict"].iloc[0] == UNTESTABLE
    assert made["reason"].iloc[0].startswith("the grid measures no estimators")


def test_the_page_says_what_was_compared(measured, tmp_path):
    folder = measured[0]
    comparisons = [
        compare("variance", "leave_one_out", "score_function"),
        compare("variance", "leave_one_out"),
        compare("relative_bias", "pathwise", direction="equal", smallest=0.25, tasks=["quadratic"]),
    ]
    for name, table in zip(("claims", "claim_tasks"), verdicts_on(measured, *comparisons), strict=True):
        write_table(tmp_path, name, table)
    page = sentences.page(read_grid(folder), *(read_table(tmp_path, name) for name in ("claims", "claim_tasks")))
    first, second, third = page["claims"][0]["comparisons"]
    assert first["effect"].startswith("Leave one out has ")
    assert first["effect"].endswith("of what Score function has")
    assert first["basis"] == "19 places of 5 problems whose true gradient is known"
    assert first["evidence"] == ("figure-estimator_variance", "Variance of every estimator")
    assert first["table"] == "estimators"
    assert second["effect"].endswith("of what the score function has")
    assert "single places" in second["spread"]
    assert third["needed"].replace("\u00a0", " ") == "at most 25 %"
    assert "Estimators" in page["how"]
    assert not says_nan(str(page))


SIDE = {"estimator": "pathwise"}
BASE = {"metric": "variance", "sides": [SIDE], "direction": "lower", "smallest_effect": 0.05, "tasks": "exact"}
MISTAKES = {
    "an algorithm beside": (
        {"sides": [SIDE | {"algorithm": "ppo"}]},
        "a side of comparison 1 of claim mine has algorithm beside estimator; it may have settings and at",
    ),
    "a metric of runs": (
        {"metric": "auc", "tasks": "all"},
        "has estimator, which is for variance, relative_bias, cosine",
    ),
    "another kind of side": (
        {"sides": [SIDE, "ppo"]},
        "comparison 1 of claim mine compares an estimator with something else; both sides must be estimators",
    ),
    "settings of nothing": (
        {"sides": [{"algorithm": "ppo", "settings": {"a": 1}}]},
        "has settings without the estimator",
    ),
    "a place of nothing": ({"sides": [{"algorithm": "ppo", "at": {"a": 1}}]}, "has at without the estimator"),
    "a place that is text": ({"sides": [SIDE | {"at": {"sigma": "small"}}]}, "at of a side of comparison 1"),
    "settings that are none": ({"sides": [SIDE | {"settings": 3}]}, "a mapping of the estimator's settings to values"),
    "places that do not pair": (
        {"sides": [SIDE | {"at": {"sigma": 1}}, SIDE | {"at": {"dimensions": 1}}]},
        "have at with different numbers; give both sides a value of the same ones",
    ),
    "a place on one side": (
        {"sides": [SIDE | {"at": {"sigma": 1}}, {"estimator": "score_function"}]},
        "have at with different numbers",
    ),
    "a metric of estimators": (
        {"metric": "plain_cosine", "sides": ["ppo"]},
        "must have an estimator; plain_cosine is measured of estimators alone",
    ),
    "one side of costs": ({"metric": "cost"}, "comparison 1 of claim mine has one side; cost compares two"),
    "the same twice": ({"sides": [SIDE, SIDE]}, "both sides of comparison 1 of claim mine are the same"),
    "no such key": ({"sides": [SIDE | {"setting": {}}]}, "has no key 'setting'"),
}


def written(folder, comparison):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"mine": {"statement": "A", "source": "B", "comparisons": [comparison]}}))
    return read_claims(path, "mine.yaml")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path, mistake):
    change, said = MISTAKES[mistake]
    with pytest.raises(GridError) as error:
        written(tmp_path, BASE | change)
    assert str(error.value).startswith("mine.yaml: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_side_stands_in_the_manifest_as_it_was_said(tmp_path):
    side = SIDE | {"settings": {"temperature": 0.5}, "at": {"sigma": 0.1}}
    (mine,) = written(tmp_path, BASE | {"sides": [side]})
    (described,) = json.loads(json.dumps(mine.described()))["comparisons"][0]["sides"]
    assert described == {"algorithm": None, "gae_lambda": None, "critic": None, **side}


def test_the_shipped_claims_say_what_they_need():
    """Each names estimators, says its tasks, and can be contradicted by a measure of them."""
    shipped = read_claims(SHIPPED, "estimators.yaml")
    assert len(shipped) >= 14
    for one in shipped:
        assert one.source
        for comparison in one.comparisons:
            assert comparison.metric in OF_ESTIMATORS
            assert comparison.tasks != "all"
            assert all(side.estimator for side in comparison.sides)
    assert set(claims.ESTIMATOR_METRICS) <= {c.metric for one in shipped for c in one.comparisons}


def test_no_shipped_claim_averages_rewards_far_from_zero_with_others():
    """Without a baseline the variance is a thousand times as large there, so that place would decide any average."""
    for one in read_claims(SHIPPED, "estimators.yaml"):
        for comparison in one.comparisons:
            if comparison.metric == "variance" and "score_function" in {side.estimator for side in comparison.sides}:
                averages = comparison.tasks == "exact" or "arms" in comparison.tasks
                assert not averages or all("offset" in (side.at or {}) for side in comparison.sides), one.id
