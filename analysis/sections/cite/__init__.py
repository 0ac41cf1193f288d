"""How to cite these results."""

TITLE = "How to cite"
