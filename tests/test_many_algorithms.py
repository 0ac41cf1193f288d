"""Figures of many algorithms with odd and long titles: no two look the same, nothing is cut, titles are as written."""

import html
import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import pytest
import yaml
from matplotlib.image import imread
from matplotlib.text import Text

from analysis import figures, report, tables
from analysis.drawing import theme
from analysis.making import Maker
from analysis.page.images import GROUPS
from analysis.problems import made_tables
from analysis.reading.grid import read_grid
from analysis.reading.tables import write_table
from analysis.sections import FIGURES
from experiments.checks import GridError
from experiments.grid import GRIDS, load_grid
from tests.analysis_fixtures import (
    CARTPOLE,
    EXACT,
    HOPPER,
    Trial,
    edit_json,
    probe,
    study,
    write_grid,
    write_probe,
    write_runs,
    write_study,
)

ODD = [
    r"PPO ($\foo=0.1$)",
    "PPO $5 vs $10",
    r"PPO \$x\$",
    "_PPO_",
    "{PPO} %s {0} %(x)d",
    "<b>PPO</b> & co",
    "a|b *c* `d` ~e~",
    r"C:\new \\ \textbf{x}",
    "$",
    "# 1. PPO",
    "Ψ = ∇ log π · A",
]
LADDER = list(theme.KNOWN)


def write(folder, titles, *, whole=False) -> None:
    """Results with an algorithm of each title, and their tables; whole: with studies and probes."""
    names = [*LADDER, *(f"method_{index}" for index in range(len(titles)))][: len(titles)]
    probes = [probe("CartPole-v1", 0.1, "ppo"), probe(EXACT, 0, "initialisation")] if whole else []
    studies = [study(name, "classic", {"CartPole-v1": 5000}, trials=2) for name in names] if whole else []
    about = {"probes": probes, "studies": studies, "tasks": {"CartPole-v1": CARTPOLE, "Hopper-v5": HOPPER}}
    grid = write_grid(folder, algorithms=names, **about)
    for name, title in zip(names, titles, strict=True):
        grid["algorithms"][name]["title"] = title
    edit_json(folder / "grid.json", algorithms=grid["algorithms"])
    write_runs(folder, grid)
    untuned, other = ({"policy_learning_rate": rate, "gamma": 0.99} for rate in (3e-4, 1e-3))
    for asked in studies:
        trials = [Trial(untuned, [0.2, 0.3]), Trial(other, [0.1, 0.2])]
        write_study(folder, grid, asked, trials, tuned=[0.2, 0.25, 0.3], untuned=[0.2, 0.25, 0.3])
    for asked in probes:
        write_probe(folder, grid, asked)
    for name, table in tables.make_tables(read_grid(folder)).items():
        write_table(folder, name, table)
    theme.apply()


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "odd"
    write(folder, ODD, whole=True)
    return folder


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "crowd"
    long = "a learned state-value baseline, several epochs and a long clip range"
    write(folder, [f"Method {index} with {long}" for index in range(24)], whole=True)
    return folder


WITH_LEGEND_OF_ALGORITHMS = [
    *("learning_curves", "seed_spread", "sample_efficiency", "diagnostics", "performance_profiles"),
    *("gradient_variance", "gradient_direction", "tuning_history", "tuning_importance"),
]
WITH_ROWS = [
    *("aggregate_scores", "probability_of_improvement", "final_scores", "speed", "exact_problems", "shrinkage"),
]
WITH_TITLES = [*WITH_LEGEND_OF_ALGORITHMS, *WITH_ROWS, "tuning_space"]


def texts_in(svg: bytes) -> str:
    """All text of an SVG, without white space: long titles stand on several lines."""
    return re.sub(r"\s", "", "".join(ElementTree.fromstring(svg).itertext()))


@pytest.mark.parametrize("name", WITH_TITLES)
def test_titles_stand_in_figures_as_they_are_written(odd, name):
    figure = figures.draw(read_grid(odd), name)
    shown = texts_in(figures.images(figure, name)["svg"])
    for title in ODD:
        assert re.sub(r"\s", "", title) in shown


def test_titles_stand_in_page_and_markdown_as_they_are_written(odd):
    drawn = dict.fromkeys(FIGURES, '<svg width="1pt" height="1pt"/>')
    made, missing = report.texts(Maker({"grid": read_grid(odd)}, read=made_tables(odd)), drawn)
    assert not missing
    for title in ODD:
        assert html.escape(title, quote=False) in made["index.html"]
    assert r"PPO (\$\\foo=0.1\$)" in made["report.md"]
    assert r"a\|b \*c\* \`d\` \~e\~" in made["report.md"]


@pytest.mark.parametrize("name", list(FIGURES))
@pytest.mark.filterwarnings("error")
def test_nothing_is_cut_off_and_no_two_titles_overlap(crowd, name):
    figure = figures.draw(read_grid(crowd), name)
    figure.canvas.draw()
    renderer, whole = figure.canvas.get_renderer(), figure.bbox
    boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
    labels = []
    for axes in figure.axes:
        ticks = [text for text in axes.get_yticklabels() if text.get_visible() and "Method" in text.get_text()]
        labels += [own := [text.get_window_extent(renderer) for text in ticks]]
        titles = [text for text in axes.findobj(Text) if text.get_text().startswith("Method") and text.get_visible()]
        boxes += own + [text.get_window_extent(renderer) for text in titles if text not in axes.get_yticklabels()]
    assert any(labels) == (name in WITH_ROWS)
    for box in boxes:
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert whole.y0 <= box.y0
        assert box.y1 <= whole.y1
    for own in labels:
        own = sorted(own, key=lambda box: box.y0)
        for below, above in itertools.pairwise(own):
            assert below.y1 <= above.y0 + 1
    plt.close(figure)


@pytest.mark.parametrize("name", WITH_LEGEND_OF_ALGORITHMS)
def test_a_legend_of_24_shows_24_looks_that_differ(crowd, name):
    figure = figures.draw(read_grid(crowd), name)
    handles = {
        text.get_text(): handle
        for legend in figure.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if text.get_text().startswith("Method")
    }
    assert len(handles) == 24
    assert len({(handle.get_color(), handle.get_marker()) for handle in handles.values()}) == 24
    plt.close(figure)


@pytest.mark.parametrize("names", [[f"m{i}" for i in range(24)], LADDER + [f"m{i}" for i in range(19)]])
def test_of_24_algorithms_no_two_share_a_colour_or_colour_and_marker(names):
    looks = theme.looks(names)
    assert len({look.colour for look in looks.values()}) == 24
    assert len({(look.colour, look.marker) for look in looks.values()}) == 24
    rounds = {look.line for look in looks.values()}
    assert 2 <= len(rounds) <= 3


def test_the_first_looks_are_those_that_they_were():
    looks = theme.looks([*LADDER, *(f"m{i}" for i in range(9))])
    assert [(look.colour, look.marker, look.line) for look in looks.values()] == [
        (*look, "-") for look in [*theme.KNOWN.values(), *theme.FURTHER]
    ]


def test_beyond_24_each_group_has_its_own_figure(tmp_path):
    folder = tmp_path / "legion"
    write(folder, [f"Method {index} of many" for index in range(30)])
    grid = read_grid(folder)
    first, second = theme.groups(list(grid.algorithms))
    assert (len(first), len(second)) == (24, 6)
    figures.write_figure(grid, "learning_curves")
    svg = (folder / "figures/learning_curves.svg").read_bytes()
    root = ElementTree.fromstring(svg)
    parts = [child for child in root if child.tag.endswith("svg")]
    assert len(parts) == 2
    for part, names in zip(parts, (first, second), strict=True):
        text = re.sub(r"\s", "", "".join(part.itertext()))
        for name in grid.algorithms:
            assert (re.sub(r"\s", "", f"{grid.title(name)}") in text) == (name in names)
    tall, wide, _ = imread(folder / "figures/learning_curves.png").shape
    assert tall / wide == pytest.approx(float(root.get("height")[:-2]) / float(root.get("width")[:-2]), rel=0.01)
    figures.write_figure(grid, "benchmark")  # shows no algorithm of the grid, and so is drawn once
    assert b"<svg" in (bench := (folder / "figures/benchmark.svg").read_bytes())
    assert bench.count(b"</svg>") == 1
    drawn = dict.fromkeys(FIGURES, '<svg width="1pt" height="1pt"/>')
    made, missing = report.texts(Maker({"grid": grid}, read=made_tables(folder)), drawn)
    assert not missing
    assert GROUPS in made["index.html"]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("PPO", "PPO", "algorithms a2c and ppo have the same title, 'PPO'"),
        ("PPO $5", " PPO  $5", "have the same title"),
        ("PPO", None, "have the same title, 'PPO'"),  # the title that ppo has by itself
        ("a\nb", "c", "title of algorithm a2c must be one line of text"),
        ("  ", "c", "title of algorithm a2c must be one line of text"),
        ("a\x07b", "c", "must be one line of text"),
        ("x" * 101, "c", "title of algorithm a2c has 101 characters"),
    ],
)
def test_titles_that_cannot_be_told_apart_or_drawn_are_refused(tmp_path, first, second, said):
    content = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    for name, title in (("a2c", first), ("ppo", second)):
        content["algorithms"][name] = (content["algorithms"].get(name) or {}) | {"title": title}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with pytest.raises(GridError, match=re.escape(said)) as error:
        load_grid(str(path))
    assert "\n" not in str(error.value)


def test_odd_titles_are_accepted_as_they_are(tmp_path):
    content = yaml.safe_load((GRIDS / "smoke.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "mine.yaml"
    for title in ODD:
        content["algorithms"]["ppo"] = {"title": title}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert load_grid(str(path)).algorithms["ppo"].title == title
