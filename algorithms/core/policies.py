"""π(a|s), categorical or Gaussian: acts in NumPy, learns in Torch, on the same memory."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from algorithms.core.mlp import (
    HIDDEN_SIZES,
    flatten_parameters,
    forward_in_numpy,
    multilayer_perceptron,
    numpy_layers,
)

QUADRATURE_NODES = 32  # Gauss–Hermite, for a squashed Gaussian's entropy; exact to 2e-5 for std ≤ 1.5, to 2e-4 at 2
NODES, WEIGHTS = (  # made here, because what calls NumPy cannot be compiled
    torch.tensor(x, dtype=torch.float32) for x in np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
)
WEIGHTS /= WEIGHTS.sum()


class Policy(nn.Module):
    """π(a|s): categorical for Discrete, diagonal Gaussian with a state-independent log-std for Box.

    With `action_bounds` "clip" the environment receives the Gaussian's sample clipped to the task's bounds; with
    "squash" it receives low + (tanh(u) + 1)/2 · (high − low) of the Gaussian's sample u. In both cases the action that
    is stored and whose probability is asked for is the sample before the bounds: u, not its image.
    """

    def __init__(
        self,
        observation_size: int,
        action_space: Space,
        action_bounds: str,
        generator: torch.Generator,
        hidden_sizes: Sequence[int] = HIDDEN_SIZES,
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, Discrete)
        self.squash = action_bounds == "squash" and not self.discrete
        outputs = int(action_space.n) if self.discrete else action_space.shape[0]
        self.network = multilayer_perceptron(observation_size, outputs, 0.01, generator, hidden_sizes, activation)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(outputs))
            self.low, self.high = (np.asarray(x, np.float32) for x in (action_space.low, action_space.high))
        if self.squash:
            self.register_buffer("half_range", torch.from_numpy((self.high - self.low) / 2))
        self.parameter_vector = flatten_parameters(self)
        self._layers, self._activation = numpy_layers(self.network), activation
        self._numpy_log_std = None if self.discrete else self.log_std.detach().numpy()

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """Sample an action for each row of `observations` [N, D], or take the likeliest one or the Gaussian's mean.

        Returns int64 [N] or float32 [N, A], before the bounds. `action_masks` [N, A] is True where allowed.
        """
        outputs = forward_in_numpy(self._layers, observations, self._activation)
        if self.discrete:
            if action_masks is not None:
                outputs = np.where(action_masks, outputs, -np.inf)
            if not mode:
                outputs = outputs + rng.gumbel(size=outputs.shape)  # argmax of logits + Gumbel noise is a sample
            return outputs.argmax(axis=-1)
        if mode:
            return outputs
        noise = rng.standard_normal(outputs.shape, np.float32)
        noise *= np.exp(self._numpy_log_std)
        noise += outputs
        return noise

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """The actions [N, …] as the environment takes them, within its bounds."""
        if self.discrete:
            return actions
        if self.squash:
            actions = self.low + (np.tanh(actions) + 1) / 2 * (self.high - self.low)  # rounding may leave the bounds
        return np.minimum(np.maximum(actions, self.low), self.high)

    def forward(self, observations: Tensor, action_masks: Tensor | None = None) -> Distribution:
        """The distribution over actions at each of `observations` [B, D]; `log_prob` and `entropy` are [B]."""
        outputs = self.network(observations)
        if self.discrete:
            if action_masks is not None:
                outputs = torch.where(action_masks, outputs, torch.finfo(outputs.dtype).min)
            return Categorical(logits=outputs, validate_args=False)
        gaussian = Normal(outputs, self.log_std.exp().expand_as(outputs), validate_args=False)
        if self.squash:
            return SquashedGaussian(gaussian, self.half_range)
        return Independent(gaussian, 1, validate_args=False)


class SquashedGaussian(Distribution):
    """The distribution of a = centre + half_range · tanh(u) with u Gaussian, asked about by u.

    log p(a) = log N(u) − Σ log(half_range · (1 − tanh²(u))), the change of variables (Haarnoja et al., 2018, app. C).
    The entropy has no closed form; E[log(1 − tanh²(u))] is computed by Gauss–Hermite quadrature, so it is deterministic
    and differentiable.
    """

    def __init__(self, gaussian: Normal, half_range: Tensor) -> None:
        super().__init__(gaussian.batch_shape[:-1], gaussian.batch_shape[-1:], validate_args=False)
        self.gaussian = gaussian
        self.half_range = half_range

    def _log_slope(self, u: Tensor) -> Tensor:
        """log da/du = log(half_range · (1 − tanh²(u))), stable for large |u|."""
        return torch.log(self.half_range) + 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))

    def log_prob(self, u: Tensor) -> Tensor:
        """log p(a) [B] of the action whose pre-image is u [B, A]."""
        return (self.gaussian.log_prob(u) - self._log_slope(u)).sum(-1)

    def entropy(self) -> Tensor:
        """−E[log p(a)] [B]."""
        u = self.gaussian.loc[..., None] + self.gaussian.scale[..., None] * NODES
        log_slope = (self._log_slope(u.movedim(-1, 0)).movedim(0, -1) * WEIGHTS).sum(-1)
        return (self.gaussian.entropy() + log_slope).sum(-1)
