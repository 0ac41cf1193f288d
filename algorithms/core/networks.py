"""Policy, value function and running statistics: act in NumPy, learn in Torch, on the same memory."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

HIDDEN_UNITS = 64
OBSERVATION_CLIP = 10.0  # normalised observations are clipped here, as in VecNormalize and CleanRL
SMALLEST_VARIANCE = 1e-8
QUADRATURE_NODES = 32  # Gauss–Hermite, for a squashed Gaussian's entropy; exact to 2e-5 for std ≤ 1.5, to 2e-4 at 2
NODES, WEIGHTS = (  # made here, because what calls NumPy cannot be compiled
    torch.tensor(x, dtype=torch.float32) for x in np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
)
WEIGHTS /= WEIGHTS.sum()


def multilayer_perceptron(inputs: int, outputs: int, last_gain: float, generator: torch.Generator) -> nn.Sequential:
    """inputs → 64 tanh → 64 tanh → outputs, orthogonal weights (gain √2, the last layer `last_gain`), zero biases."""
    sizes = [inputs, HIDDEN_UNITS, HIDDEN_UNITS, outputs]
    gains = [math.sqrt(2), math.sqrt(2), last_gain]
    layers: list[nn.Module] = []
    for size_in, size_out, gain in zip(sizes[:-1], sizes[1:], gains, strict=True):
        linear = nn.Linear(size_in, size_out)
        nn.init.orthogonal_(linear.weight, gain, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def flatten_parameters(module: nn.Module) -> Tensor:
    """Move a module's parameters into one vector [P] and make each of them a view of it; return the vector."""
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    nn.utils.vector_to_parameters(vector, module.parameters())
    return vector


class Policy(nn.Module):
    """π(a|s): categorical for Discrete, diagonal Gaussian with a state-independent log-std for Box.

    With `action_bounds` "clip" the environment receives the Gaussian's sample clipped to the task's bounds; with
    "squash" it receives low + (tanh(u) + 1)/2 · (high − low) of the Gaussian's sample u. In both cases the action that
    is stored and whose probability is asked for is the sample before the bounds: u, not its image.
    """

    def __init__(
        self, observation_size: int, action_space: Space, action_bounds: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, Discrete)
        self.squash = action_bounds == "squash" and not self.discrete
        outputs = int(action_space.n) if self.discrete else action_space.shape[0]
        self.network = multilayer_perceptron(observation_size, outputs, 0.01, generator)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(outputs))
            self.low, self.high = (np.asarray(x, np.float32) for x in (action_space.low, action_space.high))
        if self.squash:
            self.register_buffer("half_range", torch.from_numpy((self.high - self.low) / 2))
        self.parameter_vector = flatten_parameters(self)
        self._layers = numpy_layers(self.network)
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
        outputs = forward_in_numpy(self._layers, observations)
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


class ValueFunction(nn.Module):
    """V(s): the same architecture as the policy, with its own parameters."""

    def __init__(self, observation_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network = multilayer_perceptron(observation_size, 1, 1.0, generator)
        self.parameter_vector = flatten_parameters(self)
        self._layers = numpy_layers(self.network)

    def values(self, observations: np.ndarray) -> np.ndarray:
        """Values [B] of observations [B, D], without Torch's cost per call."""
        return forward_in_numpy(self._layers, observations)[:, 0]

    def forward(self, observations: Tensor) -> Tensor:
        """Values [B] of observations [B, D]."""
        return self.network(observations).squeeze(-1)


def numpy_layers(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight [in, out], bias [out]) of each linear layer: views of the parameters' own memory."""
    return [
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]


def forward_in_numpy(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """The outputs [B, O] of a tanh network for x [B, D]: a tenth of the cost of the same call in Torch."""
    *hidden, (last_weight, last_bias) = layers
    for weight, bias in hidden:
        x = x.dot(weight)
        x += bias
        np.tanh(x, out=x)
    x = x.dot(last_weight)
    x += last_bias
    return x


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
