"""The keys of the laboratory's part of a grid, `probes` and `quality`: as those in `keys`, which has all of them."""

from typing import Any

from .checks import MAPPING, OPTIONAL_MAPPING, REQUIRED, TEXT, Check, Whole, all_different, is_number
from .metrics import CHUNK, FEWEST_BATCHES

EPISODES = "a whole number of complete episodes, at least"
MOST_ESTIMATES = 100  # of each size: all of them are in memory
MOST_BLOCKS = 100  # of a reference: the mean gradients of all of them are in memory
MOST_FIT_PAIRS = 1_000_000  # all of them are in memory, too


def is_text(value: Any) -> bool:
    """Whether this is text."""
    return isinstance(value, str)


PROBE_KEYS: dict[str, Check] = {
    "source": Check(
        *TEXT,
        default=REQUIRED,
        meaning="The algorithm whose frozen policies the gradients are measured at.",
        example="ppo",
    ),
    "seeds": Check(
        lambda v: all_different(v, lambda x: type(x) is int) and len(v) > 0,
        "a list of different seeds",
        REQUIRED,
        "Seeds of the source's runs.",
        "[0, 1, 2]",
    ),
    "fractions": Check(
        lambda v: all_different(v, is_number) and len(v) > 0,
        "a list of different fractions",
        REQUIRED,
        "Where in a run; each must be among `checkpoints`.",
        "[0, 0.5, 1]",
    ),
    "batches": Check(
        Whole(FEWEST_BATCHES),
        f"a whole number from {FEWEST_BATCHES}",
        REQUIRED,
        "Independent gradient estimates at each policy.",
        "64",
    ),
    "gae_lambdas": Check(
        lambda v: all_different(v, lambda x: is_number(x) and 0 <= x <= 1),
        "a list of different numbers between 0 and 1",
        [0, 0.5, 0.9, 0.95, 0.99, 1],
        "The λ of generalised advantage estimation that are compared.",
        "[0, 0.9, 1]",
    ),
    "tasks": Check(
        *MAPPING,
        default={},
        meaning="The tasks, and how much is measured on each. See below.",
        example="{CartPole-v1: {batch_size: 4, fit_episodes: 32}}",
    ),
    "exact": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="Also measure on three small problems whose true gradient is known, with this `batch_size`.",
        example="{batch_size: 8}",
    ),
}
PROBE_TASK_KEYS: dict[str, Check] = {
    "batch_size": Check(Whole(1), f"{EPISODES} 1", REQUIRED, "Episodes of one gradient estimate.", "4"),
    "fit_episodes": Check(
        Whole(2),
        f"{EPISODES} 2, to fit a critic on",
        REQUIRED,
        "Separate episodes on which a critic is fitted to the frozen policy.",
        "32",
    ),
}
QUALITY_KEYS: dict[str, Check] = {
    "sources": Check(
        lambda v: MAPPING[0](v) and len(v) > 0 and all(all_different(x, is_text) and x for x in v.values()),
        "a mapping of algorithms to lists of different tasks",
        REQUIRED,
        "The algorithms whose frozen policies and gradient estimates are measured, and on which tasks.",
        "{ppo: [Hopper-v5, HalfCheetah-v5], trpo: [Hopper-v5]}",
    ),
    "seeds": PROBE_KEYS["seeds"]._replace(meaning="Seeds of these runs."),
    "fractions": PROBE_KEYS["fractions"],
    "pairs": Check(
        lambda v: all_different(v, lambda x: Whole(CHUNK)(x) and x % CHUNK == 0) and len(v) > 0,
        f"a list of different multiples of {CHUNK:,}",
        [1_000, 3_000, 10_000, 30_000, 100_000],
        "State-action pairs of one gradient estimate.",
        "[1_000, 10_000]",
    ),
    "estimates": Check(
        lambda v: Whole(2)(v) and v <= MOST_ESTIMATES,
        f"a whole number from 2 to {MOST_ESTIMATES}",
        30,
        "Independent estimates of each size, at most; of the largest there may be fewer.",
        "10",
    ),
    "reference_pairs": Check(
        Whole(CHUNK),
        f"a whole number from {CHUNK:,}",
        1_000_000,
        "Pairs of the reference that an estimate is compared with; a multiple of the largest of `pairs`.",
        "100_000",
    ),
    "fit_pairs": Check(
        lambda v: Whole(CHUNK)(v) and v <= MOST_FIT_PAIRS,
        f"a whole number from {CHUNK:,} to {MOST_FIT_PAIRS:,}",
        100_000,
        "Pairs of separate episodes on which a value function is fitted, and of the ones that value functions are "
        "judged on.",
        "20_000",
    ),
}
