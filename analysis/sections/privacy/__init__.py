"""Scores against the ε of differential privacy."""

TITLE = "Privacy"
TABLES = {"privacy": "task algorithm epsilon delta n mean low high"}
TEXT = "task algorithm"
FIGURES = {"privacy": "Scores against ε"}
AVERAGES = "runs"
