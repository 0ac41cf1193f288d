"""How much of what the laboratory measured is decided, and how much of it chance alone explains."""

import pandas as pd
from scipy.stats import binom

from ...words import percents, plural
from .tables import UNBIASED_WITHIN

BY_CHANCE = 0.05  # the share of unbiased estimators whose 95 % interval lies above 0: a bias is never below


def decided(gradients: pd.DataFrame) -> list[str]:
    """How many ratios and biases are told from 1 and from 0; what is undecided is no finding."""
    table = gradients[(gradients["main"] == 1) & (gradients["advantages"] == "raw")]
    ratios = table[table["ratio_low"].notna()]
    below, above = int((ratios["ratio_high"] < 1).sum()), int((ratios["ratio_low"] > 1).sum())
    verdicts = table["verdict"].value_counts()
    biased, unbiased, undecided = (verdicts.get(name, 0) for name in ("biased", "unbiased", "undecided"))
    unknown = int((table["relative_bias"].isna()).sum())
    said = (
        f"Of {len(ratios)} variance ratios at the main batch sizes, {below} are below 1, {above} above, and "
        f"{len(ratios) - below - above} are not shown to differ from 1. Of {len(table)} biases, {biased} differ from "
        f"0, {unbiased} are at most {percents(UNBIASED_WITHIN)} of the true gradient’s length, and {undecided} are "
        "undecided"
    )
    unknown_text = f" (for {unknown} the true gradient is too uncertain to compare with)" if unknown else ""
    return [
        f"{said}{unknown_text}. Every interval is a 95 % interval by itself: about one unbiased estimator in twenty "
        f"looks biased by chance."
    ]


def biased_by_chance(table: pd.DataFrame) -> list[str]:
    """Whether more estimators that theory says are unbiased are seen to be biased than chance explains, in a sentence;
    nothing where none is. table: rows of `gradients` with raw advantages at the main batch size.
    """
    tested = table[(table["expected"] == "unbiased") & table["verdict"].notna()]
    seen, asked = int((tested["verdict"] == "biased").sum()), len(tested)
    if not seen:
        return []
    expected, most = BY_CHANCE * asked, int(binom.ppf(1 - BY_CHANCE, asked, BY_CHANCE))
    verdict = "This is no more than chance explains" if seen <= most else "This is more than chance explains"
    return [
        f"Of {plural(asked, 'estimator')} that theory says are unbiased, {seen} {'is' if seen == 1 else 'are'} seen to "
        f"be biased. Where none is, about {expected:.1f} would be by chance, each with an interval of its own, and "
        f"more than {most} in at most one case of twenty. {verdict}."
    ]
