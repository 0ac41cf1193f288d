"""The figures of hyperparameter tuning, each made from the tables that its arguments name."""

import json
import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...drawing import theme
from ...drawing.panels import (
    algorithm_handles,
    algorithms_of,
    beside_rows,
    row_height,
    rows,
    sentence,
    spread,
    top_legend,
)
from ...reading.grid import Grid

KINDS = {
    "complete": "complete",
    "pruned": "pruned",
    "diverged": "a part diverged or was stopped by its task",
}  # of trials, in words
WINNER = {"marker": "*", "markersize": 12, "markeredgecolor": theme.INK, "markeredgewidth": 0.8, "linestyle": ""}
UNTUNED = {"linestyle": ":", "linewidth": 1.2}
ON_TUNING = {"marker": "D", "markersize": 5.5, "linestyle": ""}
SIDES = {"tuned": -0.2, "untuned": 0.2}  # the distance of each row from the middle of its algorithm's rows
BESIDE = 0.015  # of the axis: the distance between several algorithms' marks of the same trial, at most
PANELS = 4  # panels of settings side by side, at most
NAME = 44  # characters in a line of an algorithm's title beside its rows
ROOM = 1.08  # the length of the axis in largest importances, so that the number beside the longest bar has room


def tuning_history(grid: Grid, tuning: pd.DataFrame) -> Figure:
    """A panel per group: the score of every trial, with a line at the highest score of a complete trial so far."""
    if tuning.empty:
        return nothing(grid)
    figure, panels = group_panels(grid, tuning, 3.6)
    looks = theme.looks(list(grid.algorithms))
    for group, axes in panels.items():
        here = rows(tuning, group=group)
        present = algorithms_of(grid, here)
        last = here["trial"].max()
        for offset, algorithm in zip(spread(len(present), min(0.25, BESIDE * (last + 1))), present, strict=True):
            trials, look = rows(here, algorithm=algorithm), looks[algorithm]
            line = {"color": look.colour, "linestyle": look.line}
            axes.step(trials["trial"] + offset, trials["best_so_far"], where="post", **line)
            for kind, own in trials.groupby(kinds(trials)):
                trial_marks(axes, own["trial"] + offset, own["score"], look, kind)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlim(-BESIDE * (last + 1) - 0.3, last + BESIDE * (last + 1) + 0.3)
    figure.supxlabel("trial (0: the untuned settings)", fontsize=9)
    figure.supylabel("mean normalised score on the tuning seeds", fontsize=9)
    further = [Line2D([], [], color=theme.QUIET, label="best so far"), *kind_handles(kinds(tuning))]
    algorithm_legend(figure, grid, tuning, further)
    return figure


def tuning_importance(grid: Grid, tuning_settings: pd.DataFrame) -> Figure:
    """A panel per group, a bar per algorithm and searched setting: its share of the importance."""
    if tuning_settings.empty:
        return nothing(grid)
    present = algorithms_of(grid, tuning_settings)
    names = {
        algorithm: list(dict.fromkeys(rows(tuning_settings, algorithm=algorithm)["setting"])) for algorithm in present
    }
    places, place = {}, 0.0
    for algorithm, settings in names.items():
        for setting in settings:
            places[algorithm, setting] = place
            place += 1
        place += 0.6  # between algorithms
    figure, panels = group_panels(grid, tuning_settings, 0.4 + 0.2 * place, sharey=True, most=4)
    looks = theme.looks(list(grid.algorithms))
    top = 100 * ROOM * tuning_settings["importance"].max()
    for group, axes in panels.items():
        for algorithm in present:
            own = rows(tuning_settings, group=group, algorithm=algorithm)
            for row in own[own["importance"].notna()].itertuples():
                share = 100 * row.importance
                axes.barh(places[algorithm, row.setting], share, height=0.72, color=looks[algorithm].colour)
                axes.annotate(
                    f"{share:.0f}",
                    (share, places[algorithm, row.setting]),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.5,
                )
            if own.empty or own["importance"].isna().all():
                middle = np.mean([places[algorithm, setting] for setting in names[algorithm]])
                where = {"transform": axes.get_yaxis_transform(), "va": "center", "color": theme.QUIET}
                text = (
                    "no finished study" if own.empty else "no importances: fewer than ten complete trials, or all equal"
                )
                axes.text(0.02, middle, text, fontsize=8, **where)
        axes.set_yticks(list(places.values()), [setting for _, setting in places])
        axes.set_ylim(place - 0.9, -0.7)
        axes.set_xlim(0, top if top > 0 else 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        if not top > 0:
            axes.set_xticks([])
    figure.supxlabel("share of the importance (%)", fontsize=9)
    algorithm_legend(figure, grid, tuning_settings, [])
    return figure


def tuning_space(grid: Grid, tuning_settings: pd.DataFrame, tuning_values: pd.DataFrame) -> Figure:
    """A row per algorithm and group, a panel per searched setting: every trial's score against the setting's value."""
    if tuning_settings.empty:
        return nothing(grid)
    studies = [
        (algorithm, group)
        for algorithm in algorithms_of(grid, tuning_settings)
        for group in dict.fromkeys(rows(tuning_settings, algorithm=algorithm)["group"])
    ]
    names = {study: list(rows(tuning_settings, algorithm=study[0], group=study[1])["setting"]) for study in studies}
    columns = min(max(map(len, names.values())), PANELS)
    lines = [(study, start) for study in studies for start in range(0, len(names[study]), columns)]
    figure, panels = plt.subplots(
        len(lines),
        columns,
        figsize=(theme.WIDTH, 0.8 + 1.55 * len(lines)),
        layout="constrained",
        squeeze=False,
        sharey="row",
    )
    looks = theme.looks(list(grid.algorithms))
    for ((algorithm, group), start), line in zip(lines, panels, strict=True):
        shown = names[algorithm, group][start : start + columns]
        for axes in line[len(shown) :]:
            axes.remove()
        for axes, setting in zip(line, shown, strict=False):
            keys = {"algorithm": algorithm, "group": group, "setting": setting}
            space_panel(axes, rows(tuning_settings, **keys).iloc[0], rows(tuning_values, **keys), looks[algorithm])
            axes.set_xlabel(setting, fontsize=8.5, labelpad=1)
            axes.tick_params(labelsize=8)
        line[0].set_title(f"{grid.title(algorithm)}, {group}{' (continued)' if start else ''}", fontsize=9)
    figure.supylabel("mean normalised score on the tuning seeds", fontsize=9)
    handles = [
        *kind_handles(kinds(tuning_values)),
        Line2D([], [], color=theme.QUIET, label="winner", **WINNER),
        Line2D([], [], color=theme.QUIET, label="untuned value", **UNTUNED),
    ]
    top_legend(figure, handles, len(handles))
    return figure


def space_panel(axes: Axes, space: pd.Series, trials: pd.DataFrame, look: theme.Look) -> None:
    """Draw the trials' scores against the values of one setting of one study, over its search space.

    `space` is the setting's row of the table `tuning_settings`, `trials` are its rows of `tuning_values`.
    """
    trials = trials[trials["value"].notna()]
    x = np.array([position(value, space) for value in trials["value"]])
    if pd.isna(space["scale"]):
        x = x + spread(len(x), 0.15)  # so that trials with the same choice stand side by side, in their order
    for kind in dict.fromkeys(kinds(trials)):
        chosen = (kinds(trials) == kind).to_numpy()
        trial_marks(axes, x[chosen], trials["score"][chosen], look, kind)
    won = (trials["winner"] == 1).to_numpy()
    axes.plot(x[won], trials["score"][won], color=look.colour, zorder=4, **WINNER)
    if pd.notna(space["untuned"]):
        axes.axvline(position(space["untuned"], space), color=theme.QUIET, zorder=0.9, **UNTUNED)
    if pd.isna(space["scale"]):
        choices = json.loads(space["choices"])
        titles = [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
        axes.set_xticks(range(len(choices)), titles)
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        low, high = (position(space[end], space) for end in ("low", "high"))
        axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        ticks = space_ticks(space)
        axes.set_xticks([position(tick, space) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.margins(y=0.14)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def position(value: str | float, space: pd.Series) -> float:
    """The place of a setting's value on its axis.

    `value` is a number or JSON text, `space` the setting's row of `tuning_settings`. A choice's place is its place in
    the list of choices.
    """
    if pd.isna(space["scale"]):
        return float([json.dumps(choice) for choice in json.loads(space["choices"])].index(value))
    if space["scale"] == "linear":
        return float(value)
    return float(np.log10(float(value)) if space["scale"] == "log" else -np.log10(1 - float(value)))


def space_ticks(space: pd.Series) -> list[float]:
    """Values for the ticks of a setting's axis: round values in its range, about three to five of them."""
    low, high = space["low"], space["high"]
    if space["scale"] == "linear":
        ticks = MaxNLocator(4).tick_values(low, high)
        return [float(tick) for tick in ticks if low <= tick <= high]
    one_minus = space["scale"] == "log_one_minus"
    ends = sorted([1 - low, 1 - high] if one_minus else [low, high])
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        decades = range(int(np.floor(np.log10(ends[0]))), int(np.ceil(np.log10(ends[1]))) + 1)
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [tick for tick in ticks if ends[0] * (1 - 1e-9) <= tick <= ends[1] * (1 + 1e-9)]
        if len(ticks) >= 3:
            break
    return [1 - tick for tick in ticks] if one_minus else ticks


def shrinkage(grid: Grid, shrinkage: pd.DataFrame, tuning_parts: pd.DataFrame) -> Figure:
    """A panel per group, two rows per algorithm: scores with tuned settings, and below scores with untuned settings.

    Each row has the score on the tuning seeds, and the scores on fresh seeds with their mean.
    """
    if shrinkage.empty:
        return nothing(grid)
    present = algorithms_of(grid, shrinkage)
    titles = dict(zip(present, beside_rows((f"{grid.title(name)}  tuned" for name in present), NAME), strict=True))
    height = 0.6 + row_height(titles.values(), 0.55, NAME) * len(present)
    figure, panels = group_panels(grid, shrinkage, height, sharey=True)
    looks = theme.looks(list(grid.algorithms))
    for group, axes in panels.items():
        for place, algorithm in enumerate(present):
            own = rows(shrinkage, group=group, algorithm=algorithm)
            parts = rows(tuning_parts, group=group, algorithm=algorithm)
            if own.empty:
                where = {"transform": axes.get_yaxis_transform(), "va": "center", "color": theme.QUIET}
                axes.text(0.02, place, "no finished study", fontsize=8, **where)
            for row in own.itertuples():
                colour = looks[algorithm].colour
                for settings, tuning_score in (("tuned", row.tuning_score), ("untuned", row.untuned_tuning_score)):
                    height = place + SIDES[settings]
                    estimate = [getattr(row, f"fresh_{settings}{end}") for end in ("", "_low", "_high")]
                    fresh_marks(axes, height, colour, per_seed(parts, settings), estimate, hollow=settings == "untuned")
                    face = "white" if settings == "untuned" else colour
                    axes.plot([tuning_score], [height], color=colour, markerfacecolor=face, zorder=3.5, **ON_TUNING)
            if place:
                axes.axhline(place - 0.5, color="#dcdcdc", linewidth=0.8)
        axes.axvline(0, color=theme.QUIET, linewidth=1, linestyle=":", zorder=0.9)
        ticks = {place + SIDES["tuned"]: titles[name] for place, name in enumerate(present)}
        ticks |= {place + SIDES["untuned"]: "untuned" for place in range(len(present))}
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(len(present) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    figure.supxlabel("normalised score, mean over the group’s tuning tasks", fontsize=9)
    marks = {
        "on the tuning seeds": ON_TUNING,
        "one fresh seed": {"marker": "o", "markersize": 4.5, "linestyle": ""},
        "mean over fresh seeds": {"marker": "|", "markersize": 10, "markeredgewidth": 1.8, "linestyle": ""},
    }
    if shrinkage["fresh_untuned_low"].notna().any():
        marks["its 95 % interval"] = {"linewidth": 2.4}
    handles = [Line2D([], [], color=theme.QUIET, label=label, **mark) for label, mark in marks.items()]
    top_legend(figure, handles, len(handles))
    return figure


def per_seed(parts: pd.DataFrame, settings: str) -> np.ndarray:
    """Mean normalised scores over tasks on fresh seeds, [seeds]; `settings` is "tuned" or "untuned"."""
    return rows(parts, settings=settings).groupby("seed")["normalized"].mean().to_numpy()


def fresh_marks(axes: Axes, height: float, colour: str, seeds: np.ndarray, estimate: list[float], *, hollow) -> None:
    """Draw the scores of fresh seeds, their mean, and its interval where there is one.

    `seeds` are the scores [n]; `estimate` holds the mean and the ends of its interval; `height` is the place on the
    vertical axis.
    """
    mean, low, high = estimate
    if pd.notna(low):
        axes.plot([low, high], [height] * 2, color=colour, linewidth=1.4 if hollow else 2.6, alpha=0.85)
    face = "white" if hollow else colour
    axes.scatter(seeds, np.full(len(seeds), height), s=17, facecolor=face, edgecolor=colour, linewidth=0.9, zorder=3)
    axes.plot([mean], [height], "|", color=theme.INK, markersize=10, markeredgewidth=1.8, zorder=4)


def nothing(grid: Grid) -> Figure:
    """The figure for a grid without a finished study."""
    asked = len(grid.studies)
    return sentence(f"none of the {asked} studies asked for has finished" if asked else "this grid tunes no settings")


def group_panels(
    grid: Grid, table: pd.DataFrame, height: float, most: int = 3, **subplots
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel per group of tasks, titled with its tuning tasks, at most `most` side by side.

    `height` is that of a panel in inches; `subplots` are further arguments of matplotlib's function `subplots`. Returns
    the figure and the panels by group.
    """
    tasks = {study["group"]: list(study["tasks"]) for study in grid.studies}
    groups = [group for group in tasks if (table["group"] == group).any()]
    columns = min(len(groups), most)
    lines = -(-len(groups) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(theme.WIDTH, 0.9 + height * lines), layout="constrained", squeeze=False, **subplots
    )
    for axes in panels.flat[len(groups) :]:
        axes.remove()
    for axes, group in zip(panels.flat, groups, strict=False):
        title = f"{group}: {', '.join(tasks[group])}"
        axes.set_title(textwrap.fill(title, 100 // columns))
    return figure, dict(zip(groups, panels.flat, strict=False))


def kinds(trials: pd.DataFrame) -> pd.Series:
    """The kind of every trial, one of KINDS; "diverged" where a part diverged or was stopped, also if it was pruned."""
    return trials["state"].where(trials["diverged"] == 0, "diverged")


def trial_marks(axes: Axes, x, y, look: theme.Look, kind: str) -> None:
    """Draw a mark per trial: filled where it is complete, hollow where pruned, a cross where a part has no score."""
    if kind == "diverged":
        axes.scatter(x, y, s=24, marker="x", color=look.colour, linewidth=1.3, alpha=0.9, zorder=3)
    else:
        face = "none" if kind == "pruned" else look.colour
        axes.scatter(
            x, y, s=20, marker=look.marker, facecolor=face, edgecolor=look.colour, linewidth=0.9, alpha=0.75, zorder=3
        )


def kind_handles(present: pd.Series) -> list[Line2D]:
    """Handles for a legend of the marks of `trial_marks`, of the kinds that are present."""
    marks = {
        "complete": {"marker": "o", "markersize": 4.5},
        "pruned": {"marker": "o", "markersize": 4.5, "markerfacecolor": "none"},
        "diverged": {"marker": "x", "markersize": 5},
    }
    return [
        Line2D([], [], color=theme.QUIET, linestyle="", label=f"trial: {KINDS[kind]}", **mark)
        for kind, mark in marks.items()
        if (present == kind).any()
    ]


def algorithm_legend(figure: Figure, grid: Grid, table: pd.DataFrame, further: Iterable[Line2D]) -> None:
    """Every algorithm that is shown, in the grid's order, then the further handles."""
    handles = [*algorithm_handles(grid, algorithms_of(grid, table)), *further]
    top_legend(figure, handles, 5)
