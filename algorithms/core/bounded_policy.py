"""The networks of off-policy algorithms: a policy whose actions are in [−1, 1], and critics Q(s, a)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from .acting import LARGEST_LOG_STD, SMALLEST_LOG_STD, BoundedActor, wide_bounds
from .mlp import flatten_parameters, multilayer_perceptron, numpy_layers
from .spaces import action_size, scaling_problem


class BoundedPolicy(BoundedActor, nn.Module):
    """a = tanh(u) with u = μ(s), or u Gaussian with mean μ(s) and log-std σ(s), where `stochastic`.

    Raises ValueError where actions in [−1, 1] cannot be scaled to the space.
    """

    def __init__(
        self,
        observation_size: int,
        action_space: Space[Any],
        generator: torch.Generator,
        hidden_sizes: Sequence[int],
        activation: str,
        *,
        stochastic: bool,
    ) -> None:
        super().__init__()
        if (problem := scaling_problem(action_space)) is not None:
            raise ValueError(f"a policy cannot scale its actions to {action_space}, {problem}")
        space: Any = action_space
        self.stochastic = stochastic
        self.low, self.high = wide_bounds(space.low, space.high)
        self.dtype = space.dtype
        self.action_size = action_size(space)
        outputs = 2 * self.action_size if stochastic else self.action_size
        self.network = multilayer_perceptron(observation_size, outputs, None, generator, hidden_sizes, activation)
        self.parameter_vector = flatten_parameters(self)
        self._layers, self._activation = numpy_layers(self.network), activation

    def forward(self, observations: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions in [−1, 1], [B, A], and their log-probabilities [B] (zeros of a deterministic policy).

        `noise` [B, A] is standard normal; a deterministic policy ignores it. The actions can be differentiated by the
        parameters (Haarnoja et al., 2018a, eq. 11).
        """
        outputs = self.network(observations)
        if not self.stochastic:
            return torch.tanh(outputs), outputs.new_zeros(len(outputs))
        assert noise is not None
        mean, log_std = outputs.split(self.action_size, dim=1)
        log_std = log_std.clamp(SMALLEST_LOG_STD, LARGEST_LOG_STD)
        u = mean + log_std.exp() * noise
        return torch.tanh(u), log_prob_of_tanh(u, noise, log_std)


def log_prob_of_tanh(u: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """log π(a|s) = log N(u) − Σ log(1 − tanh²(u)), [B], of a = tanh(u), u = mean + exp(log_std) · noise, all [B, A].

    Haarnoja et al., 2018a, appendix C; log(1 − tanh²(u)) = 2 (log 2 − u − softplus(−2u)) is exact for large |u|.
    """
    log_density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    log_slope = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
    return (log_density - log_slope).sum(1)


class ActionValue(nn.Module):
    """A critic Q(s, a) of actions in [−1, 1]."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        generator: torch.Generator,
        hidden_sizes: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        inputs = observation_size + action_size
        self.network = multilayer_perceptron(inputs, 1, None, generator, hidden_sizes, activation)
        self.parameter_vector = flatten_parameters(self)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """float32 [B], at observations [B, D] and actions [B, A]."""
        values: Tensor = self.network(torch.cat([observations, actions], dim=1))
        return values.squeeze(-1)
