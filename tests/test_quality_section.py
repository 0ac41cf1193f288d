"""From probes of the quality of gradient estimates to tables, figures and their section of the page."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis import figures
from analysis.drawing import theme
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table
from analysis.sections import quality as face
from analysis.sections.quality import sentences
from analysis.statistics import blocks, gradients
from analysis.verify import read_probe_record
from experiments.schema import STOPPED
from tests.analysis_fixtures import (
    HOPPER,
    claim,
    comparison,
    edit_json,
    make_page,
    says_nan,
    section_tables,
    write_grid,
)
from tests.quality_fixtures import drawn, inner_products, quality_probe, write_quality
from tests.test_analysis import visible_text
from tests.test_laboratory_report import change_arrays, edit_probe, truncate

TASKS = dict.fromkeys(("Hopper-v5", "Walker2d-v5"), HOPPER)
PROBES = [
    *(quality_probe(task, fraction, "ppo", seed) for task in TASKS for seed in (0, 1) for fraction in (0, 0.5, 1)),
    quality_probe("Hopper-v5", 1, "trpo"),
]
CLAIM = claim(
    "poor",
    comparison("pairwise_cosine", {"algorithm": "ppo", "pairs": 1000}, direction="lower", than=0.25),
    statement="Estimates are poor.",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A grid with probes of quality: its folder and the page's text."""
    folder = tmp_path_factory.mktemp("results") / "made"
    grid = write_grid(folder, algorithms=("ppo", "trpo"), tasks=TASKS, probes=PROBES, claims=[CLAIM])
    for asked in PROBES:
        write_quality(folder, grid, asked)
    return folder, make_page(folder, face.FIGURES)


@pytest.fixture
def one(tmp_path):
    """A single probe: the grid's folder and the probe's."""
    folder, asked = tmp_path / "one", quality_probe("Hopper-v5", 0.5)
    grid = write_grid(folder, algorithms=("ppo",), tasks={"Hopper-v5": HOPPER}, probes=[asked])
    write_quality(folder, grid, asked)
    return folder, folder / asked["directory"]


def test_every_value_function_and_number_of_pairs_of_a_probe_has_a_row(made):
    table = read_table(made[0], "quality")
    assert len(table) == len(PROBES) * 3 * 2
    assert table.groupby("pairs")["estimates"].unique().map(list).to_dict() == {1000: [12], 10_000: [9]}
    assert (table["blocks"] == 9).all()
    assert (table["reference_pairs"] == 80_000).all()
    assert len(read_table(made[0], "value_quality")) == len(PROBES) * 4


def test_measures_are_those_of_the_vectors(made):
    table = read_table(made[0], "quality")
    vectors = drawn(PROBES[1])
    arrays = inner_products(vectors)
    row = table[(table["value_function"] == "fitted") & (table["pairs"] == 1000)]
    row = row[(row["task"] == "Hopper-v5") & (row["source"] == "ppo") & (row["seed"] == 0) & (row["fraction"] == 0.5)]
    (row,) = row.to_dict("records")
    found, without = vectors["fitted/1000"], vectors["none/1000"]
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert row["pairwise_cosine"] == pytest.approx(cosines[~np.eye(12, dtype=bool)].mean())
    assert row["variance"] == pytest.approx(found.var(axis=0, ddof=1).sum())
    assert row["ratio"] == pytest.approx(found.var(axis=0, ddof=1).sum() / without.var(axis=0, ddof=1).sum())
    of = (arrays[f"fitted/{name}"] for name in ("1000", "1000/blocks", "blocks", "1000/block"))
    gram, cross, of_blocks, own = of
    for name, estimate in (
        ("reference_cosine", blocks.reference_cosine(gram, cross, of_blocks, own)),
        ("true_cosine", blocks.true_cosine(gram, cross, of_blocks, own)),
        ("pairwise_cosine", gradients.pairwise_cosine(gram)),
    ):
        assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(
            [estimate.value, estimate.low, estimate.high]
        )


def test_without_a_value_function_the_ratio_is_1_and_with_one_it_is_that_of_the_noise(made):
    table = read_table(made[0], "quality")
    ratios = table.groupby("value_function")["ratio"].median()
    assert ratios["none"] == pytest.approx(1)
    assert ratios[["trained", "fitted"]].tolist() == pytest.approx([0.8**2, 0.6**2], rel=0.05)


def test_few_estimates_and_few_blocks_have_no_intervals_and_the_note_says_so(tmp_path):
    asked = quality_probe("Hopper-v5", 0.5)
    grid = write_grid(tmp_path, algorithms=("ppo",), tasks={"Hopper-v5": HOPPER}, probes=[asked])
    write_quality(tmp_path, grid, asked, estimates=12, blocks=5)
    table = section_tables("quality", grid=read_grid(tmp_path))["quality"]
    few, many = table[table["pairs"] == 10_000], table[table["pairs"] == 1000]
    assert few["estimates"].unique().tolist() == [5]
    assert few["pairwise_cosine_low"].isna().all()
    assert many["pairwise_cosine_low"].notna().all()
    assert table["reference_cosine"].notna().all()
    assert table["reference_cosine_low"].isna().all()
    assert few["note"].str.contains("fewer than 8 estimates").all()
    assert table["note"].str.contains("fewer than 8 blocks").all()


def test_estimates_of_0_and_a_reference_that_is_not_told_from_0_are_noted(one):
    folder, directory = one

    def spoil(arrays) -> None:
        arrays["trained/blocks"] = np.eye(9)
        arrays["trained/1000"][0, :] = arrays["trained/1000"][:, 0] = 0.0

    change_arrays(directory / "grams.npz", spoil)
    table = section_tables("quality", grid=read_grid(folder))["quality"]
    row = table[(table["value_function"] == "trained") & (table["pairs"] == 1000)].iloc[0]
    assert np.isnan(row["true_cosine"])
    assert "1 of 12 estimates are 0" in row["note"]
    assert "the reference is not told from 0" in row["note"]


def test_a_probe_that_is_not_there_or_that_its_task_stopped_has_no_rows(made, tmp_path):
    grid = write_grid(tmp_path, algorithms=("ppo", "trpo"), tasks=TASKS, probes=PROBES)
    for asked in PROBES[:2]:
        write_quality(tmp_path, grid, asked)
    stopped = tmp_path / PROBES[1]["directory"] / "probe.json"
    edit_json(stopped, status=STOPPED, reason="a reward is infinite", estimates={}, blocks=0, values=[])
    (stopped.parent / "grams.npz").unlink()
    tables = section_tables("quality", grid=read_grid(tmp_path))
    for table in tables.values():
        assert table[["task", "seed", "fraction"]].drop_duplicates().to_numpy().tolist() == [["Hopper-v5", 0, 0]]
    page = visible_text(make_page(tmp_path, face.FIGURES))
    assert "1 frozen policy of 13: PPO on 1 task (1 run)." in page
    assert not says_nan(page)


MISTAKES = {
    "cut json": ("probe.json", truncate, "incomplete or invalid JSON"),
    "task": ("probe.json", edit_probe(task="Walker2d-v5"), "task is 'Walker2d-v5', the grid has 'Hopper-v5' there"),
    "fraction": ("probe.json", edit_probe(fraction=1), "fraction is 1, the grid has 0.5 there; probe it again"),
    "value function": (
        "probe.json",
        lambda path: edit_json(path, value_functions=["learned"]),
        "the file.value_functions has 'learned'; valid are trained, fitted, none",
    ),
    "target": (
        "probe.json",
        lambda path: edit_value(path, against="return"),
        "values[0].against has 'return'; valid are returns, gae",
    ),
    "error": (
        "probe.json",
        lambda path: edit_value(path, relative_error="small"),
        "values[0] has relative_error = 'small'",
    ),
    "estimates": ("probe.json", lambda path: edit_json(path, estimates={"1000": 12}), "estimates has no key '10000'"),
    "shape": (
        "grams.npz",
        lambda path: change_arrays(path, lambda arrays: arrays.update({"none/1000": np.zeros((3, 3))})),
        "'none/1000' is float64 of shape (3, 3); expected",
    ),
    "block": (
        "grams.npz",
        lambda path: change_arrays(path, lambda arrays: arrays["fitted/1000/block"].__setitem__(2, 9)),
        "'fitted/1000/block' has a number that is none of the 9 blocks, 0 to 8",
    ),
    "not finite": (
        "grams.npz",
        lambda path: change_arrays(path, lambda arrays: arrays["trained/blocks"].__setitem__((0, 0), np.inf)),
        "'trained/blocks' has a value that is not finite",
    ),
    "no arrays": ("grams.npz", lambda path: path.unlink(), "no such file; delete its folder"),
}


def edit_value(path, **changes) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))["values"]
    values[0] |= changes
    edit_json(path, values=values)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_spoilt_probe_is_named_with_what_is_wrong(one, mistake):
    folder, directory = one
    file, spoil, said = MISTAKES[mistake]
    spoil(directory / file)
    with pytest.raises(ResultsError) as error:
        section_tables("quality", grid=read_grid(folder))
    assert str(directory / file) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_verify_reads_the_arrays_of_such_a_probe(one):
    folder, directory = one
    grid = read_grid(folder)
    assert read_probe_record(grid, grid.quality_probes[0])["measures"] == "quality"
    truncate(directory / "grams.npz")
    with pytest.raises(ResultsError, match="incomplete or invalid file of arrays"):
        read_probe_record(grid, grid.quality_probes[0])


def test_the_page_has_a_sentence_and_the_verdicts_above_every_figure(made):
    page = visible_text(made[1]).replace("\N{NO-BREAK SPACE}", " ")
    assert page.count("Estimates are poor.") >= 2  # among the claims, and above its figure
    assert "Two estimates from 1,000 state–action pairs have a cosine of" in page
    assert "An estimate from 1,000 pairs and the mean gradient of 80,000 other pairs have a cosine of" in page
    assert "Of the variance of estimates from 1,000 pairs, the value function as trained leaves 6" in page
    assert "is off by 10 % from what it is trained on and 80 % from true returns" in page
    assert "13 frozen policies: PPO on 2 tasks (4 runs) and trpo on 1 task (1 run)." in page
    section = made[1][made[1].index('<section id="quality">') :]
    section = section[: section.index("</section>")]
    places = [section.index(f'id="figure-{name}"') for name in face.FIGURES]
    assert places == sorted(places)
    badge = section.index('<span class="verdict')
    assert section.index("Two estimates from") < places[0]
    assert badge < places[0]
    assert 'href="#claim-poor"' in section
    assert not says_nan(page)


def test_the_section_is_left_out_where_a_grid_asks_for_no_such_probes(tmp_path):
    write_grid(tmp_path, algorithms=("ppo",), tasks={"Hopper-v5": HOPPER})
    grid = read_grid(tmp_path)
    tables = section_tables("quality", grid=grid)
    assert sentences.page(grid, **tables, claims=tables["quality"]) is None
    assert face.TITLE not in make_page(tmp_path, ())


def test_where_none_of_the_probes_is_there_the_section_says_so(tmp_path):
    write_grid(tmp_path, algorithms=("ppo", "trpo"), tasks=TASKS, probes=PROBES)
    page = visible_text(make_page(tmp_path, face.FIGURES))
    assert "None of the 13 requested probes is there" in page


@pytest.fixture
def draw(made):
    """Draws a figure of the grid, and closes it."""
    opened = []

    def drawn_figure(name):
        theme.apply()
        opened.append(figures.draw(read_grid(made[0]), name))
        return opened[-1]

    yield drawn_figure
    for figure in opened:
        plt.close(figure)


@pytest.mark.parametrize("name", face.FIGURES)
def test_every_figure_has_a_panel_for_each_task_and_source_and_a_line_for_each_seed(draw, name):
    figure = draw(name)
    titles = [axes.get_title("left") for axes in figure.axes]
    places = ["Hopper-v5 (policies of PPO)", "Walker2d-v5", "Hopper-v5 (policies of trpo)"]
    if name == "quality_baselines":
        places = [f"{place}, {percent} %" for place in places for percent in (0, 50, 100)]
    assert titles == places
    walker = figure.axes[titles.index(places[1])]
    thin = [line for line in walker.lines if line.get_linewidth() == 0.7]
    thick = [line for line in walker.lines if line.get_marker() not in ("None", "", None)]
    series = {"quality_agreement": 3, "quality_reference": 3, "quality_training": 2, "quality_variance": 2}.get(name)
    if series:
        assert (len(thin), len(thick)) == (2 * series, series)


def test_a_figure_of_cosines_has_the_values_of_the_table(made, draw):
    table = read_table(made[0], "quality")
    of = table[(table["task"] == "Walker2d-v5") & (table["value_function"] == "trained") & (table["fraction"] == 1)]
    thick = [line for line in draw("quality_agreement").axes[1].lines if line.get_marker() == "^"]
    assert thick[0].get_xdata().tolist() == [1000, 10_000]
    assert thick[0].get_ydata() == pytest.approx(of.groupby("pairs")["pairwise_cosine"].mean().to_numpy())


def test_a_figure_says_which_probes_it_lacks(tmp_path):
    grid = write_grid(tmp_path, algorithms=("ppo", "trpo"), tasks=TASKS, probes=PROBES[:2])
    write_quality(tmp_path, grid, PROBES[0])
    make_page(tmp_path, ())
    figure = figures.draw(read_grid(tmp_path), "quality_agreement")
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "Without Hopper-v5 at 50 % of training (seed 0): no result"
    plt.close(figure)
