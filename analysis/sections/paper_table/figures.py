"""The figure of a paper's table beside ours, made from the table `paper_scores`."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...drawing import theme
from ...drawing.panels import beside_rows, headnote, named_rows, row_height, sentence, top_legend
from ...reading.grid import Grid
from ...words import plural

PAPER = {"marker": "D", "markersize": 6, "markerfacecolor": "white", "color": theme.INK, "linestyle": ""}
APART = 0.17  # of a row's height, between one of our scores and the next
ROW = 0.36  # the height of a row in inches, at least


def paper_table(grid: Grid, paper_scores: pd.DataFrame) -> Figure:
    """A row per algorithm: the paper's number, and ours with their intervals, of its number of seeds and of all."""
    if paper_scores.empty:
        return sentence("this grid repeats no table of a paper")
    algorithms = list(dict.fromkeys(paper_scores["algorithm"]))
    titles = [grid.title(algorithm) for algorithm in algorithms]
    height = 1.1 + row_height(titles, ROW) * len(titles)
    figure, axes = plt.subplots(figsize=(theme.WIDTH, height), layout="constrained")
    looks = theme.looks(list(grid.algorithms))
    counts = sorted(set(paper_scores["seeds"]))
    for end in (0, 1):
        axes.axvline(end, color=theme.QUIET, linewidth=0.8, linestyle=":")
    for place, algorithm in enumerate(algorithms):
        own = paper_scores[paper_scores["algorithm"] == algorithm]
        axes.plot(own["published"].iloc[:1], [place - APART], **PAPER)
        colour = looks[algorithm].colour
        for nth, row in enumerate(own.itertuples()):
            y = place + nth * APART
            face = colour if row.seeds == counts[-1] else "white"
            axes.plot([row.score_low, row.score_high], [y, y], color=colour, linewidth=1.6)
            axes.plot([row.score], [y], marker="o", markersize=5.5, color=colour, markerfacecolor=face)
    named_rows(axes, beside_rows(titles))
    axes.set_xlabel("average normalised score: random policy 0, best result on each task 1")
    ours = [
        Line2D([], [], color=theme.QUIET, marker="o", markerfacecolor=theme.QUIET if count == counts[-1] else "white")
        for count in counts
    ]
    for handle, count in zip(ours, counts, strict=True):
        handle.set_label(f"ours, {plural(int(count), 'seed')}, with 95 % interval")
    top_legend(figure, [Line2D([], [], label="the paper", **PAPER), *ours], 3)
    if (paper_scores["n"] < paper_scores["requested"]).any():
        headnote(figure, "Some runs are not there yet; an algorithm without a run on each task has no score of ours.")
    return figure
