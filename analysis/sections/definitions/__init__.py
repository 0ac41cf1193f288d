"""How scores are defined."""

TITLE = "How scores are defined"
