"""A paper's table beside ours, in the paper's own score, where a grid repeats one."""

TITLE = "Beside the paper"
TABLES = {
    "paper_runs": "task algorithm seed status episodes score",
    "paper_scale": "seeds task random best best_algorithm best_seed best_mean best_mean_algorithm",
    "paper_scores": (
        "algorithm seeds tasks requested n published score score_low score_high lowest_task lowest score_by_mean"
    ),
}
TEXT = "task algorithm status best_algorithm best_mean_algorithm lowest_task"
FIGURES = {"paper_table": "The paper's numbers and ours"}
