"""Returns of trained policies on changed tasks, against the size of the change."""

TITLE = "Under changes of the task"
TABLES = {
    "robustness": "environment task algorithm seed change size nominal score normalized loss",
    "robustness_summary": "environment task algorithm change size nominal n mean low high lost",
}
TEXT = "environment task algorithm change"
FIGURES = {"under_changes": "Returns under changes of the task"}
AVERAGES = "runs"
