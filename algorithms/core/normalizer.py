"""Running mean and variance of observations."""

from collections.abc import Mapping

import numpy as np

OBSERVATION_CLIP = 10.0  # normalised observations are clipped here, as in VecNormalize and CleanRL
SMALLEST_VARIANCE = 1e-8


class RunningNormalizer:
    """Mean and variance of everything seen so far; normalises with them.

    Until the first update it is the identity, so a task that is not normalised simply never updates it.
    """

    def __init__(self, size: int) -> None:
        self.mean = np.zeros(size)
        self.variance = np.ones(size)
        self.count = 0.0
        self._set_scale()

    def update(self, x: np.ndarray) -> None:
        """Take the rows of x [M, size] into the statistics (Chan et al., 1979, pairwise combination)."""
        x = x.astype(np.float64)
        count = self.count + len(x)
        mean = x.sum(axis=0) / len(x)
        squares = self.variance * self.count + ((x - mean) ** 2).sum(axis=0)
        difference = mean - self.mean
        self.variance = (squares + difference**2 * self.count * len(x) / count) / count
        self.mean = self.mean + difference * len(x) / count
        self.count = count
        self._set_scale()

    def state(self) -> dict[str, np.ndarray]:
        """Mean [size], variance [size] and count."""
        return {"mean": self.mean, "variance": self.variance, "count": np.asarray(self.count)}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self.mean, self.variance, self.count = state["mean"], state["variance"], float(state["count"])
        self._set_scale()

    def _set_scale(self) -> None:
        self._shift = self.mean.astype(np.float32)
        self._scale = (1 / np.sqrt(self.variance + SMALLEST_VARIANCE)).astype(np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(x − mean) / std, clipped at ±10; float32 [..., size]."""
        if self.count == 0:
            return x
        normalized = x - self._shift
        normalized *= self._scale
        np.maximum(normalized, -OBSERVATION_CLIP, out=normalized)  # np.clip costs more than all of the rest
        return np.minimum(normalized, OBSERVATION_CLIP, out=normalized)
