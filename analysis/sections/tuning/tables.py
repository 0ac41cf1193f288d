"""results/<grid>/tuning → the tables of hyperparameter tuning.

A study searches the settings of one algorithm on one group of tasks. Scores are means of normalised scores over tasks
and seeds. The scores of trials are over the tuning seeds. The winner and the untuned settings have scores over fresh
seeds, too, which neither tuning nor the grid's runs use. Where a study penalises the spread over seeds, only the scores
of trials include the penalty.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.schema import PART_COLUMNS, UNTUNED

from ...reading.studies import Study
from ...reading.tables import frame
from ...statistics import comparison
from ...statistics import scores as statistics

STUDY = ["algorithm", "group"]  # the columns that identify a study


Studies = list[tuple[dict[str, Any], Study]]  # for each study, its entry in grid.json and what it found


def tuning(studies: Studies) -> pd.DataFrame:
    """The table `tuning`: a row per study and trial."""
    return of_studies(studies, "tuning", trial_rows)


def tuning_values(studies: Studies) -> pd.DataFrame:
    """The table `tuning_values`: a row per study, trial and searched setting."""
    return of_studies(studies, "tuning_values", value_rows)


def tuning_settings(studies: Studies) -> pd.DataFrame:
    """The table `tuning_settings`: a row per study and searched setting."""
    return of_studies(studies, "tuning_settings", setting_rows)


def tuning_parts(studies: Studies) -> pd.DataFrame:
    """The table `tuning_parts`: a row per study and training.

    Every trial has trainings on tuning seeds; tuned and untuned settings have trainings on fresh seeds.
    """
    return of_studies(studies, "tuning_parts", lambda study: study.parts[list(PART_COLUMNS)].to_dict("records"))


def shrinkage(studies: Studies) -> pd.DataFrame:
    """The table `shrinkage`: a row per study.

    It has the scores of the winner and of the untuned settings on the tuning seeds and on fresh seeds.
    """
    rows = [shrinkage_row(study) for _, study in studies]
    judge(rows)
    given = iter(rows)
    return of_studies(studies, "shrinkage", lambda _: [next(given)])


def of_studies(studies: Studies, table: str, rows_of: Callable[[Study], list[dict[str, Any]]]) -> pd.DataFrame:
    """The rows of every study as the named table, with the study's algorithm and group as first columns.

    `rows_of` makes the rows of one study, without these two columns.
    """
    rows = [{**{key: asked[key] for key in STUDY}, **row} for asked, study in studies for row in rows_of(study)]
    return frame(rows, table)


def judge(rows: list[dict[str, Any]]) -> None:
    """Add to the rows of the studies, in place, the corrected p-value and the verdict that follows from it.

    The correction is for all studies (Holm, 1979). Where the untuned settings won, the verdict is "same" without test.
    """
    for row, p in zip(rows, comparison.holm([row["p"] for row in rows]), strict=True):
        verdict = "same" if row["trial"] == 0 else comparison.verdict_on(row["difference"], p)
        row |= {"p_adjusted": p, "verdict": verdict}


def trial_rows(study: Study) -> list[dict[str, Any]]:
    """A row per trial; `best_so_far` is the highest score of a complete trial, because only complete trials can win."""
    trials = study.trials
    complete = trials["value"].where(trials["state"] == "complete")
    return [
        {
            "trial": trial.trial,
            "state": trial.state,
            "score": trial.value,
            "best_so_far": best,
            **{name: getattr(trial, name) for name in ("parts", "diverged", "steps", "seconds")},
        }
        for trial, best in zip(trials.itertuples(), complete.cummax().ffill(), strict=True)
    ]


def value_rows(study: Study) -> list[dict[str, Any]]:
    """A row per trial and searched setting, with the value as JSON text; empty where it differs between tasks."""
    return [
        {
            "setting": name,
            **{key: trial[key] for key in ("trial", "state", "diverged")},
            "score": trial["value"],
            "winner": int(trial["trial"] == study.about["best"]["trial"]),
            "value": trial[name] if "choices" in values else json_text(trial[name], values),
        }
        for name, values in study.about["space"].items()
        for _, trial in study.trials.iterrows()
    ]


def setting_rows(study: Study) -> list[dict[str, Any]]:
    """A row per searched setting: its range or choices, its untuned and its tuned value, and its importance.

    Where the untuned settings won, the tuned value is the untuned one.
    """
    about = study.about
    best = about["best"]["settings"]
    importances = about["importances"] or {}
    untuned = {name: untuned_text(study, name) for name in about["space"]}
    return [
        {
            "setting": name,
            **{key: values.get(key) for key in ("low", "high", "scale")},
            "choices": json.dumps(values["choices"]) if "choices" in values else None,
            "untuned": untuned[name],
            "tuned": json_text(best[name], values) if name in best else untuned[name],
            "importance": importances.get(name),
            "method": about["importance_method"],
        }
        for name, values in about["space"].items()
    ]


def untuned_text(study: Study, name: str) -> str | None:
    """The untuned value of a setting as JSON text; None where it differs between tasks or lies outside the space.

    study.json has null both for this and for an untuned value that is null; trials.csv tells them apart.
    """
    space = study.about["space"][name]
    if "choices" in space:
        return study.trials.set_index("trial").loc[UNTUNED, name]
    return json_text(study.about["untuned"][name], space)


def json_text(value: Any, space: dict[str, Any]) -> str | None:
    """A setting's value as JSON text: one of its choices, or else a number; a number that is None or NaN is none.

    `space` is the setting's search space.
    """
    if "choices" in space:
        return json.dumps(value)
    if value is None or np.isnan(value):
        return None
    return f"{value:.10g}" if isinstance(value, float) else json.dumps(value)


def shrinkage_row(study: Study) -> dict[str, Any]:
    """The row of a study: the scores of the winner and of the untuned settings on tuning seeds and on fresh seeds."""
    best = study.about["best"]["trial"]
    row = {
        "trial": best,
        "tuning_score": tuning_score(study, best),
        "untuned_tuning_score": tuning_score(study, 0),
        "n": len(study.about["fresh_seeds"]),
    }
    by_seed = {settings: scores_by_seed(study.part_rows(settings)) for settings in ("tuned", "untuned")}
    for settings, scores in by_seed.items():
        row |= estimate(f"fresh_{settings}", scores.mean(), statistics.t_interval(scores))
    row |= difference_of(study, by_seed["tuned"], by_seed["untuned"])
    row["shrinkage"] = row["tuning_score"] - row["fresh_tuned"]
    trials = study.trials
    # Where the untuned settings won, they were trained on the fresh seeds once, but the study has these rows twice.
    fresh = study.parts[study.parts["settings"].isin(["untuned"] if best == 0 else ["tuned", "untuned"])]
    return row | {
        "trials": len(trials),
        "pruned": int((trials["state"] == "pruned").sum()),
        "diverged": int((trials["diverged"] > 0).sum()),
        "fresh_diverged": int((fresh["status"] != "done").sum()),
        **{name: trials[name].sum() for name in ("steps", "seconds")},
        **{f"fresh_{name}": fresh[name].sum() for name in ("steps", "seconds")},
    }


def tuning_score(study: Study, trial: int) -> float:
    """The mean normalised score of a complete trial over tasks and tuning seeds, without any penalty on spread."""
    return float(scores_by_seed(study.part_rows("trial", trial)).mean())


def scores_by_seed(parts: pd.DataFrame) -> np.ndarray:
    """Mean normalised scores over the tasks, [seeds]."""
    return parts.groupby("seed")["normalized"].mean().to_numpy()


def difference_of(study: Study, tuned: np.ndarray, untuned: np.ndarray) -> dict[str, Any]:
    """The difference tuned − untuned of scores on fresh seeds, with Welch's interval and p-value.

    `tuned` and `untuned` are normalised scores [seeds]. The two sides are treated as independent although they share
    their seeds: with other settings a run sees other states from the first update on, so a seed has little in common
    but the initial weights. Any correlation that remains makes the interval too long rather than too short.
    """
    if study.about["best"]["trial"] == 0:
        return {**estimate("difference", 0.0, (np.nan, np.nan)), "p": np.nan}
    found = comparison.difference([tuned], [untuned])
    return {**estimate("difference", found.value, (found.low, found.high)), "p": found.p}


def estimate(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    """The columns of a value and the ends of its interval: name, name_low and name_high."""
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
