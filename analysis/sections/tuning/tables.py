"""results/<grid>/tuning → the tables of hyperparameter tuning.

A study searches the settings of one algorithm on one group of tasks. Scores are means of normalised scores over tasks
and seeds: the trials' over the tuning seeds, the winner's and the untuned settings' also over fresh seeds, which
neither tuning nor the grid's runs use. Where spread over seeds is penalised, only the trials' scores have the penalty.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.studies import Study
from analysis.reading.tables import frame
from analysis.statistics import comparison
from analysis.statistics import scores as statistics
from experiments.schema import PART_COLUMNS

STUDY = ["algorithm", "group"]


Studies = list[tuple[dict[str, Any], Study]]  # what the grid asks of a study, and the study


def tuning(studies: Studies) -> pd.DataFrame:
    """A row per study and trial."""
    return of_studies(studies, "tuning", trial_rows)


def tuning_values(studies: Studies) -> pd.DataFrame:
    """A row per study, trial and searched setting."""
    return of_studies(studies, "tuning_values", value_rows)


def tuning_settings(studies: Studies) -> pd.DataFrame:
    """A row per study and searched setting."""
    return of_studies(studies, "tuning_settings", setting_rows)


def tuning_parts(studies: Studies) -> pd.DataFrame:
    """A row per study and training: on tuning seeds of every trial, on fresh seeds with tuned and untuned settings."""
    return of_studies(studies, "tuning_parts", lambda study: study.parts[list(PART_COLUMNS)].to_dict("records"))


def shrinkage(studies: Studies) -> pd.DataFrame:
    """A row per study: the winner's score on tuning seeds and on fresh ones, beside that of the untuned settings."""
    rows = [shrinkage_row(study) for _, study in studies]
    judge(rows)
    given = iter(rows)
    return of_studies(studies, "shrinkage", lambda _: [next(given)])


def of_studies(studies: Studies, table: str, rows_of: Callable[[Study], list[dict[str, Any]]]) -> pd.DataFrame:
    """The rows of every study as the named table, behind the study's algorithm and group."""
    rows = [{**{key: asked[key] for key in STUDY}, **row} for asked, study in studies for row in rows_of(study)]
    return frame(rows, table)


def judge(rows: list[dict[str, Any]]) -> None:
    """Add to the studies' rows the p-value corrected for all studies (Holm), and the verdict that follows from it; the
    same, without a test, where the untuned settings won.
    """
    for row, p in zip(rows, comparison.holm([row["p"] for row in rows]), strict=True):
        verdict = "same" if row["trial"] == 0 else comparison.verdict_on(row["difference"], p)
        row |= {"p_adjusted": p, "verdict": verdict}


def trial_rows(study: Study) -> list[dict[str, Any]]:
    """Every trial; the best so far is the highest score of a complete trial, as only these can win."""
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
    """What every trial set every searched setting to, as JSON text; empty where that differs between the tasks."""
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
    """Every searched setting: where it was searched, its untuned and its tuned value, and how much it mattered.

    Where the untuned settings won, the tuned value is the untuned one.
    """
    about = study.about
    untuned, importances = about["untuned"], about["importances"] or {}
    return [
        {
            "setting": name,
            **{key: values.get(key) for key in ("low", "high", "scale")},
            "choices": json.dumps(values["choices"]) if "choices" in values else None,
            "untuned": json_text(untuned[name], values),
            "tuned": json_text(about["best"]["settings"].get(name, untuned[name]), values),
            "importance": importances.get(name),
            "method": about["importance_method"],
        }
        for name, values in about["space"].items()
    ]


def json_text(value: Any, space: dict[str, Any]) -> str | None:
    """A setting's value as JSON text; None where there is none, unless null is one of its choices."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "null" if None in space.get("choices", ()) else None
    return f"{value:.10g}" if isinstance(value, float) else json.dumps(value)


def shrinkage_row(study: Study) -> dict[str, Any]:
    """The winner's score on the tuning seeds beside its score, and that of the untuned settings, on fresh seeds."""
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
    # Where the untuned settings won, they were trained on the fresh seeds once, and their rows are there twice.
    fresh = study.parts[study.parts["settings"].isin(["untuned"] if best == 0 else ["tuned", "untuned"])]
    return row | {
        "trials": len(trials),
        "pruned": int((trials["state"] == "pruned").sum()),
        "diverged": int((trials["diverged"] > 0).sum()),
        "fresh_diverged": int((fresh["status"] == "diverged").sum()),
        **{name: trials[name].sum() for name in ("steps", "seconds")},
        **{f"fresh_{name}": fresh[name].sum() for name in ("steps", "seconds")},
    }


def tuning_score(study: Study, trial: int) -> float:
    """Mean over tasks and tuning seeds of a complete trial, without any penalty on spread."""
    return float(scores_by_seed(study.part_rows("trial", trial)).mean())


def scores_by_seed(parts: pd.DataFrame) -> np.ndarray:
    """[seeds] normalised scores, means over the tasks."""
    return parts.groupby("seed")["normalized"].mean().to_numpy()


def difference_of(study: Study, tuned: np.ndarray, untuned: np.ndarray) -> dict[str, Any]:
    """Tuned − untuned on fresh seeds [n] with Welch's interval and the p-value that there is none.

    The two sides are taken as independent although they share their seeds: from the first update on other settings see
    other states, so that a seed pairs little more than initial weights, and what correlation is left makes the interval
    too long rather than too short.
    """
    if study.about["best"]["trial"] == 0:
        return {**estimate("difference", 0.0, (np.nan, np.nan)), "p": np.nan}
    found = comparison.difference([tuned], [untuned])
    return {**estimate("difference", found.value, (found.low, found.high)), "p": found.p}


def estimate(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
