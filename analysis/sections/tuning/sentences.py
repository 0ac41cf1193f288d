"""What the tables of hyperparameter tuning say: sentences, and the rows that the page shows."""

import json
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from ...reading.grid import Grid
from ...statistics import comparison
from ...statistics import scores as statistics
from ...words import count, duration, enumerate_text, interval
from ..completeness.sentences import FEW_RUNS

ABOUT = (
    "A comparison of algorithms is also a comparison of how well each was tuned. Here a study searches the settings "
    "of one algorithm on a group of tasks. Each trial trains with other settings, on seeds that nothing else uses. "
    "The runs of this grid have the settings of the trial with the highest mean normalised score. The highest of many "
    "noisy scores is too high. So the winner is trained again, beside the untuned settings, with new random seeds "
    "that neither tuning nor the runs use (“fresh seeds” in tables and figures). What tuning did is read from these "
    "alone."
)
OF_SCORES = (
    "Normalised scores, mean over the group’s tuning tasks and the seeds, after as many steps as a trial has. Below a "
    "score: its 95 % interval over seeds (Student’s t; Welch’s for the difference), absent with a single fresh seed. "
    "Verdicts: Welch’s t-test, corrected by Holm’s procedure for all studies; each interval is that of its study "
    "alone. Shrinkage: the winner’s score on tuning seeds − its score on fresh seeds."
)
VERDICTS = {  # what the page says of each
    "better": "better",
    "worse": "worse",
    "undecided": "undecided",
    "same": "untuned won",
    "none": "not judged",
}


def page(
    grid: Grid, shrinkage: pd.DataFrame, tuning_settings: pd.DataFrame, scores: pd.DataFrame
) -> dict[str, Any] | None:
    """What tuning shows; None where the grid tunes nothing."""
    if not grid.studies:
        return None
    return {
        "about": ABOUT,
        "of_scores": OF_SCORES,
        "budgets": budgets(grid),
        "equal": equal_budgets(grid),
        "sentences": sentences(grid, shrinkage, tuning_settings, scores),
        "shrinkage": shrinkage_rows(shrinkage),
        "settings": setting_rows(tuning_settings),
        "costs": cost_rows(grid, shrinkage, scores),
        "score": score,
    }


def sentences(grid: Grid, shrinkage: pd.DataFrame, settings: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Whether tuning helped, how much of it was luck, what it cost, and what was not tuned."""
    said = [*unfinished(grid, shrinkage)]
    if len(shrinkage):
        said += [
            *helped(grid, shrinkage),
            *few_seeds(shrinkage),
            *twins(grid, settings, scores),
            *shrank(shrinkage),
            cost_sentence(grid, shrinkage, scores),
            *diverged(shrinkage),
            importance_sentence(shrinkage, settings),
        ]
    return [*said, *kept(grid)]


def headline(grid: Grid, shrinkage: pd.DataFrame) -> list[str]:
    """The one sentence for the main findings; nothing where no study has finished."""
    return helped(grid, shrinkage)[:1] if len(shrinkage) else []


def unfinished(grid: Grid, shrinkage: pd.DataFrame) -> list[str]:
    """A sentence that names the studies that have not finished; none if all have."""
    there = set(shrinkage[["algorithm", "group"]].itertuples(index=False, name=None))
    missing = [study for study in grid.studies if (study["algorithm"], study["group"]) not in there]
    if not missing:
        return []
    names = enumerate_text(f"{grid.title(study['algorithm'])} on {study['group']}" for study in missing)
    return [f"{len(missing)} of the {len(grid.studies)} requested studies {be(missing)} not finished: {names}."]


def helped(grid: Grid, shrinkage: pd.DataFrame) -> list[str]:
    """Over all studies, by the verdicts on new random seeds; then group by group."""
    counts = shrinkage["verdict"].value_counts()
    unknown = shrinkage[shrinkage["verdict"].isna()]
    won = [f"in {counts['same']} the untuned settings won the tuning itself"] if counts.get("same") else []
    higher = int((shrinkage["difference"] > 0).sum())
    if not counts.drop("same", errors="ignore").sum() and len(unknown):
        seen = f"the tuned settings scored higher than the untuned ones in {higher} of {studies_text(len(shrinkage))}"
        return [
            f"Whether tuning helped cannot be said: with a single new random seed there is no interval. On that seed "
            f"{'; '.join([seen, *won])}."
        ]
    tuned = list(dict.fromkeys(shrinkage["algorithm"]))
    by_algorithm = {name: set(rows) for name, rows in shrinkage.groupby("algorithm", sort=False)["verdict"]}
    groups = list(dict.fromkeys(shrinkage["group"]))
    better = [name for name in tuned if "better" in by_algorithm[name]]
    where = " in at least one group of tasks" if len(groups) > 1 else ""
    if len(tuned) == 1:
        helping = "helped" if better else "is not shown to have helped"
        said = f"Tuning {helping} {grid.title(tuned[0])}{where if better else ''}"
    elif better:
        names = enumerate_text(map(grid.title, better))
        said = f"Tuning helped {len(better)} of {len(tuned)} algorithms{where} ({names})"
    else:
        said = f"Tuning is not shown to have helped any of the {len(tuned)} algorithms"
    parts = [
        f"{higher} {'has' if higher == 1 else 'have'} a higher mean with the tuned than with the untuned settings on "
        f"new random seeds, {counts.get('better', 0) or 'none'} of them by more than chance explains (corrected for "
        f"their number)"
    ]
    if worse := counts.get("worse"):
        parts.append(f"{worse} {be(range(worse))} worse by that measure")
    if len(unknown):
        parts.append(f"{len(unknown)} with a single new random seed {be(unknown)} not judged")
    said += f". Of {studies_text(len(shrinkage))} (one algorithm on one group of tasks), {'; '.join([*parts, *won])}. "
    said += f"{sample(grid, shrinkage)}."
    return [said, *(group_sentence(grid, group, rows) for group, rows in shrinkage.groupby("group", sort=False))]


def sample(grid: Grid, shrinkage: pd.DataFrame) -> str:
    """How many new random seeds a study has, and how long it trains beside a run."""
    studied = set(shrinkage[["algorithm", "group"]].itertuples(index=False, name=None))
    shares = [
        steps / grid.tasks[task]["steps"]
        for study in grid.studies
        if (study["algorithm"], study["group"]) in studied
        for task, steps in study["tasks"].items()
        if task in grid.tasks
    ]
    percent = extent(pd.Series(shares).mul(100).round().astype(int)) if shares else ""
    length = f", each trained for {percent} % of a run’s steps" if shares else ""
    seeds = extent(shrinkage["n"])
    return f"n = {seeds} new random seed{'' if seeds == '1' else 's'} per task{length}"


def twins(grid: Grid, settings: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Where the grid runs an algorithm with tuned settings and with those it had before: both at full budget, group by
    group.
    """
    said = []
    for study in grid.studies:
        tuned = study["algorithm"]
        for untuned in grid.algorithms:
            sides: dict[str, list[np.ndarray]] = {
                task: [
                    scores.loc[(scores["task"] == task) & (scores["algorithm"] == name), "normalized"].to_numpy()
                    for name in (tuned, untuned)
                ]
                for task in study["serves"]
                if are_twins(grid, settings, study, untuned, task)
            }
            sides = {task: runs for task, runs in sides.items() if all(map(len, runs))}
            if sides:
                found = between(sides)
                means = [statistics.mean_over_tasks(own) for own in zip(*sides.values(), strict=True)]
                said.append(
                    f"In this grid’s own runs, at full budget, on the tasks of the group {study['group']}: "
                    f"{grid.title(tuned)} {score(means[0])} with tuned settings, {score(means[1])} without "
                    f"them, as {grid.title(untuned)}; difference "
                    f"{interval(found.value, found.low, found.high, score)}, the interval "
                    f"of this comparison alone, n = {extent(lengths(sides))} per task{resting(sides, found)}."
                )
    return said


def between(sides: dict[str, list[np.ndarray]]) -> comparison.Difference:
    """The difference of two algorithms' scores, task by task [n_k] and [m_k]."""
    first, second = zip(*sides.values(), strict=True)
    return comparison.difference(list(first), list(second))


def lengths(sides: dict[str, list[np.ndarray]]) -> pd.Series:
    return pd.Series([len(runs) for task in sides.values() for runs in task])


def resting(sides: dict[str, list[np.ndarray]], found: comparison.Difference) -> str:
    """Without which single task a difference that is not 0 by its interval could be 0; or nothing."""
    if len(sides) == 1 or not found.low * found.high > 0:
        return ""
    without = {left: between({task: own for task, own in sides.items() if task != left}) for left in sides}
    crucial = {task: own for task, own in without.items() if not own.low * found.value > 0 < own.high * found.value}
    if not crucial:
        return ""
    task = min(crucial, key=lambda left: crucial[left].value * np.sign(found.value))
    own = crucial[task]
    return f"; it rests on {task}: {interval(own.value, own.low, own.high, score)} without it"


def are_twins(grid: Grid, settings: pd.DataFrame, study: dict[str, Any], untuned: str, task: str) -> bool:
    """Whether on this task `untuned` is the study's algorithm with the settings that it had before the study."""
    cells = [next(iter(grid.requested(task, name)), None) for name in (study["algorithm"], untuned)]
    modules = {grid.algorithms[name]["module"] for name in (study["algorithm"], untuned)}
    if None in cells or len(modules) > 1 or cells[0]["tuned"] != study["directory"] or cells[1]["tuned"] is not None:
        return False
    of_study = settings[(settings["algorithm"] == study["algorithm"]) & (settings["group"] == study["group"])]
    before = {row.setting: row.untuned for row in of_study.itertuples()}
    tuned, own = (cell["settings"] for cell in cells)
    return len(before) > 0 and all(
        own.get(name) == value if name not in before else pd.isna(before[name]) or same(before[name], own.get(name))
        for name, value in tuned.items()
    )


def same(text: str, value: Any) -> bool:
    """Whether a value as JSON of ten digits is this one."""
    return rounded_text(text) == rounded_text(json.dumps(value))


def few_seeds(shrinkage: pd.DataFrame) -> list[str]:
    """What a verdict is worth at this n."""
    n = int(shrinkage["n"].min())
    if not 1 < n <= FEW_RUNS:
        return []
    return [
        f"These verdicts rest on {n} new random seeds per task. They are by Welch’s t-test, which assumes normally "
        f"distributed scores, corrected by Holm’s procedure for all studies. So few seeds show only large gains: "
        f"undecided does not mean that there was no gain."
    ]


def group_sentence(grid: Grid, group: str, rows: pd.DataFrame) -> str:
    """Of one group: every algorithm's tuned and untuned score with new random seeds, by verdict."""
    parts = []
    for verdict, words in VERDICTS.items():
        own = [
            f"{grid.title(row.algorithm)} ({score(row.fresh_tuned)})"
            if verdict == "same"
            else f"{grid.title(row.algorithm)} ({score(row.fresh_untuned)} → {score(row.fresh_tuned)})"
            for row in rows[rows["verdict"].fillna("none") == verdict].itertuples()
        ]
        if own:
            parts.append(f"{words.capitalize()}: {enumerate_text(own)}")
    return f"Group {group}, normalised score with new random seeds (untuned → tuned settings). {'. '.join(parts)}."


def shrank(shrinkage: pd.DataFrame) -> list[str]:
    """How far the winners fell from their tuning score, beside the untuned settings, which nothing selected."""
    lost = shrinkage["shrinkage"]
    control = (shrinkage["untuned_tuning_score"] - shrinkage["fresh_untuned"]).mean()
    one = len(shrinkage) == 1
    spans = "" if one else f" on average (between {lower(lost.min())} and {lower(lost.max())})"
    said = [
        f"Shrinkage: with new random seeds the winner{'' if one else 's'} scored {lower(lost.mean())} than on the "
        f"tuning seeds{spans}; the untuned settings, which were not chosen by their score, {lower(control)}."
    ]
    promised = (shrinkage["tuning_score"] - shrinkage["untuned_tuning_score"]).mean()
    kept_gain = shrinkage["difference"].mean()
    if promised > 0:
        said.append(
            f"On the tuning seeds the winner{'' if one else 's'} stood {score(promised)} above the untuned settings"
            f"{'' if one else ' on average'}; with new random seeds {score(abs(kept_gain))} "
            f"{'above' if kept_gain >= 0 else 'below'} them."
        )
    return said


def cost_sentence(grid: Grid, shrinkage: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Steps and core time of all studies, and as a share of the training of the same algorithms."""
    tuned = grid.algorithms.keys() & set(shrinkage["algorithm"])
    steps, seconds = (shrinkage[name].sum() + shrinkage[f"fresh_{name}"].sum() for name in ("steps", "seconds"))
    training = sum(cell["steps"] for cell in grid.cells if cell["algorithm"] in tuned)
    spent = scores.loc[scores["algorithm"].isin(tuned), "seconds_total"].sum()
    time = f", and {share(seconds, spent)} of the core time that its finished runs took" if spent > 0 else ""
    return (
        f"Tuning cost {count(steps)} environment steps and {duration(seconds)} of core time, new random seeds "
        f"included: {share(steps, training)} of the steps that this grid trains the same algorithms for{time}. No "
        f"other part of this page counts these steps."
    )


def diverged(shrinkage: pd.DataFrame) -> list[str]:
    """Sentences on how many trials, and parts on fresh seeds, diverged or were stopped by their task."""
    trials, parts = int(shrinkage["diverged"].sum()), int(shrinkage["fresh_diverged"].sum())
    said = []
    if trials:
        said.append(
            f"In {trials} of {count(shrinkage['trials'].sum())} trials a part diverged or was stopped by its "
            f"task; it counts as 0, the random score."
        )
    if parts:
        said.append(
            f"{parts} of the runs with new random seeds diverged or were stopped by their task, and "
            f"{be(range(parts))} counted as 0."
        )
    return said


def importance_sentence(shrinkage: pd.DataFrame, settings: pd.DataFrame) -> str:
    """What the importances of settings are estimated from."""
    complete = shrinkage["trials"] - shrinkage["pruned"]
    if settings["importance"].isna().all():
        return "No importances are shown: no study has ten complete trials that do not all score the same."
    return (
        f"Importances ({settings['method'].iloc[0]}) are estimated from {extent(complete)} complete trials per study: "
        f"read them as a hint, not as a ranking."
    )


def kept(grid: Grid) -> list[str]:
    """Which algorithms, or which of their tasks, have the grid's own settings."""
    said = []
    untouched = [name for name in grid.algorithms if not any(tuned_tasks(grid, name).values())]
    if untouched:
        names = enumerate_text(map(grid.title, untouched))
        said.append(f"Not tuned, trained with the settings that the grid gives: {names}.")
    partly: dict[tuple[str, ...], list[str]] = {}
    for name in grid.algorithms:
        tasks = tuple(task for task, tuned in tuned_tasks(grid, name).items() if not tuned)
        if tasks and name not in untouched:
            partly.setdefault(tasks, []).append(grid.title(name))
    said += [
        f"On {enumerate_text(tasks)} no study serves {enumerate_text(titles)}: trained there with the settings that "
        f"the grid gives."
        for tasks, titles in partly.items()
    ]
    if any(study["workers"] > 1 for study in grid.studies):
        said.append("Studies with several workers are not repeatable: the order in which trials end decides the next.")
    return said


def tuned_tasks(grid: Grid, algorithm: str) -> dict[str, bool]:
    """task → whether the algorithm's cells there take tuned settings."""
    return {cell["task"]: cell["tuned"] is not None for cell in grid.cells if cell["algorithm"] == algorithm}


def budgets(grid: Grid) -> list[dict[str, Any]]:
    """A row per budget that studies share: who was tuned on what, for whom, and with which seeds."""
    keys = ("group", "tasks", "serves", "seeds", "fresh_seeds", "trials", "spread_penalty", "sampler", "pruner")
    found: dict[str, dict[str, Any]] = {}
    for study in grid.studies:
        row = found.setdefault(json.dumps([study[key] for key in keys]), {**study, "algorithms": []})
        row["algorithms"].append(study["algorithm"])
    return [
        {
            **row,
            "tasks": {task: steps_text(grid, task, steps) for task, steps in row["tasks"].items()},
            "parts": len(row["tasks"]) * len(row["seeds"]),
            "sampler": named(row["sampler"]),
            "pruner": named(row["pruner"]),
        }
        for row in found.values()
    ]


def steps_text(grid: Grid, task: str, steps: int) -> str:
    """The steps of a part, and as a share of those of a run on that task."""
    run = f", {share(steps, grid.tasks[task]['steps'])} of a run’s" if task in grid.tasks else ""
    return f"{count(steps)} steps{run}"


def named(about: dict[str, Any]) -> str:
    """A sampler's or a pruner's name with its arguments."""
    arguments = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items() if key != "name")
    return f"{about['name']} ({arguments})" if arguments else about["name"]


def equal_budgets(grid: Grid) -> str:
    """Whether every algorithm of a group had the same trials, parts and steps."""
    keys = ("tasks", "seeds", "trials", "pruner")
    for _, own in groupby(sorted(grid.studies, key=lambda study: study["group"]), lambda study: study["group"]):
        if len({json.dumps([study[key] for key in keys]) for study in own}) > 1:
            return "Not every algorithm of a group had the same budget"
    return "Every algorithm of a group had the same budget"


def shrinkage_rows(shrinkage: pd.DataFrame) -> list[dict[str, Any]]:
    """The table's rows as they are, with the verdict in words."""
    return [
        {"row": row, "verdict": VERDICTS.get(row.verdict, VERDICTS["none"])}
        for row in shrinkage.itertuples(index=False)
    ]


def setting_rows(settings: pd.DataFrame) -> list[dict[str, Any]]:
    """Per study, its searched settings: where each was searched, and what it was before and after tuning."""
    return [
        {
            "algorithm": algorithm,
            "group": group,
            "settings": [
                {
                    "setting": row.setting,
                    "space": space_text(row),
                    "untuned": "–" if pd.isna(row.untuned) else rounded_text(row.untuned),
                    "tuned": "as untuned" if pd.isna(row.tuned) else rounded_text(row.tuned),
                    "changed": pd.notna(row.tuned) and (pd.isna(row.untuned) or row.tuned != row.untuned),
                    "importance": "–" if pd.isna(row.importance) else share(row.importance, 1),
                }
                for row in own.itertuples()
            ],
        }
        for (algorithm, group), own in settings.groupby(["algorithm", "group"], sort=False)
    ]


def space_text(row: Any) -> str:
    """0.0001 to 0.01, log; or the choices."""
    if pd.isna(row.scale):
        return ", ".join(rounded_text(json.dumps(choice)) for choice in json.loads(row.choices))
    scales = {"linear": "", "log": ", log", "log_one_minus": ", log of 1 − value"}
    return f"{row.low:g} to {row.high:g}{scales[row.scale]}"


def rounded_text(text: str) -> str:
    """A value (as JSON) with at most four significant digits, but γ and its like with four after the nines."""
    value = json.loads(text)
    if isinstance(value, bool) or not isinstance(value, float):
        return value if isinstance(value, str) else text
    return f"{1 - float(f'{1 - value:.3g}'):.6g}" if 0.9 < value < 1 else f"{value:.4g}"


def cost_rows(grid: Grid, shrinkage: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Per algorithm, over its finished studies: what tuning took, and as a share of its training in this grid."""
    rows = []
    for algorithm, own in shrinkage.groupby("algorithm", sort=False):
        steps, seconds = (own[name].sum() + own[f"fresh_{name}"].sum() for name in ("steps", "seconds"))
        training = sum(cell["steps"] for cell in grid.cells if cell["algorithm"] == algorithm)
        spent = scores.loc[scores["algorithm"] == algorithm, "seconds_total"].sum()
        rows.append(
            {
                "algorithm": algorithm,
                **{name: int(own[name].sum()) for name in ("trials", "pruned", "diverged")},
                "steps": count(steps),
                "fresh_steps": count(own["fresh_steps"].sum()),
                "time": duration(seconds),
                "of_steps": share(steps, training),
                "of_time": share(seconds, spent),
            }
        )
    return rows


def sample_text(figure: str, shrinkage: pd.DataFrame) -> str:
    """n of a figure of tuning: new random seeds or trials, and how the intervals are made."""
    if shrinkage.empty:
        return ""
    if figure != "shrinkage":
        return f"n = {extent(shrinkage['trials'])} trials per study."
    seeds = extent(shrinkage["n"])
    said = f"n = {seeds} new random seed{'' if seeds == '1' else 's'} per task."
    if shrinkage["fresh_untuned_low"].notna().any():
        said += " Student’s t intervals over seeds, of the means over tasks."
    return said


def extent(counts: pd.Series) -> str:
    """A count, or from the smallest to the largest."""
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole > 0 else "–"


def score(value: float) -> str:
    """Three decimals of a normalised score: tuning budgets are short, and so are the distances."""
    text = f"{value:.3f}".replace("-", "−")
    return text.removeprefix("−") if float(f"{value:.3f}") == 0 else text


def lower(by: float) -> str:
    return f"{score(abs(by))} {'lower' if by >= 0 else 'higher'}"


def studies_text(n: int) -> str:
    return "1 study" if n == 1 else f"{n} studies"


def be(things: Any) -> str:
    return "is" if len(things) == 1 else "are"
