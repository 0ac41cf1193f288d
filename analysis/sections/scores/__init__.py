"""The final score of every run."""

from policy_gradient_ladder.experiments.schema import SECONDS

TITLE = "Every run"
TABLES = {
    "scores": (
        "task algorithm seed status score mode_score normalized normalized_mode auc normalized_auc "
        "steps_to_threshold reached steps steps_taken steps_per_second "
        f"{' '.join(f'seconds_{name}' for name in SECONDS)} seconds_rest peak_memory_mb episode_spread episode_cost "
        "true_return"
    ),
    "summary": (
        "task algorithm requested n diverged stopped mean low high iqm std min max mode_mean normalized_mean "
        "auc_mean auc_low auc_high reached median_steps_to_threshold"
    ),
}
TEXT = "task algorithm status"
FIGURES = {
    "final_scores": "Final scores",
}
AVERAGES = "runs"
