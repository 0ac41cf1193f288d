"""The headline: one sentence that is right for every kind of grid."""

import numpy as np
import pandas as pd
import pytest

from analysis.headline import headline
from analysis.sections.ranking.tables import ALL_TASKS

TITLES = {"ppo": "PPO", "a2c": "A2C", "trpo": "TRPO", "sac": "SAC", "td3": "TD3", "ddpg": "DDPG"}


class Titled:
    """As much of a grid as the headline needs."""

    algorithms = TITLES

    def title(self, algorithm):
        return TITLES[algorithm]


def of(scores, *, seeds=5, n=5, diverged=0, better=(), permuted=np.nan):
    """The headline where each task has these mean scores by algorithm. n: finished runs, or the same by algorithm.
    better: pairs over all tasks, the better first. permuted: the p-value of the permutation test, NaN without one.
    """
    rows = [
        {"task": task, "algorithm": name, "requested": seeds, "n": n.get(name, seeds) if isinstance(n, dict) else n}
        | {"mean": mean, "low": mean - 1, "high": mean + 1, "diverged": diverged, "stopped": 0}
        for task, means in scores.items()
        for name, mean in means.items()
    ]
    summary = pd.DataFrame(rows)
    names = list(dict.fromkeys(summary["algorithm"]))
    pairs = [
        {"measure": "score", "task": ALL_TASKS, "algorithm": first, "other": second, "p_permutation_adjusted": permuted}
        | {"tasks": sum({first, second} <= set(means) for means in scores.values())}
        | {"verdict": "better" if (first, second) in better else "worse" if (second, first) in better else "undecided"}
        for place, first in enumerate(names)
        for second in names[:place]
        if any({first, second} <= set(means) for means in scores.values())
    ]
    aggregate = [
        {"measure": "score", "algorithm": name, "iqm": 0.5, "iqm_low": 0.4, "iqm_high": np.float64(0.6)}
        for name in names
    ]
    columns = ["measure", "task", "algorithm", "other", "tasks", "verdict", "p_permutation_adjusted"]
    return headline(Titled(), summary, pd.DataFrame(aggregate), pd.DataFrame(pairs, columns=columns))


def tasks(*means):
    return {f"Task{place}-v0": own for place, own in enumerate(means)}


A, B = {"ppo": 9.0, "a2c": 5.0}, {"ppo": 4.0, "a2c": 5.0}
TIE = {"ppo": 5.0, "a2c": 5.0}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            of(tasks(A, A, B), better=[("ppo", "a2c")]),
            "On 3 tasks with 5 seeds each, PPO ended highest on 2 and A2C on 1; over all tasks PPO is better than the "
            "other by more than chance.",
        ),
        (
            of(tasks(A, A, TIE), better=[("a2c", "ppo")]),
            "On 3 tasks with 5 seeds each, PPO ended highest on 3 (1 of them equal with others); over all tasks PPO is "
            "worse than the other by more than chance.",
        ),
        (
            of(tasks(A, B)),
            "On 2 tasks with 5 seeds each, PPO ended highest on 1 and A2C on 1; over all tasks 0 of 1 pair of "
            "algorithms differ by more than chance.",
        ),
        (
            of(tasks(TIE, TIE)),
            "On 2 tasks with 5 seeds each, PPO and A2C ended equally high on 2; over all tasks 0 of 1 pair of "
            "algorithms differ by more than chance.",
        ),
        (
            of(tasks({"ppo": 9.0, "a2c": 5.0, "trpo": 6.0}), better=[("ppo", "a2c")]),
            "On Task0-v0 with 5 seeds, PPO ended highest with a mean score of 9.00, before TRPO with 6.00; PPO is "
            "better than 1 of the 2 others by more than chance.",
        ),
        (
            of(tasks(TIE)),
            "On Task0-v0 with 5 seeds, all algorithms ended equally high (mean score 5.00); 0 of 1 pair of algorithms "
            "differ by more than chance.",
        ),
        (
            of(tasks(A), seeds=1, n=1),
            "On Task0-v0 with a single seed, PPO ended highest with a mean score of 9.00, before A2C with 5.00; a "
            "single seed cannot show whether another would give the same order.",
        ),
        (
            of(tasks({"ppo": 9.0})),
            "On Task0-v0 with 5 seeds, PPO ended at a mean score of 9.00 [8.00,\N{NO-BREAK SPACE}10.0].",
        ),
        (
            of(tasks({"ppo": 9.0}, {"ppo": 3.0})),
            "On 2 tasks with 5 seeds each, PPO ended at 0.50 [0.40,\N{NO-BREAK SPACE}0.60] between the random score "
            "(0) and the reference score (1), in the interquartile mean.",
        ),
        (
            of(tasks(A, A), n={"a2c": 3}),
            "On 2 tasks with up to 5 seeds each (16 of 20 runs finished), PPO ended highest on 2; over all tasks PPO "
            "is not shown to differ from the other by more than chance.",
        ),
        (
            of(tasks(A, {"ppo": 3.0}, B), n={"a2c": 5}),
            "On 3 tasks with 5 seeds each, PPO ended highest on 1 and A2C on 1 of the 2 where two can be compared; "
            "over the tasks where both have runs 0 of 1 pair of algorithms differ by more than chance.",
        ),
        (
            of(tasks({"ppo": 3.0, "sac": 9.0}, {"ppo": 9.0, "a2c": 5.0}), better=[("sac", "ppo")]),
            "On 2 tasks with 5 seeds each, PPO ended highest on 1 and SAC on 1; over the tasks where both have runs 1 "
            "of 2 pairs of algorithms differ by more than chance.",
        ),
        (
            of(tasks({"ppo": 3.0, "sac": 9.0, "td3": 9.5}, {"ppo": 9.0}), better=[("td3", "ppo")]),
            "On 2 tasks with 5 seeds each, TD3 ended highest on Task0-v0, where alone two can be compared; over the "
            "tasks where both have runs TD3 is better than 1 of the 2 others by more than chance.",
        ),
        (
            of(tasks({"ppo": 8.0, "a2c": 5.0, "sac": 7.0}, {"ppo": 9.0, "a2c": 5.0}), better=[("ppo", "a2c")]),
            "On 2 tasks with 5 seeds each, PPO ended highest on 2; over the tasks where both have runs PPO is better "
            "than 1 of the 2 others by more than chance.",
        ),
        (
            of(tasks({"ppo": 9.0}, {"a2c": 3.0})),
            "On 2 tasks with 5 seeds each, no task is for two algorithms: the claims compare runs on different tasks.",
        ),
        (
            of(tasks(A), diverged=1),
            "On Task0-v0 with 5 seeds (2 diverged), PPO ended highest with a mean score of 9.00, before A2C with 5.00; "
            "PPO is not shown to differ from the other by more than chance.",
        ),
        (
            of(tasks(A, B), diverged=5),
            "On 2 tasks with 5 seeds each (20 diverged), every run diverged or was stopped by its task: there is "
            "nothing to rank.",
        ),
        (
            of(tasks(A, B), n=0),
            "No run has finished yet: none of the 20 runs that the grid asks for has a result.",
        ),
    ],
)
def test_the_headline_is_one_sentence_for_every_kind_of_grid(said, expected):
    assert said == expected
    assert said.endswith(".")
    assert ". " not in said


def test_of_many_winners_the_first_are_named():
    names = list(TITLES)
    scores = tasks(*({other: float(other == name) for other in names} for name in [names[0], *names]))
    said = of(scores, better=[(names[0], other) for other in names[1:]])
    assert said == (
        "On 7 tasks with 5 seeds each, PPO ended highest on 2, A2C on 1, TRPO on 1 and 3 others on 3; over all tasks "
        "PPO is better than all 5 others by more than chance."
    )


@pytest.mark.parametrize(
    ("n", "permuted", "shown"),
    [(2, np.nan, False), (2, 0.2, False), (2, 0.04, True), (3, np.nan, True), (3, 0.2, True)],
)
def test_a_verdict_from_two_seeds_counts_where_the_permutation_test_confirms_it(n, permuted, shown):
    better = [("ppo", "a2c")]
    of_one, of_several = (of(tasks(*means), n=n, better=better, permuted=permuted) for means in ((A, A, B), (A, B)))
    assert ("PPO is better than the other by more than chance" in of_one) is shown
    assert ("PPO is not shown to differ from the other by more than chance" in of_one) is not shown
    assert (f"{int(shown)} of 1 pair of algorithms differ by more than chance" in of_several) is True
    fewer = of(tasks(A, A, B), n={"ppo": 2}, better=better, permuted=permuted)
    assert ("PPO is better than the other" in fewer) is (permuted <= 0.05)
