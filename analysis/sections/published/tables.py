"""Published scores beside ours, at the same number of steps and in the same metric: the table `published`.

published_scores.csv has the scores, each with its source. published_settings.yaml has the settings with which they were
made. Users may add to both files. An entry is compared with the runs of every algorithm of the grid whose module is the
entry's `algorithm`, on the task of the same name.

A verdict needs the same or a nearly equal version of the task, as many steps, a metric that our runs have, and an
interval of the difference ours − theirs. The interval depends on what was published:

- The number of seeds and a spread over seeds: Welch's interval from both sides' n and standard deviation. A standard
  error or a 95 % interval is converted into a standard deviation first.
- The number of seeds without a spread over them: the prediction interval. The mean of m further runs like our n lies
  within t_{n−1} s √(1/n + 1/m) of our mean in 95 % of cases. This assumes that their spread is like ours.
- No number of seeds: there is no interval, and so no verdict.

Differences of at most MARGIN times the distance from the task's random to its reference score are of no interest, so
that the rounding of a printed number cannot decide. "consistent": the interval holds such differences. "above",
"below": the whole interval lies beyond them. Consistent does not mean equal, since a wide interval is consistent with
very different scores; therefore the table has the interval beside the verdict. The verdicts are not corrected for their
number.

Other settings do not prevent a verdict, but they change its meaning, so the table names every known difference.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ...reading.checks import NUMBER, ResultsError, check_names, check_present, line_of, read_csv, valid_choices
from ...reading.grid import Grid
from ...reading.jobs import Run
from ...reading.runs import read_episodes
from ...reading.tables import frame
from ...statistics import scores as statistics

HERE = Path(__file__).parent
SCORES = HERE / "published_scores.csv"
SETTINGS = HERE / "published_settings.yaml"
MARGIN = 0.01  # of the distance from random to reference score; smaller differences are of no interest
STEPS_WITHIN = 0.02  # of the published steps; step counts that differ less are equal but for a last rollout
NORMAL_95 = 1.96  # standard errors from the middle to the end of a 95 % interval
METRICS = {  # in words, where {window} stands for the entry's window
    "evaluation_sampled": "evaluation after training, sampled actions",
    "evaluation_mode": "evaluation after training, mode actions",
    "last_episodes": "last {window} training episodes",
    "window": "training episodes of the last {window} steps",
    "maximum": "maximum over training",
    "unstated": "not stated",
}
SPREADS: dict[str, Callable[[float, float], float]] = {  # (spread, n) → standard deviation over seeds, by spread_kind
    "std": lambda spread, n: spread,
    "population_std": lambda spread, n: spread * np.sqrt(n / (n - 1)),
    "standard_error": lambda spread, n: spread * np.sqrt(n),
    "interval": lambda spread, n: spread / NORMAL_95 * np.sqrt(n),  # the spread is half the length of the interval
}
OF_EPISODES = "std_of_episodes"  # a spread_kind that is no spread over seeds: over one agent's or all agents' episodes
TIME_LIMITS = ("terminations", "bootstrapped", "unknown")  # how the published algorithm treated time limits
COLUMNS = (
    *("algorithm", "task", "steps", "run_steps", "n", "metric", "window", "bin", "mean", "spread", "spread_kind"),
    *("settings", "source", "reference", "caveat", "note"),
)
TEXTS = ("algorithm", "task", "metric", "spread_kind", "settings", "source", "reference", "caveat", "note")
# How comparable two versions of a task are, from the best level to the worst.
LEVELS = ("same", "comparable", "nearly", "not")
# What changed in a task, from the version before to this one, by Gymnasium's documentation: {version: (level, change)}.
MUJOCO = {
    2: ("not", "v1 ran on MuJoCo 1.31"),
    3: ("same", "options only"),
    4: ("nearly", "simulator: mujoco-py until v3, MuJoCo’s own bindings from v4 on"),
}
HEALTHY = "until v4 the healthy reward is also given on the step that ends an episode"
CHANGES = {
    "HalfCheetah": {**MUJOCO, 5: ("comparable", "options only")},
    "Swimmer": {**MUJOCO, 5: ("comparable", "options only")},
    "Hopper": {**MUJOCO, 5: ("nearly", HEALTHY)},
    "InvertedPendulum": {**MUJOCO, 5: ("nearly", HEALTHY)},
    "InvertedDoublePendulum": {**MUJOCO, 5: ("nearly", f"{HEALTHY}, and constraint forces, always 0, are observed")},
    "Walker2d": {**MUJOCO, 5: ("not", "until v4 the feet have different friction")},
    "Ant": {**MUJOCO, 5: ("not", "v5 observes and charges contact forces")},
    "Humanoid": {**MUJOCO, 5: ("not", "v5 charges contact forces again and observes other quantities")},
    "Reacher": {**MUJOCO, 5: ("not", "until v4 the reward is that of the state before the step")},
    "LunarLander": {3: ("nearly", "v3 mends what carried over from one episode to the next")},
    "LunarLanderContinuous": {3: ("nearly", "v3 mends what carried over from one episode to the next")},
}


@dataclass(frozen=True)
class SettingsSet:
    """An entry of published_settings.yaml."""

    settings: dict[str, Any]  # by the names of this project's settings
    otherwise: list[str]  # further differences, in words
    time_limits: str  # one of TIME_LIMITS


def read_published(path: Path, sets: Mapping[str, SettingsSet]) -> pd.DataFrame:
    """Read and check published_scores.csv; `sets` are the entries of published_settings.yaml by name.

    Raises ResultsError, with file, line and column, for an unknown name and for a missing or wrong value.
    """
    entries = read_csv(path, COLUMNS, dict.fromkeys(TEXTS, "str"))
    for column in path.read_text(encoding="utf-8").splitlines()[0].split(","):
        if column not in COLUMNS:
            raise ResultsError(f"{path}: unknown column {column!r}; valid are {valid_choices(column, COLUMNS)}.")
    entries[list(TEXTS)] = entries[list(TEXTS)].fillna("")
    names = {"metric": METRICS, "spread_kind": ("", *SPREADS, OF_EPISODES), "settings": ("", *sets)}
    check_names(entries, names, path)
    check_present(entries, ("steps", "run_steps", "mean"), path)
    metric, kind = entries["metric"], entries["spread_kind"]
    rules = [  # column, the rows in which it is wrong, what it should be
        (
            "window",
            metric.isin(["last_episodes", "window"]) & ~(entries["window"] > 0),
            "a number, as its metric needs",
        ),
        ("bin", (metric == "window") & ~(entries["bin"] > 0), "a number, as its metric needs"),
        ("spread", (kind != "") & ~(entries["spread"] >= 0), "a number, as there is a spread_kind"),
        ("spread_kind", (kind == "") & entries["spread"].notna(), f"one of {', '.join([*SPREADS, OF_EPISODES])}"),
        ("n", entries["n"].notna() & ~(entries["n"] >= 1), "a number of seeds, or nothing where it is not published"),
        ("task", ~entries["task"].str.fullmatch(r".+-v\d+"), "an id that ends in its version, such as Hopper-v5"),
        ("algorithm", entries["algorithm"] == "", "the name of a module of algorithms/"),
        ("source", entries["source"] == "", "who published it"),
        ("reference", entries["reference"] == "", "where exactly it was read"),
    ]
    for column, wrong, expected in rules:
        if wrong.any():
            value = entries[column].astype(object)[wrong].iloc[0]
            raise ResultsError(f"{path}: line {line_of(wrong)} has {column} = {value!r}; expected {expected}.")
    return entries


def read_settings(path: Path) -> dict[str, SettingsSet]:
    """Read and check published_settings.yaml: its entries by name.

    Raises ResultsError, with file and key, for a missing file, an unknown key, and a missing or wrong value.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file.") from None
    except yaml.YAMLError as error:
        raise ResultsError(f"{path}: not whole YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise ResultsError(f"{path}: expected names with their settings, found {type(content).__name__}.")
    kinds = {"source": str, "settings": dict, "time_limits": str, "otherwise": list}
    sets = {}
    for name, values in content.items():
        if not isinstance(values, dict):
            raise ResultsError(f"{path}: {name} is {values!r}; expected keys {', '.join(kinds)}.")
        for key in values:
            if key not in kinds:
                raise ResultsError(f"{path}: {name} has a key {key!r}; valid are {valid_choices(key, kinds)}.")
        for key, kind in kinds.items():
            if not isinstance(values.get(key, [] if key == "otherwise" else None), kind):
                raise ResultsError(f"{path}: {name}.{key} is {values.get(key)!r}; expected {kind.__name__}.")
        if values["time_limits"] not in TIME_LIMITS:
            raise ResultsError(
                f"{path}: {name}.time_limits is {values['time_limits']!r}; valid are {', '.join(TIME_LIMITS)}."
            )
        sets[name] = SettingsSet(values["settings"], values.get("otherwise", []), values["time_limits"])
    return sets


def published(grid: Grid, runs: list[Run], scores: Path = SCORES, settings: Path = SETTINGS) -> pd.DataFrame:
    """The table `published`: a row per algorithm and task of the grid and per published score about them.

    A row has our score, the published score, and the verdict or the reason why there is none. `runs` are the finished
    runs with their cells; `scores` and `settings` are the files with published scores and their settings. Raises
    ResultsError where one of the files is wrong.
    """
    sets = read_settings(settings)
    entries = read_published(scores, sets)
    rows = []
    for task in grid.tasks:
        for algorithm in grid.algorithms:
            requested = grid.requested(task, algorithm)
            made = [(cell, run) for cell, run in runs if (cell["task"], cell["algorithm"]) == (task, algorithm)]
            own = Runs(grid, task, made)
            for entry in about(grid, entries, task, algorithm) if requested else ():
                rows.append({"task": task, "algorithm": algorithm, **compare(grid, requested, own, entry, sets)})
    return frame(rows, "published")


def about(grid: Grid, entries: pd.DataFrame, task: str, algorithm: str) -> list[Any]:
    """The published entries about an algorithm of the grid, on a task of this name in any version."""
    module = grid.algorithms[algorithm].get("module", algorithm)
    same = entries["task"].map(lambda other: split_id(other)[0]) == split_id(id_of(grid, task))[0]
    return list(entries[(entries["algorithm"] == module) & same].itertuples())


def compare(
    grid: Grid, requested: list[dict], own: "Runs", entry: Any, sets: Mapping[str, SettingsSet]
) -> dict[str, Any]:
    """A row of the table without task and algorithm; `because` names the kinds of all reasons against a verdict.

    `requested` are the grid's cells of the algorithm on the task, `own` the finished runs, `entry` is a row of
    published_scores.csv, and `sets` are the published settings by name.
    """
    task = grid.tasks[own.task]
    budget = requested[0]["steps"]
    version, change = version_relation(id_of(grid, own.task), entry.task)
    scores = own.scores(entry, budget)
    std = std_over_seeds(entry)
    difference, low, high, method = difference_interval(scores, entry.mean, std, entry.n)
    scale = abs(task["reference_score"] - task["random_score"])
    margin = MARGIN * scale
    reasons = [
        *of_entry(entry),
        *([("version", f"another version of the task: {change}")] if version == "not" else []),
        *of_task(task),
        *of_steps(entry, budget),
        *of_runs(len(own.runs), scores, std, difference, margin),
    ]
    their_low, their_high = interval_of_mean(entry.mean, std, entry.n)
    ours_low, ours_high = statistics.t_interval(scores)
    settings, differences = settings_relation(requested[0], task, entry, budget, sets)
    row = {
        "requested": len(requested),
        "n": len(own.runs),
        "budget": budget,
        "source": entry.source,
        "reference": entry.reference,
        "published_task": entry.task,
        "version": version,
        "version_change": change,
        "steps": entry.steps,
        "metric": entry.metric,
        "metric_text": METRICS[entry.metric].format(window=f"{entry.window:,.0f}"),
        "ours": scores.mean() if len(scores) else np.nan,
        "ours_low": ours_low,
        "ours_high": ours_high,
        "published_n": entry.n,
        "published": entry.mean,
        "published_spread": entry.spread,
        "spread_kind": entry.spread_kind,
        "published_low": their_low,
        "published_high": their_high,
        "settings": settings,
        "differences": differences,
        "time_limits": sets[entry.settings].time_limits if entry.settings else "unknown",
        "note": entry.note,
    }
    if reasons:
        sentence = "; ".join(text for _, text in reasons)
        sentence = f"{sentence[0].upper()}{sentence[1:]}."
        kinds = " ".join(dict.fromkeys(kind for kind, _ in reasons))
        return {**row, "verdict": "not comparable", "because": kinds, "reason": sentence}
    ends = {"": difference, "_low": low, "_high": high}
    return {
        **row,
        **{f"difference{end}": value for end, value in ends.items()},
        **{f"normalized_difference{end}": value / scale for end, value in ends.items()},
        "method": method,
        "verdict": "above" if low > margin else "below" if high < -margin else "consistent",
    }


def of_entry(entry: Any) -> list[tuple[str, str]]:
    """The reasons that rule out a verdict on an entry for any runs of ours, each as (kind, words)."""
    found = []
    if entry.metric == "maximum":
        found.append(
            ("metric", "the maximum over training is published, which no score at one step of the same runs exceeds")
        )
    if entry.caveat:
        found.append(("entry", entry.caveat))
    elif entry.metric == "unstated":
        found.append(("metric", "what was measured is not stated"))
    if np.isnan(entry.n) and not entry.caveat:
        found.append(("seeds", "the number of seeds is not published, so there is no interval"))
    return found


def of_task(task: dict[str, Any]) -> list[tuple[str, str]]:
    """The reasons against a verdict that our task gives: a time limit or keyword arguments that the grid sets."""
    limit = task["max_episode_steps"]
    reasons = [] if limit is None else [("task", f"our task has a time limit of its own, {limit:,} steps")]
    for key in ("kwargs", "variants", "wrappers", "training_wrappers"):
        if key in task:
            reasons.append(("task", f"our task has {key} of its own, {task[key]}"))
    return reasons


def of_steps(entry: Any, budget: int) -> list[tuple[str, str]]:
    """The reason against a verdict that the number of steps gives; `budget` is our number of environment steps.

    Our runs have training scores at every step until the budget, but an evaluation only at the budget.
    """
    if budget < (1 - STEPS_WITHIN) * entry.steps:
        return [("steps", f"ours has {budget:,} steps, theirs {entry.steps:,.0f}")]
    if entry.metric.startswith("evaluation") and budget > (1 + STEPS_WITHIN) * entry.steps:
        return [("steps", f"ours was evaluated after {budget:,} steps, theirs after {entry.steps:,.0f}")]
    return []


def of_runs(n: int, scores: np.ndarray, std: float, difference: float, margin: float) -> list[tuple[str, str]]:
    """The reason against a verdict that our runs give: there are too few, or all `scores` [n] are equal.

    Equal scores are a reason where theirs have no spread (`std` is NaN) and the difference is above the margin.
    """
    if n == 0:
        return [("runs", "no run of ours has finished")]
    if n == 1:
        return [("runs", "ours is a single run, whose spread is unknown")]
    if len(scores) and np.isnan(std) and np.ptp(scores) == 0 and abs(difference) > margin:
        return [("runs", "all runs of ours have the same score and no spread is published, so there is no interval")]
    return []


@dataclass
class Runs:
    """The runs of one algorithm on one task, and their scores by any of the published metrics."""

    grid: Grid
    task: str
    runs: list[tuple[dict, dict]]  # cell and record of each finished run
    _episodes: dict[str, pd.DataFrame] = field(default_factory=dict)  # by the run's directory, so each is read once

    def scores(self, entry: Any, budget: int) -> np.ndarray:
        """The score of every run by the entry's metric, [n]; empty where our runs do not have this metric.

        A run that has diverged, or was stopped by its task, before the entry's number of steps has the random score, as
        in all tables.
        """
        if entry.metric in ("maximum", "unstated") or of_steps(entry, budget):
            return np.empty(0)
        end = min(entry.steps, budget)
        return np.array([self.score(cell, run, entry, end) for cell, run in self.runs])

    def score(self, cell: dict, run: dict, entry: Any, end: float) -> float:
        """The score of a run by the metric of a published entry; `end` is the last environment step that counts."""
        random = self.grid.tasks[self.task]["random_score"]
        if entry.metric.startswith("evaluation"):
            kind = entry.metric.removeprefix("evaluation_")
            return float(np.mean(run["evaluation"][kind]["returns"])) if run["status"] == "done" else random
        if run["status"] != "done" and run["diverged_at"] <= end:
            return random
        episodes = self.episodes(cell, run)
        steps, returns = episodes["step"].to_numpy(), episodes["return"].to_numpy()
        if entry.metric == "last_episodes":
            return statistics.mean_of_last(steps, returns, end, int(entry.window), random)
        return mean_of_window(steps, returns, end, entry.window, entry.bin, random)

    def episodes(self, cell: dict, run: dict) -> pd.DataFrame:
        """The training episodes of a run."""
        if cell["directory"] not in self._episodes:
            self._episodes[cell["directory"]] = read_episodes(self.grid.folder / cell["directory"], run)
        return self._episodes[cell["directory"]]


def mean_of_window(
    steps: np.ndarray, returns: np.ndarray, end: float, window: float, width: float, before: float
) -> float:
    """The mean return in the window (end − window, end], averaged over steps rather than episodes.

    It is the mean over bins of `width` steps of the mean return in each bin. `steps` and `returns` are [E], an entry
    per episode. An empty bin has the value of the bin before it. If the first bin is empty, it has the return of the
    last episode before the window, or `before` where there is no such episode.
    """
    edges = end - window + width * np.arange(round(window / width) + 1)
    means, _ = statistics.bin_means(steps, returns, edges)
    earlier = returns[steps <= edges[0]]
    return float(statistics.carry_forward(means[1:], earlier[-1] if len(earlier) else before).mean())


def std_over_seeds(entry: Any) -> float:
    """The published standard deviation over seeds; NaN where the entry does not determine it."""
    if entry.spread_kind not in SPREADS or not entry.n > 1:
        return np.nan
    return float(SPREADS[entry.spread_kind](entry.spread, entry.n))


def interval_of_mean(mean: float, std: float, n: float) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a sample of size n; NaN where its standard deviation is NaN."""
    if np.isnan(std):
        return np.nan, np.nan
    half = statistics.quantile_of_t(n - 1) * std / np.sqrt(n)
    return mean - half, mean + half


def difference_interval(ours: np.ndarray, mean: float, std: float, m: float) -> tuple[float, float, float, str]:
    """The difference ours − theirs, the ends of its 95 % interval, and the name of the interval's kind.

    `ours` are our scores [n]; `mean`, `std` and `m` are the mean, the standard deviation over seeds and the number of
    seeds that were published. What cannot be computed is NaN, and the name is then "none".
    """
    n = len(ours)
    if n < 2 or np.isnan(m):
        return (ours.mean() - mean if n else np.nan), np.nan, np.nan, "none"
    difference = ours.mean() - mean
    a = ours.var(ddof=1) / n
    if np.isnan(std):
        half = statistics.quantile_of_t(n - 1) * np.sqrt(a + a * n / m)
        return difference, difference - half, difference + half, "prediction"
    low, high = statistics.interval_of_sum(difference, np.array([a, std**2 / m]), np.array([n, m]))
    return difference, low, high, "Welch"


def id_of(grid: Grid, task: str) -> str:
    """The Gymnasium id of a task of the grid, which is its name unless the grid says otherwise."""
    return grid.tasks[task].get("id", task)


def split_id(task: str) -> tuple[str, int | None]:
    """A task's name without module and version, and its version; None for an id without a version."""
    match = re.fullmatch(r"(?:[\w.]+:)?(.+?)(?:-v(\d+))?", task)
    return match[1], int(match[2]) if match[2] else None


def version_relation(ours: str, theirs: str) -> tuple[str, str]:
    """How comparable two versions of a task are, as one of LEVELS, and what changed between them, in words.

    `ours` and `theirs` are ids of the task. The level is the worst of the changes from one version to the next.
    """
    name, version = split_id(ours)
    _, other = split_id(theirs)
    if version == other:
        return "same", ""
    between = f"v{other} instead of v{version}"
    if version is None or other is None:
        return "not", f"{between.replace('vNone', 'no version')}, of which nothing is known here"
    low, high = sorted((version, other))
    changes = CHANGES.get(name, {})
    steps = [changes.get(later) for _, later in pairwise(range(low, high + 1))]
    if None in steps:
        return "not", f"{between}, and what changed between them is not known here"
    level = max((level for level, _ in steps), key=LEVELS.index)
    told = [text for found, text in steps if found == level] if level == "not" else [text for found, text in steps]
    told = [text for text in dict.fromkeys(told) if text != "options only"] or ["options only"]
    return level, f"{between} ({'; '.join(told)})"


def settings_relation(
    cell: dict[str, Any], task: dict[str, Any], entry: Any, budget: int, sets: Mapping[str, SettingsSet]
) -> tuple[str, str]:
    """Whether the settings are "same", "other" or "unknown", and every known difference: ours, theirs in brackets.

    How time limits are treated is not compared here, because the table has a column for it.
    """
    if not entry.settings:
        return "unknown", ""
    theirs = sets[entry.settings]
    ours = {**task, **cell["settings"]}
    told = [
        f"{f'{name} {setting_in_words(ours[name])}' if name in ours else f'no {name}'} ({setting_in_words(value)})"
        for name, value in theirs.settings.items()
        if not equal(ours.get(name, "absent"), value)
    ]
    anneals = cell["settings"].get("anneal_learning_rate"), theirs.settings.get("anneal_learning_rate")
    if all(anneals) and abs(budget / entry.run_steps - 1) > STEPS_WITHIN:
        told.append(f"learning rate falls over {budget:,} steps ({entry.run_steps:,.0f})")
    if theirs.otherwise:
        told.append(f"theirs also: {', '.join(theirs.otherwise)}")
    return ("other", "; ".join(told)) if told else ("same", "")


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two values of a setting are equal; numbers are compared to five digits."""
    numbers = [isinstance(value, NUMBER) and not isinstance(value, bool) for value in (ours, theirs)]
    return math.isclose(ours, theirs, rel_tol=1e-5) if all(numbers) else ours == theirs


def setting_in_words(value: Any) -> str:
    """A setting's value in a sentence: yes, no, none, or a number with four significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
