"""What each study searched and found, and what that is worth on fresh seeds."""

from policy_gradient_ladder.experiments.schema import PART_COLUMNS

TITLE = "Tuning"
TABLES = {
    "tuning": "algorithm group trial state score best_so_far parts diverged steps seconds",
    "tuning_values": "algorithm group setting trial state score diverged winner value",
    "tuning_settings": "algorithm group setting low high scale choices untuned tuned importance method",
    "tuning_parts": f"algorithm group {' '.join(PART_COLUMNS)}",
    "shrinkage": (
        "algorithm group trial tuning_score untuned_tuning_score n fresh_tuned fresh_tuned_low "
        "fresh_tuned_high fresh_untuned fresh_untuned_low fresh_untuned_high difference difference_low difference_high "
        "p p_adjusted shrinkage verdict trials pruned diverged fresh_diverged steps seconds fresh_steps fresh_seconds"
    ),
}
TEXT = "algorithm state value verdict group setting scale choices untuned tuned method settings seeds task status"
FIGURES = {
    "shrinkage": "Did tuning help? Tuning seeds against fresh seeds",
    "tuning_history": "Every trial in order",
    "tuning_space": "Search space",
    "tuning_importance": "Which settings mattered",
}
AVERAGES = "studies"
