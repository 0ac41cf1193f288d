"""From probes to the laboratory's tables, figures and section, and what is said when a file is wrong or missing."""

import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis import figures
from analysis.drawing import theme
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table
from analysis.sections import TEXT
from analysis.sections import laboratory as face
from analysis.sections.laboratory import sentences as laboratory_findings
from analysis.sections.laboratory import tables as laboratory
from analysis.sections.laboratory.decided import biased_by_chance
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    HOPPER,
    edit_json,
    make_page,
    probe,
    says_nan,
    section_tables,
    write_grid,
    write_probe,
)
from tests.test_analysis import visible_text

TASKS = {"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}
ALGORITHMS = ("reinforce", "reinforce_baseline", "ppo", "my_method")
PROBES = [
    *(probe(task, fraction) for task in TASKS for fraction in (0, 0.5)),
    probe(EXACT, 0, "initialisation"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A grid without runs, with probes of two tasks and an exact problem: folder, gradients, and the page's text."""
    folder = tmp_path_factory.mktemp("results") / "made"
    grid = write_grid(folder, algorithms=ALGORITHMS, tasks=TASKS, probes=PROBES)
    for asked in PROBES:
        write_probe(folder, grid, asked)
    page = visible_text(make_page(folder, face.FIGURES))
    return folder, read_table(folder, "gradients"), page


@pytest.fixture
def one(tmp_path):
    """A single probe: the grid's folder and the probe's."""
    folder = tmp_path / "one"
    asked = probe("CartPole-v1", 0.1)
    grid = write_grid(folder, algorithms=("reinforce", "ppo"), tasks={"CartPole-v1": CARTPOLE}, probes=[asked])
    write_probe(folder, grid, asked, batches=16)
    return folder, folder / asked["directory"]


def test_the_page_says_the_one_discount_of_every_task(made):
    folder, table, page = made
    assert "All estimators have one discount γ, that of the run whose critic they use: 0.99 (" in page
    grid = read_grid(folder)
    assert laboratory_findings.settings_text(grid, table).count("γ") == 1
    of_hopper = table.assign(gamma=np.where(table["task"] == "Hopper-v5", 0.98, table["gamma"]))
    said = laboratory_findings.settings_text(grid, of_hopper)
    assert re.search(r"0\.99 \(CartPole-v1, \S+\) and 0\.98 \(Hopper-v5\)\.", said)
    earlier = table.assign(gamma=np.where(table["algorithm"] == "ppo", 0.98, table["gamma"]))
    assert laboratory_findings.settings_text(grid, earlier) == ""


def pick(table: pd.DataFrame, **keys) -> pd.Series:
    """The one row with these values."""
    for column, value in keys.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_every_estimator_has_a_row_at_every_size(made):
    table = made[1]
    about = json.loads((made[0] / PROBES[0]["directory"] / "probe.json").read_text(encoding="utf-8"))
    own = table[(table["task"] == "CartPole-v1") & (table["fraction"] == 0)]
    expected = {(entry["id"], size) for entry in about["estimators"] for size in entry["sizes"]}
    assert set(zip(own["estimator"], own["episodes"], strict=True)) == expected
    assert own.groupby("episodes")["main"].unique().map(list).to_dict() == {1: [0], 8: [1]}
    assert (own[own["main"] == 1]["batches"] == 48).all()


def test_reinforce_has_ratio_1_and_no_bias_and_normalised_advantages_have_neither(made):
    here = made[1][(made[1]["task"] == "Hopper-v5") & (made[1]["fraction"] == 0.5) & (made[1]["main"] == 1)]
    reinforce = pick(here, algorithm="reinforce")
    assert reinforce[["ratio", "ratio_low", "ratio_high"]].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert reinforce[["relative_bias", "relative_bias_low", "relative_bias_high"]].tolist() == [0, 0, 0]
    assert reinforce[["verdict", "note"]].tolist() == ["unbiased", "the same as its reference"]
    normalized = pick(here, algorithm="ppo", critic="trained", advantages="normalized")
    assert normalized[["variance", "ratio", "bias_squared", "relative_bias", "verdict"]].isna().all()
    assert normalized[["snr", "pairwise_cosine", "cosine", "true_cosine", "ceiling"]].notna().all()
    assert "only what does not depend on their scale" in normalized["note"]


def test_the_measures_are_those_of_the_gradients_that_were_made_up(made):
    """Noise of the reference: half of it left with a critic as trained at half of training; bias grows with trust."""
    here = made[1][(made[1]["task"] == "CartPole-v1") & (made[1]["fraction"] == 0.5) & (made[1]["main"] == 1)]
    baseline = pick(here, algorithm="reinforce_baseline", critic="trained")
    left = (1 - 0.6 * 0.55) ** 2 + 0.1**2
    assert baseline["ratio_low"] < left < baseline["ratio_high"]
    gae = here[(here["kind"] == "gae") & (here["critic"] == "trained")].sort_values("gae_lambda")
    assert gae["ratio"].is_monotonic_increasing
    assert gae["relative_bias"].is_monotonic_decreasing
    assert gae.iloc[0]["verdict"] == "biased"
    assert gae.iloc[-1]["verdict"] != "biased"


def test_an_estimate_lies_within_its_interval_and_a_cosine_below_its_ceiling(made):
    table = made[1]
    for measure in ("variance", "ratio", "relative_bias", "cosine", "true_cosine"):
        known = table[table[f"{measure}_low"].notna()]
        assert len(known) > 10
        assert (known[f"{measure}_low"] <= known[measure] + 1e-9).all()
        assert (known[measure] <= known[f"{measure}_high"] + 1e-9).all()
    exact = table[table["exact"] == 1]
    assert exact["ceiling"].to_numpy() == pytest.approx(1)
    assert table[table["exact"] == 0]["ceiling"].between(0, 1, inclusive="left").all()


def test_theory_expects_bias_where_an_estimator_bootstraps_on_a_wrong_critic(made):
    exact = made[1][(made[1]["exact"] == 1) & (made[1]["main"] == 1) & (made[1]["advantages"] == "raw")]
    biased = set(exact[exact["expected"] == "biased"]["estimator"])
    assert biased == {"ppo wrong raw", "my_method wrong raw", "gae 0.0 wrong", "gae 0.5 wrong", "gae 0.9 wrong"}
    assert (exact[~exact["estimator"].isin(biased)]["expected"] == "unbiased").all()
    assert (exact[exact["estimator"].isin(["ppo wrong raw", "gae 0.0 wrong"])]["verdict"] == "biased").all()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "biased"),
        ({"bootstraps": None}, None),
        ({"bootstraps": False}, "unbiased"),
        ({"critic": "exact"}, "unbiased"),
        ({"kind": "gae", "gae_lambda": 1.0}, "unbiased"),
        ({"kind": "gae", "gae_lambda": 0.5, "bootstraps": None}, "biased"),
        ({"kind": "compatible", "critic": "compatible"}, "unbiased"),
        ({"advantages": "normalized"}, None),
    ],
)
def test_what_theory_expects_of_an_estimator(changes, expected):
    about = {"exact": True, "episodes": {"mean_length": 7.5}}
    estimator = {"kind": "algorithm", "critic": "wrong", "bootstraps": True, "advantages": "raw", "gae_lambda": None}
    assert laboratory.expectation({**estimator, **changes}, about) == expected
    one_step = {**about, "episodes": {"mean_length": 1.0}}
    if expected == "biased":
        assert laboratory.expectation({**estimator, **changes}, one_step) == "unbiased"


def test_another_estimator_moves_no_number(one):
    folder, directory = one
    before = section_tables("laboratory", grid=read_grid(folder))["gradients"]
    about = json.loads((directory / "probe.json").read_text(encoding="utf-8"))
    first, left_out, *others = about["estimators"]
    edit_json(directory / "probe.json", estimators=[first, *others])
    after = section_tables("laboratory", grid=read_grid(folder))["gradients"]
    kept = before[before["estimator"] != left_out["id"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(after, kept)


def lines_of(axes) -> list:
    """Lines with several points: no marks of a legend, no single points."""
    return [line for line in axes.lines if len(line.get_xdata()) > 1]


def test_figures_are_made_without_warnings_and_hold_the_data(made):
    folder, table, _ = made
    theme.apply()
    grid = read_grid(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {name: figures.draw(grid, name) for name in face.FIGURES}
        for figure in drawn.values():
            theme.image_bytes(figure, "svg")
    variance = drawn["gradient_variance"].axes
    assert [axes.get_title(loc="left") for axes in variance] == list(TASKS)
    row = pick(
        table[(table["main"] == 1) & (table["advantages"] == "raw")],
        **{"task": "Hopper-v5", "fraction": 0.5, "algorithm": "my_method", "critic": "fitted"},
    )
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines_of(variance[1])])
    assert np.isclose(heights, row["ratio"]).any()
    direction = drawn["gradient_direction"].axes
    assert [axes.get_title(loc="left") for axes in direction[:2]] == ["CartPole-v1, 0 %", "CartPole-v1, 50 %"]
    assert len(direction) == 4
    curve = drawn["gradient_bias_variance"].axes[3]
    assert {text.get_text() for text in curve.texts} >= {"0", "1"}
    critics = drawn["critic_error"].axes[0]
    assert any(np.allclose(line.get_ydata(), [0.3, 0.55]) for line in critics.lines)
    problems = drawn["exact_problems"].axes
    assert [axes.get_title(loc="left") for axes in problems] == ["TabularMDP-v0"]
    names = [label.get_text() for label in problems[0].get_yticklabels()]
    assert "REINFORCE with baseline, wrong critic" in names
    assert "my_method, exact critic" in names
    assert len(problems[0].patches) == 5  # the shaded rows
    plt.close("all")


def test_every_seed_is_a_line_when_there_are_several(tmp_path):
    folder = tmp_path / "seeds"
    probes = [probe("CartPole-v1", fraction, seed=seed) for seed in (0, 1, 2) for fraction in (0, 1)]
    grid = write_grid(folder, algorithms=("reinforce", "my_method"), tasks={"CartPole-v1": CARTPOLE}, probes=probes)
    for asked in probes:
        write_probe(folder, grid, asked, batches=8)
    page = visible_text(make_page(folder, face.FIGURES))
    theme.apply()
    axes = figures.draw(read_grid(folder), "gradient_variance").axes[0]
    thin = [line for line in axes.lines if line.get_linewidth() == 0.7]
    assert len(thin) == 3 * 3  # REINFORCE, and the other with each of its critics
    plt.close("all")
    assert re.search(r"my_method has \d+ % \(\d+ to \d+ over 3 seeds\) of REINFORCE’s variance", page)
    assert "50 %, seed" not in page
    assert "100 %, seed 2" in page


def test_an_algorithm_of_another_name_is_in_the_figures_the_tables_and_the_sentences(made):
    folder, _, page = made
    for name in ("gradient_variance", "gradient_direction", "exact_problems"):
        assert "my_method" in (folder / f"figures/{name}.svg").read_text(encoding="utf-8")
    section = page.split("Every policy-gradient algorithm estimates")[1].split("Where a run’s time went")[0]
    assert section.count("my_method") > 10


def test_the_section_computes_its_sentences(made):
    _, table, page = made
    assert "5 of the 5 requested probes are there." in page
    assert "a probe (the measurement at one frozen policy) is 48 batches of 8 episodes" in page
    row = pick(
        table[(table["main"] == 1) & (table["advantages"] == "raw")],
        **{"task": "CartPole-v1", "fraction": 0.5, "algorithm": "reinforce_baseline", "critic": "trained"},
    )
    share = laboratory_findings.share(row["ratio"], row["ratio_low"], row["ratio_high"]).replace("\xa0", " ")
    assert f"At 50 % of training, REINFORCE with baseline has {share} of REINFORCE’s variance" in page
    assert "TabularMDP-v0: of " in page
    assert "experiments.exact" not in page
    assert not says_nan(page)
    verdicts = table[(table["main"] == 1) & (table["advantages"] == "raw")]["verdict"].value_counts()
    assert f"{verdicts['biased']} differ from 0" in page
    assert f"{verdicts['undecided']} are undecided" in page


def test_the_policies_are_those_of_a_training_run_and_no_sample_of_them(made):
    page = made[2]
    assert "kept from 1 training run per task (PPO; seed 0), and “the critic as trained” is that run’s" in page
    probes = [probe(task, 0.5, seed=seed) for task in TASKS for seed in range(2 + (task == "Hopper-v5"))]
    grid = read_grid(made[0])
    several = laboratory_findings.policies_text(replace(grid, all_probes=probes))
    assert "from 2 to 3 training runs per task (PPO; seeds 0, 1, 2)" in several
    assert laboratory_findings.policies_text(replace(grid, all_probes=[])) == ""


def test_n_is_that_of_the_policies_in_a_figure_task_by_task(made):
    _, table, page = made
    assert page.count("n = 48 batches of 8 episodes per frozen policy.") == 2 * 3  # above a caption and in it
    changed = table.copy()
    changed.loc[changed["task"] == "Hopper-v5", "episodes"] *= 2
    changed.loc[changed["exact"] == 1, "batches"] = 9
    of = {name: laboratory_findings.sample_text(name, changed) for name in face.FIGURES}
    by_task = "n = 48 batches of 8 (CartPole-v1) or 16 episodes (Hopper-v5) per frozen policy."
    assert of["gradient_variance"] == of["gradient_bias_variance"] == by_task
    assert of["exact_problems"] == "n = 9 batches of 8 episodes per frozen policy."
    assert of["gradient_direction"] == of["critic_error"] == ""


def test_entries_with_equal_settings_are_named_once(made):
    folder, table, _ = made
    grid = read_grid(folder)
    kept = table[~table["algorithm"].isin(["my_method"])]
    own = kept[kept["algorithm"] == "ppo"]
    same = pd.concat([kept, own.assign(algorithm="my_method", estimator=own["estimator"].str.replace("ppo", "mine"))])
    said = laboratory_findings.overview(grid, same)
    assert len(said) == 3
    assert said[0].startswith("REINFORCE: median cosine of a batch")
    assert "of it" not in said[0]
    assert said[2].startswith("PPO and my_method: less variance than REINFORCE")
    same = same.reset_index(drop=True)
    other = (same["algorithm"] == "my_method") & (same["advantages"] == "normalized") & (same["main"] == 1)
    assert other.any()
    same.loc[other, "true_cosine"] += 0.1
    assert len(laboratory_findings.overview(grid, same)) == 4


def test_what_is_against_the_textbook_is_said(made):
    folder, table, page = made
    grid = read_grid(folder)
    assert "Nothing contradicts it. No estimator has clearly more variance than REINFORCE" in page
    rows = (table["task"] == "Hopper-v5") & (table["main"] == 1) & (table["advantages"] == "raw")
    noisy = rows & (table["algorithm"] == "my_method") & (table["critic"] == "fitted") & (table["fraction"] == 0)
    changed = table.copy()
    changed.loc[noisy, ["ratio", "ratio_low", "ratio_high"]] = [1.4, 1.1, 1.7]
    shifted = rows & (table["algorithm"] == "reinforce_baseline") & (table["critic"] == "trained")
    biases = ["relative_bias", "relative_bias_low", "relative_bias_high", "verdict"]
    changed.loc[shifted & (table["fraction"] == 0.5), biases] = [0.3, 0.2, 0.4, "biased"]
    ends = rows & (table["kind"] == "gae") & (table["critic"] == "trained") & (table["gae_lambda"] == 0)
    changed.loc[ends & (table["fraction"] == 0), ["ratio", "ratio_low", "ratio_high"]] = [0.98, 0.95, 0.99]
    said = [text.replace("\xa0", " ") for text in laboratory_findings.contradictions(grid, changed)]
    assert said[0] == (
        "Hopper-v5 at 0 % of training (seed 0): my_method, fitted critic has more variance than REINFORCE, 140 % "
        "[110, 170]."
    )
    assert said[1].startswith(
        "Hopper-v5 at 50 % of training (seed 0): REINFORCE with baseline, critic as trained is off by 30 % [20, 40], "
        "where theory says that it is unbiased"
    )
    assert "is seen to be biased. Where none is, about " in said[2]
    assert "critic as trained: λ = 0 has more variance (98 % [95, 99] of REINFORCE’s) than λ = 1" in said[3]


@pytest.mark.parametrize(
    ("biased", "said"), [(0, None), (1, "1 is"), (5, "no more than chance explains"), (6, "This is more than chance")]
)
def test_estimators_that_look_biased_are_held_against_chance(biased, said):
    """Of 50 unbiased ones 2.5 look biased by chance, and more than 5 in 3.8 % of cases."""
    verdicts = ["biased"] * biased + ["undecided"] * (50 - biased)
    found = biased_by_chance(pd.DataFrame({"expected": "unbiased", "verdict": verdicts}))
    if said is None:
        assert found == []
    else:
        assert said in found[0]
        assert "about 2.5 would be by chance, each with an interval of its own, and more than 5 in at most" in found[0]


def test_without_probes_the_section_says_so_and_shows_no_figure(tmp_path):
    for name, probes, said in (
        ("unasked", [], "This grid asks for no probes"),
        ("unmade", PROBES, "None of the 5 requested probes is there"),
    ):
        folder = tmp_path / name
        write_grid(folder, tasks=TASKS, probes=probes)
        page = make_page(folder, face.FIGURES)
        assert said in visible_text(page)
        assert 'id="figure-gradient_variance"' not in page
        assert not says_nan(visible_text(page))


def test_missing_probes_are_named(made, tmp_path):
    folder = tmp_path / "partial"
    shutil.copytree(made[0], folder, ignore=shutil.ignore_patterns("figures", "tables", "report"))
    shutil.rmtree(folder / PROBES[0]["directory"])
    (folder / PROBES[3]["directory"] / "probe.json").unlink()
    shutil.rmtree(folder / PROBES[4]["directory"])
    page = visible_text(make_page(folder, face.FIGURES))
    assert "2 of the 5 requested probes are there; missing: CartPole-v1 at 0 % of training (seed 0), " in page
    assert "Hopper-v5 at 50 % of training (seed 0) and TabularMDP-v0." in page
    assert not says_nan(page)


@pytest.mark.parametrize("case", ["nothing varies", "everything is zero", "few batches", "one batch", "no signal"])
def test_degenerate_probes_have_defined_values_and_notes(tmp_path, case):
    folder = tmp_path / "degenerate"
    probes = [probe("CartPole-v1", 0.1), probe(EXACT, 0, "initialisation")]
    grid = write_grid(folder, algorithms=("reinforce", "ppo"), tasks={"CartPole-v1": CARTPOLE}, probes=probes)
    for asked in probes:
        options = {"few batches": {"batches": 3}, "one batch": {"batches": 1}, "no signal": {"signal": 0.0}}
        about = write_probe(folder, grid, asked, **options.get(case, {}))
        path = folder / asked["directory"] / "grams.npz"
        with np.load(path) as arrays:
            grams = dict(arrays)
        if case == "one batch":
            edit_json(path.with_name("probe.json"), sizes=[{**size, "batches": 1} for size in about["sizes"]])
            grams = {name: gram[:1, :1] for name, gram in grams.items()}
        if case in ("nothing varies", "everything is zero"):
            grams = {name: np.full_like(gram, case == "nothing varies") for name, gram in grams.items()}
        np.savez(path, **grams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = visible_text(make_page(folder, face.FIGURES))
    assert not says_nan(page)
    assert not re.search(r"\binf\b", page)
    table = read_table(folder, "gradients")
    main = table[table["main"] == 1]
    numbers = table.drop(columns=[name for name in table if name in TEXT["gradients"]])
    assert not np.isinf(numbers.astype(float)).any(axis=None)
    notes = " ".join(main["note"].fillna(""))
    assert {
        "nothing varies": "does not vary: no signal-to-noise ratio",
        "everything is zero": "48 of 48 gradients are 0: their cosines count as 0",
        "few batches": "fewer than 8 batches: no intervals",
        "one batch": "one batch: nothing can be estimated",
        "no signal": "the reference is not told from 0",
    }[case] in notes


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def change_arrays(path: Path, change) -> None:
    with np.load(path) as arrays:
        grams = dict(arrays)
    change(grams)
    np.savez(path, **grams)


def edit_estimator(**changes):
    def mistake(path: Path) -> None:
        estimators = json.loads(path.read_text(encoding="utf-8"))["estimators"]
        estimators[-1] |= changes
        edit_json(path, estimators=estimators)

    return mistake


def edit_probe(**changes):
    def mistake(path: Path) -> None:
        edit_json(path, probe=json.loads(path.read_text(encoding="utf-8"))["probe"] | changes)

    return mistake


MISTAKES = {
    "cut json": ("probe.json", truncate, "incomplete or invalid JSON"),
    "schema": ("probe.json", lambda path: edit_json(path, schema=99), "schema is 99, this version reads"),
    "task": ("probe.json", edit_probe(task="Hopper-v5"), "task is 'Hopper-v5', the grid has 'CartPole-v1'"),
    "seed": ("probe.json", edit_probe(seed=3), "seed is 3, the grid has 0"),
    "exact": ("probe.json", lambda path: edit_json(path, exact=True), "exact is True, the grid has False"),
    "size": ("probe.json", lambda path: edit_json(path, batch_size=5), "batch_size is 5; sizes has 1, 8"),
    "kind": ("probe.json", edit_estimator(kind="gea"), "has 'gea'; valid are gae"),
    "algorithm": ("probe.json", edit_estimator(algorithm="pop"), "has 'pop'; valid are ppo"),
    "reference": ("probe.json", edit_estimator(bias_reference="exact 0.9"), "has 'exact 0.9'; valid are"),
    "lambda": ("probe.json", edit_estimator(gae_lambda=None), "has gae_lambda = None; expected int or float"),
    "bootstraps": ("probe.json", edit_estimator(bootstraps="yes"), "has bootstraps = 'yes'; expected bool or null"),
    "cut arrays": ("grams.npz", truncate, "incomplete or invalid file of arrays"),
    "empty arrays": ("grams.npz", lambda path: path.write_bytes(b""), "incomplete or invalid file of arrays"),
    "no arrays": ("grams.npz", Path.unlink, "no such file; delete its folder"),
    "array": (
        "grams.npz",
        lambda path: change_arrays(path, lambda grams: grams.pop("reinforce none raw/8/self")),
        "no array 'reinforce none raw/8/self' among its",
    ),
    "shape": (
        "grams.npz",
        lambda path: change_arrays(path, lambda grams: grams.update({"return 0.99/8": np.zeros((3, 4), "f4")})),
        "'return 0.99/8' is float32 of shape (3, 4); expected floats of shape (32, 32)",
    ),
    "not finite": (
        "grams.npz",
        lambda path: change_arrays(path, lambda grams: grams["return 0.99/1"].__setitem__((0, 0), np.nan)),
        "'return 0.99/1' has a value that is not finite",
    ),
    "objects": (
        "grams.npz",
        lambda path: change_arrays(path, lambda grams: grams.update({"return 0.99/1": np.array([{}], dtype=object)})),
        "incomplete or invalid file of arrays",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_spoilt_probe_is_named_with_what_is_wrong(one, mistake):
    folder, directory = one
    file, spoil, said = MISTAKES[mistake]
    spoil(directory / file)
    with pytest.raises(results.ResultsError) as error:
        section_tables("laboratory", grid=read_grid(folder))
    assert str(directory / file) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_byte_in_the_middle_of_the_arrays_is_noticed(one):
    folder, directory = one
    path = directory / "grams.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(results.ResultsError, match=r"grams\.npz: incomplete or invalid file of arrays"):
        section_tables("laboratory", grid=read_grid(folder))


def test_a_grid_without_the_key_probes_is_refused(one):
    folder, _ = one
    content = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    del content["probes"]
    (folder / "grid.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(results.ResultsError, match="has no key 'probes'"):
        read_grid(folder)
