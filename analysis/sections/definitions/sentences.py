"""What the words for scores mean."""

from typing import Any

from ...statistics.scores import MOVING_AVERAGE
from ..learning.tables import CURVE_POINTS

TERMS = {
    "Return": "The undiscounted sum of an episode’s raw rewards.",
    "Learning curve": (
        f"Training returns on {CURVE_POINTS} grid points per task, equally spaced up to the step budget. An episode "
        "counts over the steps during which it ran: a point is the mean, over the environment steps since the point "
        "before, of the returns of the episodes they belong to. Episodes still open at the end of the budget are "
        "finished without learning and count here alone. Where no episode is known (before a divergence, or in a run "
        "of another library), the last value is carried forward; before the first episode, it is the random score. "
        f"Figures show the mean of the last {MOVING_AVERAGE} points."
    ),
    "Final score": (
        "The mean return of a run’s evaluation episodes after training, with sampled actions: this is the policy that "
        "was trained. The score with the mode action stands beside it."
    ),
    "AUC": "The mean of the learning curve over the whole budget.",
    "Steps to threshold": (
        f"The first grid point at which the mean of the learning curve over the last {MOVING_AVERAGE} points is at or "
        "above the task’s threshold. A run that never reaches it is censored at the budget, and counted."
    ),
    "Normalised score": (
        "(score − random) / (reference − random). Both constants are fixed per task in the grid and stand in the "
        "table of tasks, so that adding an algorithm changes no other number."
    ),
    "IQM": (
        "Interquartile mean: the mean without the lowest and the highest quarter of the runs. With fewer than four "
        "runs nothing is cut off, and it is the mean. Over several tasks it is that of the runs of all tasks "
        "together; every task has the same weight, however many runs it has."
    ),
    "Optimality gap": "How far runs fall short of 1 on average; a score above 1 counts as 1.",
    "Diverged run": (
        "A run in which a loss or a parameter stopped being finite. From that step on its curve is the random score, "
        "and its final score is the random score (normalised: 0), with sampled and with mode actions. It counts in "
        "every average. A threshold that it reached before stays reached."
    ),
    "Failed and missing runs": (
        "A crash is not a result, and a run that was not made is none either. They are in no average, and lower its n."
    ),
}


def page() -> dict[str, Any]:
    """The terms with their definitions, in the order in which they build on each other."""
    return {"terms_of_scores": TERMS}
