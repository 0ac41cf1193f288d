"""What the definitions of scores need to know of how scores are made."""

from typing import Any

from analysis.sections.learning.tables import CURVE_POINTS
from analysis.statistics.scores import MOVING_AVERAGE


def page() -> dict[str, Any]:
    """The numbers of points of a curve, and of those that are averaged."""
    return {"points": CURVE_POINTS, "window": MOVING_AVERAGE}
