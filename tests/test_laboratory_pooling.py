"""Claims about gradients weigh runs alike, however many of a run's frozen policies can be measured."""

import math

import numpy as np
import pytest

from analysis.sections.claims.gradients import over_runs
from analysis.sections.claims.verdicts import average
from analysis.statistics.gradients import Estimate

A, B, C = ("ppo", 0), ("ppo", 1), ("ppo", 2)
UNKNOWN = Estimate()


@pytest.mark.parametrize("floor", [False, True])
def test_a_run_weighs_no_more_for_having_more_policies(floor):
    of_a = [Estimate(1.0, 0.9, 1.2), Estimate(2.0, 1.8, 2.1), Estimate(3.0, 2.7, 3.2)]
    of_b = [Estimate(10.0, 9.0, 12.0), UNKNOWN, UNKNOWN]
    found = over_runs(of_a + of_b, [A] * 3 + [B] * 3, floor=floor)
    assert found.value == pytest.approx((2.0 + 10.0) / 2)
    high_of_a = math.sqrt(0.2**2 + 0.1**2 + 0.2**2) / 3
    assert found.high - found.value == pytest.approx(math.sqrt(high_of_a**2 + 2.0**2) / 2)
    if floor:
        assert found.low == pytest.approx(((0.9 + 1.8 + 2.7) / 3 + 9.0) / 2)
    assert average([*of_a, of_b[0]], floor=floor).value == pytest.approx(4.0)  # of policies, whichever run's


def test_equally_many_policies_of_every_run_are_averaged_as_policies_are():
    rng = np.random.default_rng(0)
    effects = [Estimate(x, x - 0.1 - y, x + 0.1 + y) for x, y in rng.random((6, 2))]
    found, plain = over_runs(effects, [A, B, C] * 2, floor=False), average(effects, floor=False)
    for end in ("value", "low", "high"):
        assert getattr(found, end) == pytest.approx(getattr(plain, end))


def test_a_run_without_a_policy_that_can_be_measured_does_not_count():
    effects = [Estimate(1.0, 0.5, 1.5), UNKNOWN, UNKNOWN]
    assert over_runs(effects, [A, B, B], floor=False) == average(effects[:1], floor=False)
