"""The keys of a grid's `estimators`: as those in `experiments/keys.py`, which has all of them."""

from typing import Any

from ..checks import MAPPING, Check, Whole, all_different
from ..metrics import FEWEST_BATCHES


def are_names(value: Any) -> bool:
    """Whether these are different names, or a mapping by them; not empty."""
    given = list(value) if MAPPING[0](value) else value
    return value is None or (all_different(given, lambda name: isinstance(name, str)) and len(given) > 0)


ESTIMATOR_KEYS: dict[str, Check] = {
    "problems": Check(
        are_names,
        "a list of different names, or a mapping of names to lists of places",
        None,
        "The problems: files under experiments/estimation/problems/. A place gives numbers of the problem.",
        "{quadratic: [{dimensions: 32, sigma: 0.1}], arms: null}",
        "all, at the places that their files name",
    ),
    "only": Check(
        are_names,
        "a list of different names, or a mapping of names to values of their settings",
        None,
        "The estimators: files under experiments/estimation/estimators/.",
        "{score_function: null, gumbel_softmax: {temperature: [0.2, 2]}}",
        "all, with the settings that their files name",
    ),
    "batches": Check(
        Whole(FEWEST_BATCHES),
        f"a whole number from {FEWEST_BATCHES}",
        128,
        "Independent gradient estimates of the main batch size; of other sizes there are at most 64.",
        "64",
    ),
    "batch_size": Check(
        Whole(1), "a whole number above 0", 64, "Samples of one gradient estimate: the main size.", "32"
    ),
    "batch_sizes": Check(
        lambda v: all_different(v, Whole(1)),
        "a list of different whole numbers above 0",
        [1, 4, 16, 64, 256],
        "All sizes that are measured, beside the main one.",
        "[16, 64]",
    ),
    "seed": Check(Whole(0), "a whole number from 0", 0, "Of all batches.", "1"),
}
