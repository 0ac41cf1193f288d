"""The policies themselves: videos of the best and of the median seed, per algorithm and task."""

TITLE = "Policies"
