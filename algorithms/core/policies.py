"""π(a|s), categorical or Gaussian: acts in NumPy, learns in Torch, on the same memory."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence, register_kl

from .acting import Actor, wide_bounds
from .mlp import HIDDEN_SIZES, flatten_parameters, multilayer_perceptron, numpy_layers
from .spaces import action_parts, action_size, squash_problem

QUADRATURE_NODES = 32  # Gauss–Hermite, for a squashed Gaussian's entropy; exact to 2e-5 for std ≤ 1.5, to 2e-4 at 2
NODES, WEIGHTS = (  # made here, because what calls NumPy cannot be compiled
    torch.tensor(x, dtype=torch.float32) for x in np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
)
WEIGHTS /= WEIGHTS.sum()


class Policy(Actor, nn.Module):
    """π(a|s): categorical for Discrete, diagonal Gaussian with a state-independent log-std for Box.

    For MultiDiscrete([n_1, …, n_K]) it is a product of K categoricals, one for each part of the action; the network has
    Σ n_k outputs, those of the first part first. MultiBinary has parts of 2 choices. Actions of an n-dimensional space
    are flat.

    With `action_bounds` "clip" the environment receives the Gaussian's sample clipped to the task's bounds; with
    "squash" it receives low + (tanh(u) + 1)/2 · (high − low) of the Gaussian's sample u. In both cases the action that
    is stored and whose probability is asked for is the sample before the bounds: u, not its image. Raises ValueError
    where the bounds cannot be squashed into.
    """

    def __init__(
        self,
        observation_size: int,
        action_space: Space[Any],
        action_bounds: str,
        generator: torch.Generator,
        hidden_sizes: Sequence[int] = HIDDEN_SIZES,
        activation: str = "tanh",
        last_gain: float = 0.01,
    ) -> None:
        super().__init__()
        space: Any = action_space  # of a kind that check_task accepts
        self.parts = action_parts(action_space)
        self.discrete = self.parts is not None or isinstance(action_space, Discrete)
        self.squash = action_bounds == "squash" and not self.discrete
        outputs = action_size(space)
        self.network = multilayer_perceptron(observation_size, outputs, last_gain, generator, hidden_sizes, activation)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(outputs))
            self.low, self.high = wide_bounds(space.low, space.high)
            self.dtype = space.dtype
        self.half_range: Tensor
        if self.squash:
            if (problem := squash_problem(space)) is not None:
                raise ValueError(f"a policy cannot squash actions into {space}, {problem}")
            self.register_buffer("half_range", torch.from_numpy(((self.high - self.low) / 2).astype(np.float32)))
        self.parameter_vector = flatten_parameters(self)
        self._layers, self._activation = numpy_layers(self.network), activation
        self._part_ends = np.cumsum(self.parts)[:-1] if self.parts else None
        self._numpy_log_std = np.zeros(0) if self.discrete else self.log_std.detach().numpy()

    def distribution(self, observations: np.ndarray, action_masks: Tensor | None = None) -> Distribution:
        """As `forward`, without a gradient for the network's parameters, and faster."""
        extra = () if self.discrete else (self.log_std.detach(),)
        return self.of_outputs(torch.from_numpy(self.outputs(observations)), *extra, action_masks)

    def probabilities(self, observations: np.ndarray, action_masks: np.ndarray | None = None) -> np.ndarray:
        """π(·|s) of Discrete actions, float64 [B, A]; 0 where `action_masks` (bool [B, A]) is False.

        Of an action with K parts it is [B, K, max n_k], π_k(·|s) of each part; 0 also where a part lacks a choice.
        """
        outputs = self.outputs(observations).astype(np.float64)
        if action_masks is not None:
            outputs = np.where(action_masks, outputs, -np.inf)
        logits = torch.from_numpy(outputs)
        if self.parts:
            probabilities: np.ndarray = Parts(logits, self.parts).categorical.probs.numpy()
            return probabilities
        return logits.softmax(-1).numpy()

    def forward(self, observations: Tensor, action_masks: Tensor | None = None) -> Distribution:
        """The distribution over actions at each of `observations` [B, D]; `log_prob` and `entropy` are [B].

        For MultiDiscrete `log_prob` is [B, K], of each part (`Parts`).
        """
        extra = () if self.discrete else (self.log_std,)
        return self.of_outputs(self.network(observations), *extra, action_masks)

    def of_outputs(self, outputs: Tensor, *given: Tensor | None) -> Distribution:
        """The distribution of the network's `outputs` [B, O]; then the log-std [A] for Box, else masks or None."""
        if self.discrete:
            (action_masks,) = given or (None,)
            if action_masks is not None:
                outputs = torch.where(action_masks, outputs, torch.finfo(outputs.dtype).min)
            if self.parts:
                return Parts(outputs, self.parts)
            return Categorical(logits=outputs, validate_args=False)
        log_std = given[0]
        assert log_std is not None
        gaussian = Normal(outputs, log_std.exp().expand_as(outputs), validate_args=False)
        if self.squash:
            return SquashedGaussian(gaussian, self.half_range)
        return Independent(gaussian, 1, validate_args=False)


class Parts(Distribution):
    """A product of K categoricals with n_1, …, n_K choices, given by their logits one after another [B, Σ n_k].

    log π(a|s) = Σ_k log π_k(a_k|s). `log_prob` is [B, K]: the log-probability of each part, whose sum over the parts is
    that of the action. The parts are independent, so the entropy and the KL divergence [B] are sums over them.
    """

    def __init__(self, logits: Tensor, parts: tuple[int, ...]) -> None:
        super().__init__(logits.shape[:-1], torch.Size([len(parts)]), validate_args=False)
        self.logits, self.parts = logits, parts
        lowest, widest = torch.finfo(logits.dtype).min, max(parts)  # choices that a part lacks have probability 0
        columns = [
            nn.functional.pad(x, (0, widest - x.shape[-1]), value=lowest)
            for x in torch.split(logits, list(parts), dim=-1)
        ]
        self.categorical = Categorical(logits=torch.stack(columns, dim=-2), validate_args=False)  # [B, K, max n_k]

    def log_prob(self, actions: Tensor) -> Tensor:
        """log π_k(a_k|s) [B, K] of each part of `actions`, int64 [B, K]."""
        log_probs: Tensor = self.categorical.log_prob(actions)  # type: ignore[no-untyped-call]
        return log_probs

    def entropy(self) -> Tensor:
        """The entropy [B] of the whole action: Σ_k of the parts' entropies."""
        entropies: Tensor = self.categorical.entropy()  # type: ignore[no-untyped-call]
        return entropies.sum(-1)


class SquashedGaussian(Distribution):
    """The distribution of a = centre + half_range · tanh(u) with u Gaussian, asked about by u.

    log p(a) = log N(u) − Σ log(half_range · (1 − tanh²(u))), the change of variables (Haarnoja et al., 2018, app. C).
    The entropy has no closed form. E[log(1 − tanh²(u))] is computed by Gauss–Hermite quadrature, so the entropy is
    deterministic and differentiable.
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
        log_density: Tensor = self.gaussian.log_prob(u)  # type: ignore[no-untyped-call]
        return (log_density - self._log_slope(u)).sum(-1)

    def entropy(self) -> Tensor:
        """−E[log p(a)] [B]."""
        u = self.gaussian.loc[..., None] + self.gaussian.scale[..., None] * NODES
        log_slope = (self._log_slope(u.movedim(-1, 0)).movedim(0, -1) * WEIGHTS).sum(-1)
        entropy: Tensor = self.gaussian.entropy()  # type: ignore[no-untyped-call]
        return (entropy + log_slope).sum(-1)


@register_kl(Parts, Parts)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl_of_parts(p: Parts, q: Parts) -> Tensor:
    """KL(p ‖ q) [B] of whole actions: Σ_k of the parts' divergences."""
    return kl_divergence(p.categorical, q.categorical).sum(-1)
