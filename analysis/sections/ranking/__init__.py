"""How the algorithms rank over all tasks, and which pairs differ."""

TITLE = "Ranking"
AGGREGATES = ("iqm", "mean", "median", "optimality_gap")  # over all tasks, each with its interval
TABLES = {
    "aggregate": (
        f"measure algorithm tasks n requested {' '.join(f'{name} {name}_low {name}_high' for name in AGGREGATES)}"
    ),
    "profiles": "measure algorithm tau share low high",
    "improvement": "measure algorithm other tasks n n_other probability low high",
    "pairs": (
        "measure task algorithm other tasks n n_other difference low high p p_adjusted verdict untested seeds_needed "
        "rests_on difference_without low_without high_without p_permutation p_permutation_adjusted"
    ),
}
TEXT = "task algorithm measure other verdict untested rests_on"
FIGURES = {
    "aggregate_scores": "All tasks together",
    "performance_profiles": "Performance profiles",
    "probability_of_improvement": "Probability of improvement",
}
AVERAGES = "runs"
