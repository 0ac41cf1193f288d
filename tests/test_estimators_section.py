"""The section on estimators against the truth: its tables, figures and sentences from probes that were made up."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.drawing import theme
from analysis.reading import checks as results
from analysis.reading.estimations import read_estimation
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table
from analysis.sections import estimators as face  # its constants
from analysis.sections.estimators import figures, sentences
from analysis.sections.estimators.looks import looks, setting_sweeps, sweeps, variant_title
from analysis.sections.estimators.tables import at_main_size, estimators
from analysis.statistics import known
from tests.analysis_fixtures import EXACT, claim, make_page, probe, write_grid, write_probe
from tests.estimator_fixtures import MAIN, SIZES, estimator_probe, write_all


def about(estimator: str, metric: str = "variance") -> dict:
    """An entry of a grid's comparisons about one estimator."""
    side = {"algorithm": None, "gae_lambda": None, "critic": None, "estimator": estimator}
    return {
        **{"metric": metric, "sides": [side], "direction": "lower", "smallest_effect": 0.05, "tasks": "exact"},
        **{"from_fraction": 0.0, "differing_in": []},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A grid with probes of five problems: folder, the table, and the page's HTML."""
    folder = tmp_path_factory.mktemp("results") / "made"
    stated = [claim("pathwise_is_quiet", about("pathwise")), claim("loo_is_quiet", about("leave_one_out"))]
    probes = write_all(folder)
    write_grid(folder, algorithms=(), tasks={}, probes=probes, claims=stated)
    page = make_page(folder, face.FIGURES)
    return folder, read_table(folder, "estimators"), page


def pick(table: pd.DataFrame, **keys) -> pd.Series:
    for column, value in keys.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_every_estimator_has_a_row_at_every_place_and_size(made):
    _, table, _ = made
    assert sorted(table["size"].unique()) == list(SIZES)
    assert (table.loc[table["main"] == 1, "size"] == MAIN).all()
    keys = ["problem", "place", "estimator", "settings", "size"]
    assert not table.duplicated(keys).any()
    assert set(table["problem"]) == {"quadratic", "step", "game", "arms", "chain"}
    assert (table["batches"] == 64).all()


def test_the_measures_are_those_of_the_estimates_that_were_made_up(made):
    _, table, _ = made
    row = pick(table, problem="quadratic", place="d = 8, σ = 1", estimator="pathwise", main=1)
    assert row["variance_low"] < 8 * (0.3 / 8**0.5) ** 2 / MAIN < row["variance_high"]
    assert row["relative_bias_low"] == 0
    assert row["relative_bias_high"] < 0.05
    assert row["verdict"] == "unbiased"
    assert row["cost"] == pytest.approx(row["variance"])  # an estimate takes a millisecond
    score = pick(table, problem="quadratic", place="d = 8, σ = 1", estimator="score_function", main=1)
    assert (score["ratio"], score["ratio_low"], score["ratio_high"]) == (1, 1, 1)
    assert row["ratio"] == pytest.approx(row["variance"] / score["variance"])
    deterministic = pick(table, problem="quadratic", place="d = 8, σ = 1", estimator="deterministic", main=1)
    assert deterministic["relative_bias"] == pytest.approx(0.3)
    assert deterministic["variance"] == 0
    assert deterministic["verdict"] == "biased"
    hot = pick(
        table, problem="arms", place="arms = 4", estimator="gumbel_softmax", settings='{"temperature": 1.0}', main=1
    )
    assert hot["relative_bias_low"] < 0.4 < hot["relative_bias_high"]


def test_a_wrong_zero_is_as_far_off_as_the_truth_is_long(made):
    _, table, _ = made
    row = pick(table, problem="step", place="d = 1, σ = 1", estimator="pathwise", main=1)
    assert row["relative_bias"] == 1
    assert row["true_cosine"] == 0
    assert row["verdict"] == "biased"
    assert "64 of 64 estimates are 0" in row["note"]


def test_a_natural_gradient_is_held_against_its_own_truth(made):
    _, table, _ = made
    row = pick(table, problem="chain", place="γ = 0.9", estimator="natural", main=1)
    assert row["verdict"] == "unbiased"
    assert row["plain_cosine_low"] < 0.5 < row["plain_cosine_high"]
    assert row["reparameterised"] == 1
    assert pick(table, problem="chain", place="γ = 0.9", estimator="mine", main=1)["reparameterised"] == pytest.approx(
        0.6
    )


def test_another_estimator_moves_no_number(made, tmp_path):
    """Nor does it take anybody's colour."""
    folder, table, _ = made
    asked = estimator_probe("game")
    path = folder / asked["directory"] / "probe.json"
    record = json.loads(path.read_text())
    record["estimators"] = [entry for entry in record["estimators"] if entry["estimator"] != "counterfactual"]
    target = tmp_path / asked["directory"]
    target.mkdir(parents=True)
    (target / "probe.json").write_text(json.dumps(record))
    (target / "grams.npz").write_bytes((folder / asked["directory"] / "grams.npz").read_bytes())
    write_grid(tmp_path, algorithms=(), tasks={}, probes=[asked])
    grid = read_grid(tmp_path)
    less = estimators([(asked, read_estimation(grid, asked))])
    whole = table[(table["problem"] == "game") & (table["estimator"] != "counterfactual")]
    for name in ("ratio", "relative_bias_high", "true_cosine_low"):
        assert less[name].to_numpy() == pytest.approx(whole[name].to_numpy(), rel=1e-8, nan_ok=True)
    same = looks(less)
    assert {key: look for key, look in looks(table[table["problem"] == "game"]).items() if key in same} == same


@pytest.mark.filterwarnings("error")
def test_an_estimator_of_a_user_is_in_every_figure(made):
    """Without an edit: each figure with a legend or with names of rows has it there."""
    _, table, _ = made
    theme.apply()
    for name in face.FIGURES:
        figure = getattr(figures, name)(table)
        figure.canvas.draw()
        texts = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
        texts += [text.get_text() for found in figure.legends for text in found.get_texts()]
        assert "Mine" in texts, name
        plt.close(figure)


def test_figures_hold_the_data(made):
    _, table, _ = made
    theme.apply()
    figure = figures.variance_growth(table)
    game = next(axes for axes in figure.axes if axes.get_title("left").startswith("game"))
    main = at_main_size(table)
    own = main[(main["problem"] == "game") & (main["estimator"] == "counterfactual")]
    drawn = [list(line.get_ydata()) for line in game.lines]
    assert own["ratio"].tolist() in drawn
    plt.close(figure)


def test_without_estimators_figures_say_so():
    empty = pd.DataFrame(columns=face.TABLES["estimators"].split())
    for name in face.FIGURES:
        figure = getattr(figures, name)(empty)
        assert "this grid measures no estimator" in figure.axes[0].texts[0].get_text()
        plt.close(figure)


def test_a_sweep_is_along_one_number_with_all_others_fixed(made):
    main = at_main_size(made[1])
    (sigma, step) = sweeps(main, "sigma")
    assert (sigma.problem, sigma.fixed, sorted(sigma.rows["x"].unique())) == (
        "quadratic",
        "dimensions = 8",
        [0.1, 0.3, 1],
    )
    assert set(sigma.rows["place"]) == {"d = 8, σ = 0.1", "d = 8, σ = 0.3", "d = 8, σ = 1"}
    assert step.problem == "step"
    assert [(key, sweep.problem) for key, sweep in setting_sweeps(main)] == [
        ("degree", "quadratic"),
        ("temperature", "arms"),
    ]
    _, gumbel = setting_sweeps(main)[1]
    other = main["estimator"].eq("gumbel_softmax") & main["place"].eq("arms = 4")
    moved = main.assign(relative_bias=main["relative_bias"].where(~other, main["relative_bias"] * 3))
    assert (gumbel.fixed, setting_sweeps(moved)[1][1].fixed) == ("arms = 4, offset = 1000", "arms = 4")
    assert gumbel.rows["x"].dropna().tolist() == [0.1, 0.5, 1]
    assert gumbel.rows["x"].isna().sum() == 3  # those that have no temperature


def test_settings_are_said_and_switches_that_are_off_are_not():
    assert variant_title("relaxed", {"temperature": 0.5, "common_noise": False}) == "relaxed (temperature 0.5)"
    assert variant_title("loo", {"common_noise": True}) == "loo (common noise)"
    assert variant_title("natural", {"fisher": "exact"}) == "natural (fisher exact)"


def test_the_page_has_a_sentence_and_a_verdict_above_its_figures(made):
    _, _, page = made
    section = page.split('id="estimators"')[1].split("</section>")[0]
    before, after = section.split('id="figure-estimator_variance"')
    assert 'class="verdict supported"' in before
    assert "Statement of loo_is_quiet" in before
    assert "Mine" in after
    for figure in face.FIGURES:
        assert f'id="figure-{figure}"' in section
    assert not re.search(r"\bnan\b", section)
    assert "pathwise on chain: pathwise needs a reward that has a slope" in section


def test_sentences_say_numbers(made):
    said = sentences.sentences(made[1])
    assert set(said) == set(face.FIGURES)
    assert all(said.values())
    assert "the largest bias is that of Pathwise at d = 1, σ = 0.1: 100\u00a0%" in " ".join(said["estimator_bias"])
    assert any(
        text.startswith("Gumbel softmax on arms") and "temperature 0.1 → 1" in text
        for text in said["estimator_settings"]
    )
    assert "Natural (fisher exact)" in said["natural_gradient"][0]


def test_a_grid_without_estimators_has_no_such_section(tmp_path):
    grid = write_grid(tmp_path, algorithms=("reinforce", "ppo"), probes=[probe(EXACT, 0, "initialisation")])
    write_probe(tmp_path, grid, grid["probes"][0])
    page = make_page(tmp_path, ())
    assert 'id="estimators"' not in page
    assert "Estimators against the truth" not in page


def test_problems_that_are_missing_are_named(made, tmp_path):
    _folder, table, _ = made
    write_grid(tmp_path, algorithms=(), tasks={}, probes=[estimator_probe("game"), estimator_probe("wave")])
    said = sentences.measured(read_grid(tmp_path), table[table["problem"] == "game"])
    assert said.endswith("Not measured yet: wave.")
    assert "3 places" in said
    nothing = sentences.measured(read_grid(tmp_path), table.iloc[:0])
    assert nothing == "No estimator has been measured yet. Not measured yet: game and wave."


def edited(change):
    """Spoil probe.json."""

    def spoil(folder):
        path = folder / "probe.json"
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    return spoil


def arrays_changed(change):
    """Spoil grams.npz."""

    def spoil(folder):
        with np.load(folder / "grams.npz") as found:
            arrays = dict(found)
        change(arrays)
        np.savez(folder / "grams.npz", **arrays)

    return spoil


FIRST = "0/score_function"
MISTAKES = {
    "no title": (edited(lambda r: r["estimators"][0].pop("title")), "estimators[0] has no key 'title'"),
    "another kind": (edited(lambda r: r.update(measures="gradients")), "measures is 'gradients'; valid are estimators"),
    "another task": (edited(lambda r: r["probe"].update(task="arms")), "task is 'arms', the grid has 'game' there"),
    "no such place": (
        edited(lambda r: r["estimators"][0].update(place=9)),
        "estimators[0].place is 9; there are 3 places",
    ),
    "no such truth": (
        edited(lambda r: r["estimators"][0].update(truth="x")),
        "estimators[0].truth is 'x'; valid are plain",
    ),
    "no main size": (edited(lambda r: r["estimators"][0].update(sizes=[1])), "batch_size, 8, is not among them"),
    "an array less": (arrays_changed(lambda a: a.pop(f"{FIRST}/8")), f"no array '{FIRST}/8'"),
    "a flat array": (arrays_changed(lambda a: a.update({f"{FIRST}/8": np.ones(5)})), "has the shape (5,); expected at"),
    "other parameters": (
        arrays_changed(lambda a: a.update({f"{FIRST}/8": np.ones((64, 5))})),
        "expected at least 2 estimates of 6 numbers each",
    ),
    "not finite": (arrays_changed(lambda a: a[f"{FIRST}/8"].fill(np.nan)), "has a value that is not finite"),
    "truth of another length": (arrays_changed(lambda a: a.update({"0/truth": np.ones(2)})), "of shape (6,)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_spoilt_probe_is_named_with_what_is_wrong(made, tmp_path, mistake):
    spoil, said = MISTAKES[mistake]
    asked = estimator_probe("game")
    target = tmp_path / asked["directory"]
    target.mkdir(parents=True)
    for name in ("probe.json", "grams.npz"):
        (target / name).write_bytes((made[0] / asked["directory"] / name).read_bytes())
    write_grid(tmp_path, algorithms=(), tasks={}, probes=[asked])
    spoil(target)
    with pytest.raises(results.ResultsError, match=re.escape(said)) as error:
        read_estimation(read_grid(tmp_path), asked)
    assert str(target) in str(error.value)


def test_the_direction_of_the_mean_covers_the_truth():
    """In 95 of 100 simulated sets of batches, and its value is that of its definition."""
    rng = np.random.default_rng(0)
    truth, mean = np.array([1.0, 0, 0, 0]), np.array([1.0, 1.0, 0, 0])
    expected = 1 / np.sqrt(2)
    inside = []
    for _ in range(400):
        found = known.direction_of_mean(mean + rng.normal(size=(40, 4)), truth)
        inside.append(found.low <= expected <= found.high)
    assert 0.91 <= np.mean(inside) <= 0.985
    many = mean + 0.1 * rng.normal(size=(23, 4))
    gram = many @ many.T
    square = (gram.sum() - np.trace(gram)) / (23 * 22)
    assert known.direction_of_mean(many, truth).value == pytest.approx((many @ truth).mean() / np.sqrt(square))
    assert np.isnan(known.direction_of_mean(rng.normal(size=(40, 4)) * 1e3, truth).low)
    assert np.isnan(known.direction_of_mean(many, np.zeros(4)).value)


def test_what_is_held_against_a_known_gradient_is_its_products():
    rng = np.random.default_rng(1)
    estimates, truth = rng.normal(size=(5, 3)), rng.normal(size=3)
    cross, reference = known.against(estimates, truth)
    assert cross == pytest.approx(estimates @ np.tile(truth, (5, 1)).T)
    assert reference == pytest.approx(np.full((5, 5), truth @ truth))
    values = rng.normal(size=20)
    found = known.mean(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(2.093 * values.std(ddof=1) / np.sqrt(20), rel=1e-3)
