"""The tables: their columns, and how they are read and written."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.reading.checks import TEXT_COLUMNS, ResultsError, read_csv, write_whole
from analysis.statistics.scores import AGGREGATES
from experiments.schema import DIAGNOSTICS, PART_COLUMNS, SECONDS

MEASURES = (  # of an estimator at a probe, each with its interval
    *("variance", "ratio", "snr", "pairwise_cosine", "cosine", "true_cosine"),
    *("reference_norm_squared", "bias_squared", "relative_bias"),
)
# Every table with its columns: what `analysis.tables` writes, and what figures and report may rely on.
TABLES = {
    name: tuple(columns.split())
    for name, columns in {
        "ledger": "task algorithm seed state steps steps_taken updates episodes seconds directory note",
        "ledger_jobs": "kind directory state note",
        "curves": "task algorithm seed step return moving_average normalized episodes",
        "curve_intervals": "task algorithm step n mean low high std",
        "scores": "task algorithm seed status score mode_score normalized normalized_mode auc normalized_auc "
        "steps_to_threshold reached steps steps_taken steps_per_second "
        f"{' '.join(f'seconds_{name}' for name in SECONDS)} seconds_rest peak_memory_mb",
        "summary": "task algorithm requested n diverged mean low high iqm std min max mode_mean normalized_mean "
        "auc_mean auc_low auc_high reached median_steps_to_threshold",
        "aggregate": "measure algorithm tasks n requested "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in AGGREGATES)}",
        "profiles": "measure algorithm tau share low high",
        "improvement": "measure algorithm other tasks n n_other probability low high",
        "pairs": "measure task algorithm other tasks n n_other difference low high p p_adjusted verdict seeds_needed "
        "rests_on difference_without low_without high_without p_permutation p_permutation_adjusted",
        "efficiency": "algorithm fraction iqm low high",
        "diagnostics": f"task algorithm seed step {' '.join(DIAGNOSTICS)}",
        "provenance": "kind name value runs studies probes",
        "benchmark": "task contestant title side status reason n steps_per_second low high "
        "stepping acting learning rest reference reference_ratio reference_low reference_high "
        "peer peer_ratio peer_low peer_high limit_share gymnasium_share peak_memory_mb start_up overhead",
        "gradients": "task source seed fraction step exact episodes main batches estimator kind algorithm "
        "critic advantages gae_lambda gamma "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in MEASURES)} ceiling expected verdict note",
        "critics": "task source seed fraction step exact critic gamma explained_variance rmse return_std",
        "tuning": "algorithm group trial state score best_so_far parts diverged steps seconds",
        "tuning_values": "algorithm group setting trial state score diverged winner value",
        "tuning_settings": "algorithm group setting low high scale choices untuned tuned importance method",
        "tuning_parts": f"algorithm group {' '.join(PART_COLUMNS)}",
        "shrinkage": "algorithm group trial tuning_score untuned_tuning_score n fresh_tuned fresh_tuned_low "
        "fresh_tuned_high fresh_untuned fresh_untuned_low fresh_untuned_high difference difference_low difference_high "
        "p p_adjusted shrinkage verdict trials pruned diverged fresh_diverged steps seconds fresh_steps fresh_seconds",
        "published": "task algorithm requested n budget source reference published_task version version_change steps "
        "metric metric_text ours ours_low ours_high published_n published published_spread spread_kind published_low "
        "published_high difference difference_low difference_high normalized_difference normalized_difference_low "
        "normalized_difference_high method verdict because reason settings differences time_limits note",
        "claims": "claim statement source rule claim_verdict comparison metric first second direction smallest_effect "
        "scale claimed_low claimed_high effect low high furthest least most tasks unit n_first n_second asked verdict "
        "reason against rests_on left_out figure",
        "claim_tasks": "claim comparison task effect low high without without_low without_high n_first n_second "
        "verdict note",
    }.items()
}


def read_table(results: Path, name: str) -> pd.DataFrame:
    """results/<grid>/tables/<name>.csv with the columns of TABLES."""
    path = results / "tables" / f"{name}.csv"
    if not path.exists():
        raise ResultsError(f"{path}: no such table; make it with: python -m analysis.tables --results {results}.")
    return read_csv(path, TABLES[name], TEXT_COLUMNS)


def write_table(results: Path, name: str, table: pd.DataFrame) -> None:
    """results/<grid>/tables/<name>.csv."""
    write_whole(results / "tables" / f"{name}.csv", table_text(table).encode())


def table_text(table: pd.DataFrame) -> str:
    """A table as it stands in its file."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def frame(rows: list[dict[str, Any]], table: str) -> pd.DataFrame:
    """Rows as a table that has its columns even when it has no rows."""
    return pd.DataFrame(rows, columns=list(TABLES[table]))


def stack(frames: list[pd.DataFrame], table: str) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)[list(TABLES[table])] if frames else frame([], table)
