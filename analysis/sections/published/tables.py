"""Published scores beside ours, at the same number of steps and in the same metric: the table `published`.

published_scores.csv has the scores, each with its source, and published_settings.yaml the settings behind them; both
are data that a user may add to. An entry is held against the runs of every algorithm of the grid that has its
`algorithm` as module, on the task of the same name.

A verdict is given where both sides measure the same thing: the same or a nearly equal version of the task, as many
steps, a metric that our runs can be measured by, and an interval of the difference ours − theirs:

- They give seeds and a spread over seeds: Welch's interval from both sides' n and standard deviation. A standard error
  or a 95 % interval is turned into a standard deviation first.
- They give seeds and no spread over them: the prediction interval. The mean of m further runs like our n lies within
  t_{n−1} s √(1/n + 1/m) of our mean in 95 % of cases. It takes their spread to be like ours.
- They do not give the number of seeds: no interval can be had, and there is no verdict.

consistent: the interval meets differences of at most MARGIN of the distance from the task's random to its reference
score, which are of no interest, so that the rounding of a printed number decides nothing. above, below: it lies beyond.
Consistent does not mean equal: a wide interval is consistent with much, so it stands beside the verdict. Each verdict
is one by itself, without a correction for their number.

Other settings do not prevent a verdict, they change its meaning, so the table names every difference that is known.
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

from analysis.reading.checks import NUMBER, ResultsError, check_names, check_present, line_of, read_csv, valid_choices
from analysis.reading.grid import Grid
from analysis.reading.jobs import Run
from analysis.reading.runs import read_episodes
from analysis.reading.tables import frame
from analysis.statistics import scores as statistics

HERE = Path(__file__).parent
SCORES = HERE / "published_scores.csv"
SETTINGS = HERE / "published_settings.yaml"
MARGIN = 0.01  # of the distance from random to reference score: smaller differences are of no interest
STEPS_WITHIN = 0.02  # of the published steps: what a last rollout or evaluation may be off
NORMAL_95 = 1.96  # standard errors from the middle to the end of a 95 % interval
METRICS = {  # in words; {window} is the entry's
    "evaluation_sampled": "evaluation after training, sampled actions",
    "evaluation_mode": "evaluation after training, mode actions",
    "last_episodes": "last {window} training episodes",
    "window": "training episodes of the last {window} steps",
    "maximum": "maximum over training",
    "unstated": "not stated",
}
SPREADS: dict[str, Callable[[float, float], float]] = {  # → standard deviation over seeds, from the spread and n
    "std": lambda spread, n: spread,
    "population_std": lambda spread, n: spread * np.sqrt(n / (n - 1)),
    "standard_error": lambda spread, n: spread * np.sqrt(n),
    "interval": lambda spread, n: spread / NORMAL_95 * np.sqrt(n),  # the spread is half its length
}
OF_EPISODES = "std_of_episodes"  # of one agent, or pooled with that of seeds: no spread over seeds
TIME_LIMITS = ("terminations", "bootstrapped", "unknown")
COLUMNS = (
    *("algorithm", "task", "steps", "run_steps", "n", "metric", "window", "bin", "mean", "spread", "spread_kind"),
    *("settings", "source", "reference", "caveat", "note"),
)
TEXTS = ("algorithm", "task", "metric", "spread_kind", "settings", "source", "reference", "caveat", "note")
# What became of a task from one version to the next, by Gymnasium's documentation. Levels from the best to the worst.
LEVELS = ("same", "comparable", "nearly", "not")
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

    settings: dict[str, Any]
    otherwise: list[str]
    time_limits: str


def read_published(path: Path, sets: Mapping[str, SettingsSet]) -> pd.DataFrame:
    """published_scores.csv, checked: every name is one that there is, and what a metric needs is given."""
    entries = read_csv(path, COLUMNS, dict.fromkeys(TEXTS, "str"))
    for column in path.read_text(encoding="utf-8").splitlines()[0].split(","):
        if column not in COLUMNS:
            raise ResultsError(f"{path}: unknown column {column!r}; valid are {valid_choices(column, COLUMNS)}.")
    entries[list(TEXTS)] = entries[list(TEXTS)].fillna("")
    names = {"metric": METRICS, "spread_kind": ("", *SPREADS, OF_EPISODES), "settings": ("", *sets)}
    check_names(entries, names, path)
    check_present(entries, ("steps", "run_steps", "mean"), path)
    metric, kind = entries["metric"], entries["spread_kind"]
    rules = [  # column, where it is wrong, what it should be
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
    """published_settings.yaml, checked."""
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
    """Per algorithm and task of the grid and per entry about them: ours, theirs, and the verdict or why there is none.

    `scores` and `settings` are the files with published scores and the settings behind them.
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
    """The entries on an algorithm of the grid and a task of this name, of any version."""
    module = grid.algorithms[algorithm].get("module", algorithm)
    same = entries["task"].map(lambda other: split_id(other)[0]) == split_id(task)[0]
    return list(entries[(entries["algorithm"] == module) & same].itertuples())


def compare(
    grid: Grid, requested: list[dict], own: "Runs", entry: Any, sets: Mapping[str, SettingsSet]
) -> dict[str, Any]:
    """A row of the table without its keys; `because` names the kinds of all reasons against a verdict."""
    task = grid.tasks[own.task]
    budget = requested[0]["steps"]
    version, change = version_relation(own.task, entry.task)
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
    """What makes an entry unfit for a verdict with any runs."""
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
    limit = task["max_episode_steps"]
    return [] if limit is None else [("task", f"our task has a time limit of its own, {limit:,} steps")]


def of_steps(entry: Any, budget: int) -> list[tuple[str, str]]:
    """Training scores can be read at any step that our runs have; the evaluation is made at their end."""
    if budget < (1 - STEPS_WITHIN) * entry.steps:
        return [("steps", f"ours has {budget:,} steps, theirs {entry.steps:,.0f}")]
    if entry.metric.startswith("evaluation") and budget > (1 + STEPS_WITHIN) * entry.steps:
        return [("steps", f"ours was evaluated after {budget:,} steps, theirs after {entry.steps:,.0f}")]
    return []


def of_runs(n: int, scores: np.ndarray, std: float, difference: float, margin: float) -> list[tuple[str, str]]:
    """Too few runs to say anything; or, without a spread on their side, too much alike."""
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
    runs: list[tuple[dict, dict]]
    _episodes: dict[str, pd.DataFrame] = field(default_factory=dict)

    def scores(self, entry: Any, budget: int) -> np.ndarray:
        """[n] scores, one per run; [0] where the entry's metric cannot be had at its number of steps.

        A run that has diverged by then has the random score, as everywhere.
        """
        if entry.metric in ("maximum", "unstated") or of_steps(entry, budget):
            return np.empty(0)
        end = min(entry.steps, budget)
        return np.array([self.score(cell, run, entry, end) for cell, run in self.runs])

    def score(self, cell: dict, run: dict, entry: Any, end: float) -> float:
        """The score of a run by the metric of a published entry. end: the last step that counts."""
        random = self.grid.tasks[self.task]["random_score"]
        if entry.metric.startswith("evaluation"):
            kind = entry.metric.removeprefix("evaluation_")
            return random if run["status"] == "diverged" else float(np.mean(run["evaluation"][kind]["returns"]))
        if run["status"] == "diverged" and run["diverged_at"] <= end:
            return random
        episodes = self.episodes(cell, run)
        steps, returns = episodes["step"].to_numpy(), episodes["return"].to_numpy()
        if entry.metric == "last_episodes":
            return mean_of_last(steps, returns, end, int(entry.window), random)
        return mean_of_window(steps, returns, end, entry.window, entry.bin, random)

    def episodes(self, cell: dict, run: dict) -> pd.DataFrame:
        if cell["directory"] not in self._episodes:
            self._episodes[cell["directory"]] = read_episodes(self.grid.folder / cell["directory"], run)
        return self._episodes[cell["directory"]]


def mean_of_last(steps: np.ndarray, returns: np.ndarray, end: float, n: int, before: float) -> float:
    """Mean of the last n returns [E] whose episode ended by step `end`, or of all if they are fewer; else `before`."""
    last = returns[steps <= end][-n:]
    return float(last.mean()) if len(last) else before


def mean_of_window(
    steps: np.ndarray, returns: np.ndarray, end: float, window: float, width: float, before: float
) -> float:
    """Mean over the bins of (end − window, end] of the mean return [E] in each: an average over steps, not episodes.

    An empty bin has the value of the bin before it, the first that of the last episode before the window, or `before`.
    """
    edges = end - window + width * np.arange(round(window / width) + 1)
    means, _ = statistics.bin_means(steps, returns, edges)
    earlier = returns[steps <= edges[0]]
    return float(statistics.carry_forward(means[1:], earlier[-1] if len(earlier) else before).mean())


def std_over_seeds(entry: Any) -> float:
    """Their standard deviation over seeds; NaN where it does not follow from what they give."""
    if entry.spread_kind not in SPREADS or not entry.n > 1:
        return np.nan
    return float(SPREADS[entry.spread_kind](entry.spread, entry.n))


def interval_of_mean(mean: float, std: float, n: float) -> tuple[float, float]:
    """Student's 95 % interval from a sample's mean and standard deviation; NaN where that is."""
    if np.isnan(std):
        return np.nan, np.nan
    half = statistics.quantile_of_t(n - 1) * std / np.sqrt(n)
    return mean - half, mean + half


def difference_interval(ours: np.ndarray, mean: float, std: float, m: float) -> tuple[float, float, float, str]:
    """ours [n] − theirs with its 95 % interval, and the name of the interval; NaN where there is none."""
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


def split_id(task: str) -> tuple[str, int | None]:
    """A task's name without module and version, and its version."""
    match = re.fullmatch(r"(?:[\w.]+:)?(.+?)(?:-v(\d+))?", task)
    return match[1], int(match[2]) if match[2] else None


def version_relation(ours: str, theirs: str) -> tuple[str, str]:
    """One of LEVELS for two versions of a task, and what changed between them; the worst of all steps in between."""
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
    """same, other or unknown, and every difference that can be told: ours first, theirs in brackets.

    How time limits are treated is not among them: it has a column of its own.
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
    """Two values of a setting; numbers by five digits."""
    numbers = [isinstance(value, NUMBER) and not isinstance(value, bool) for value in (ours, theirs)]
    return math.isclose(ours, theirs, rel_tol=1e-5) if all(numbers) else ours == theirs


def setting_in_words(value: Any) -> str:
    """A setting's value in a sentence: yes, no, none, or a number with four significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
