"""Scores against the number of bins of an action."""

TITLE = "Actions in bins"
TABLES = {"bins": "environment algorithm bins task n mean low high"}
TEXT = "environment algorithm task"
FIGURES = {"action_bins": "Scores against bins"}
AVERAGES = "runs"
