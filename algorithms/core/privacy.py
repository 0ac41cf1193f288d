"""How much noise makes Gaussian mechanisms private, by Google's library dp-accounting, which is an extra."""

from functools import cache, partial
from typing import Any

from .algorithm import InvalidSetting

INTERVAL = 1e-3  # at which privacy losses are rounded up, so that ε is at most 0.01 % too high at ε from 0.1 to 10


@cache
def noise_multiplier(epsilon: float, delta: float, count: int = 1) -> float:
    """The least σ with which `count` Gaussian mechanisms are (ε, δ)-differentially private together.

    σ is the deviation of the noise over the mechanism's sensitivity; neighbours differ in one record, which is there or
    is replaced by a record that adds nothing. Mechanisms may depend on what earlier ones have released (privacy loss
    distributions, Koskela et al., 2020). Raises InvalidSetting, with a sentence, where dp-accounting is not installed.
    """
    try:
        import dp_accounting as dp
    except ImportError as error:
        raise InvalidSetting(
            "epsilon needs the library dp-accounting to find the noise: pip install -e '.[privacy]', or set it to null"
        ) from error

    def events(noise: float) -> Any:
        return dp.SelfComposedDpEvent(dp.GaussianDpEvent(noise), count)

    accountant = partial(dp.pld.PLDAccountant, dp.NeighboringRelation.REPLACE_SPECIAL, INTERVAL)
    of_one = dp.get_sigma_gaussian(epsilon, delta)
    between = dp.ExplicitBracketInterval(of_one / 2, 2 * count * of_one)  # √count times that of one is between them
    return float(dp.calibrate_dp_mechanism(accountant, events, epsilon, delta, between))
