"""The section on actions in bins: a table, a figure and sentences where a grid has such tasks, else nothing."""

import json

import pandas as pd
import pytest

from analysis.drawing import theme
from analysis.reading.grid import read_grid
from analysis.sections.bins import figures, sentences
from analysis.sections.bins.tables import COLUMNS, bins
from tests.analysis_fixtures import write_grid

NAMES = ("whole", "three", "eleven")


@pytest.fixture
def grid(tmp_path):
    about = {
        "steps": 1000,
        "random_score": 0.0,
        "reference_score": 100.0,
        "reference_source": "a test",
        "threshold": None,
    }
    write_grid(tmp_path, algorithms=("ppo", "sac"), tasks=dict.fromkeys(NAMES, about))
    path = tmp_path / "grid.json"
    data = json.loads(path.read_text())
    for name, count in zip(NAMES, (None, 3, 11), strict=True):
        data["tasks"][name]["id"] = "Pendulum-v1"
        if count:
            data["tasks"][name]["action_bins"] = count
    path.write_text(json.dumps(data))
    return read_grid(tmp_path)


SCORES = pd.DataFrame(
    [
        *(("whole", "sac", value) for value in (0.9, 1.0)),
        *(("three", "ppo", value) for value in (0.2, 0.4, 0.6)),
        *(("eleven", "ppo", value) for value in (0.7,)),
    ],
    columns=["task", "algorithm", "normalized_mode"],
)


def test_the_table_has_the_mean_of_each_number_of_bins_and_of_none(grid):
    table = bins(grid, SCORES)
    assert list(table) == COLUMNS
    assert table[["environment", "algorithm", "bins", "task", "n"]].to_numpy().tolist() == [
        ["Pendulum-v1", "sac", 0, "whole", 2],
        ["Pendulum-v1", "ppo", 3, "three", 3],
        ["Pendulum-v1", "ppo", 11, "eleven", 1],
    ]
    assert table["mean"].tolist() == pytest.approx([0.95, 0.4, 0.7])
    assert (table["low"][:2] < table["mean"][:2]).all()
    assert table["low"].isna().tolist() == [False, False, True]  # one run has no interval


def test_the_figure_has_a_line_for_what_has_no_bins_and_a_point_for_each_number(grid):
    theme.apply()  # as the command does: titles are on the left
    figure = figures.action_bins(grid, bins(grid, SCORES))
    (panel,) = (axes for axes in figure.axes if axes.get_title("left"))
    assert panel.get_title("left") == "Pendulum-v1"
    dashed = [line for line in panel.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == pytest.approx([0.95])
    (curve,) = (line for line in panel.lines if line.get_linestyle() == "-")
    assert curve.get_xdata().tolist() == [3, 11]
    assert curve.get_ydata().tolist() == pytest.approx([0.4, 0.7])


def test_the_page_says_the_numbers_and_is_left_out_without_bins(grid, tmp_path):
    said = sentences.page(grid, bins(grid, SCORES))["sentences"]
    assert len(said) == 1
    assert said[0].endswith("on Pendulum-v1, bins a dimension: 0.40 with 3 and 0.70 with 11.")
    below = SCORES.assign(normalized_mode=-SCORES["normalized_mode"])
    (said,) = sentences.page(grid, bins(grid, below))["sentences"]
    assert said.endswith("bins a dimension: −0.40 with 3 and −0.70 with 11.")  # minus signs, as on the whole page
    assert sentences.page(grid, bins(grid, SCORES).iloc[:0]) is None
    for about in grid.tasks.values():
        about.pop("action_bins", None)
    assert bins(grid, SCORES).empty
