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
        self._scale: tuple[np.ndarray, np.ndarray] | None = None  # what to subtract and to multiply by, once needed

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
        self._scale = None

    def state(self) -> dict[str, np.ndarray]:
        """Mean [size], variance [size] and count."""
        return {"mean": self.mean, "variance": self.variance, "count": np.asarray(self.count)}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self.mean, self.variance, self.count = state["mean"], state["variance"], float(state["count"])
        self._scale = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(x − mean) / std, clipped at ±10; float32 [..., size]."""
        if self.count == 0:
            return x
        if self._scale is None:
            factor = 1 / np.sqrt(self.variance + SMALLEST_VARIANCE)
            self._scale = self.mean.astype(np.float32), factor.astype(np.float32)
        shift, factor = self._scale
        normalized: np.ndarray = x - shift
        normalized *= factor
        np.maximum(normalized, -OBSERVATION_CLIP, out=normalized)  # np.clip costs more than all of the rest
        np.minimum(normalized, OBSERVATION_CLIP, out=normalized)
        return normalized
