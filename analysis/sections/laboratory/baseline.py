"""What a learned baseline leaves of the variance of the policy gradient, in a sentence."""

import pandas as pd

from ...reading.grid import Grid
from ...words import percents
from .tables import main_size

WORTH_SAYING = 0.05  # of REINFORCE's variance: less above it is no finding, however sure
BASELINE = "reinforce_baseline"  # the module of REINFORCE with a learned baseline


def of_a_baseline(grid: Grid, gradients: pd.DataFrame) -> str:
    """What a learned baseline leaves of the variance of REINFORCE, for the first screen; empty without two policies."""
    table = main_size(gradients, exact=False)
    names = [name for name, about in grid.algorithms.items() if about["module"] == BASELINE]
    rows = table[table["algorithm"].isin(names[:1]) & (table["critic"] == "trained") & table["ratio"].notna()]
    if len(rows) < 2:
        return ""
    ratio = rows["ratio"]
    return (
        f"a learned baseline leaves {percents(ratio.median())} of the variance of REINFORCE’s gradient (median of "
        f"{len(rows)} frozen policies, from {percents(ratio.min())} to {percents(ratio.max())})."
    )
