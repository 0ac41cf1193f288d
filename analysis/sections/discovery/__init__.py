"""What the training episodes of each run found at best, where the grid says what counts as a solution."""

TITLE = "What was found"
TABLES = {
    "discoveries": (
        "task algorithm seed status episodes best best_at best_score solved solved_at share_of_evaluations"
    ),
    "discovery": (
        "task algorithm requested n fewest_episodes solved share low high median_evaluations best_mean best reference"
    ),
}
TEXT = "task algorithm status"
