"""The settings that the algorithms share, and those in which they differ."""

TITLE = "Algorithms and settings"
