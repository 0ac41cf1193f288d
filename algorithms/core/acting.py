"""How a policy acts: its network and its actions in NumPy. Nothing here needs Torch or Gymnasium."""

from typing import Any

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]  # (weight [in, out], bias [out]) of each linear layer
# Of a Gaussian whose log-std a network puts out; Haarnoja's softlearning.
SMALLEST_LOG_STD, LARGEST_LOG_STD = -20.0, 2.0


def forward_in_numpy(layers: Layers, x: np.ndarray, activation: str = "tanh") -> np.ndarray:
    """The outputs [B, O] of a network at x [B, D]: a tenth of the cost of the same call in Torch."""
    *hidden, (last_weight, last_bias) = layers
    for weight, bias in hidden:
        x = x.dot(weight)
        x += bias
        if activation == "tanh":
            np.tanh(x, out=x)
        else:
            np.maximum(x, 0.0, out=x)
    x = x.dot(last_weight)
    x += last_bias
    return x


def wide_bounds(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A Box's bounds [A], flat, in its own precision or, where that is half, in single; finite where the Box has none.

    A number between them that is rounded to the Box's precision is between the Box's bounds, and finite.
    """
    finite = np.finfo(low.dtype)
    dtype = np.result_type(low.dtype, np.float32)
    flat_low, flat_high = (np.clip(x.ravel(), finite.min, finite.max).astype(dtype) for x in (low, high))
    return flat_low, flat_high


class Actor:
    """π(a|s) as far as acting needs it; a subclass sets the attributes.

    `policies.Policy`, which learns, and a policy that was saved act by the same lines.
    """

    parts: tuple[int, ...] | None  # (n_1, …, n_K), how many choices each part of an action has; None: it has no parts
    discrete: bool  # whether an action is a choice, or several
    squash: bool
    low: np.ndarray  # [A], of a Box, see `wide_bounds`
    high: np.ndarray
    dtype: np.dtype[Any]  # of what the environment takes, where that is a Box
    _layers: Layers
    _activation: str
    _part_ends: np.ndarray | None  # where one part's outputs end
    _numpy_log_std: np.ndarray  # [A], of a Box

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """Sample an action for each row of `observations` [N, D], or take the likeliest one or the Gaussian's mean.

        Returns int64 [N] for Discrete, int64 [N, K] for parts, or float32 [N, A] for Box, before the bounds.
        `action_masks` (bool [N, A]) is True where an action is allowed; for parts A is Σ n_k.
        """
        outputs = self.outputs(observations)
        if self.discrete:
            if action_masks is not None:
                outputs = np.where(action_masks, outputs, -np.inf)
            if not mode:
                outputs = outputs + rng.gumbel(size=outputs.shape)  # argmax of logits + Gumbel noise is a sample
            if self._part_ends is not None:
                return np.stack([part.argmax(axis=-1) for part in np.split(outputs, self._part_ends, -1)], axis=-1)
            choices: np.ndarray = outputs.argmax(axis=-1)
            return choices
        if mode:
            return outputs
        noise = rng.standard_normal(outputs.shape, np.float32)
        noise *= np.exp(self._numpy_log_std)
        noise += outputs
        return noise

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """What the network puts out at each of `observations` [B, D], float32 [B, O]."""
        return forward_in_numpy(self._layers, observations, self._activation)

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """The actions [N, …], still flat, of a Box in its dtype and within its bounds."""
        if self.discrete:
            return actions
        if self.squash:
            actions = self._scaled(np.tanh(actions))
        return self._bounded(actions)

    def _scaled(self, actions: np.ndarray) -> np.ndarray:
        """Actions in [−1, 1] between the Box's bounds; rounding may leave these."""
        scaled: np.ndarray = self.low + (actions + 1) / 2 * (self.high - self.low)
        return scaled

    def _bounded(self, actions: np.ndarray) -> np.ndarray:
        bounded: np.ndarray = np.minimum(np.maximum(actions, self.low), self.high)
        return bounded.astype(self.dtype, copy=False)


class BoundedActor(Actor):
    """How the policies of off-policy algorithms act: an action is a = tanh(u), in [−1, 1]; the Box gets it scaled.

    Of a deterministic policy u is what the network puts out, [B, A]. Of a stochastic one u is Gaussian, and the network
    puts out its mean and then its log-std, [B, 2A].
    """

    parts = None
    discrete = False
    squash = False  # `act` returns actions in [−1, 1] already
    stochastic: bool

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """Actions in [−1, 1], float32 [N, A]: the policy's own, or a sample where it is stochastic and not `mode`."""
        outputs = self.outputs(observations)
        if self.stochastic:
            size = outputs.shape[-1] // 2
            outputs, log_std = outputs[:, :size], outputs[:, size:]
            if not mode:
                noise = rng.standard_normal(outputs.shape, np.float32)
                noise *= np.exp(np.minimum(np.maximum(log_std, SMALLEST_LOG_STD), LARGEST_LOG_STD))
                outputs = outputs + noise
        actions: np.ndarray = np.tanh(outputs)
        return actions

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """The actions [N, A], in [−1, 1], of the Box in its dtype and within its bounds."""
        return self._bounded(self._scaled(actions))


class NoisyActor:
    """Acts as another actor does, and adds Gaussian noise of the deviation `noise` to each action, before its bounds.

    The actions are in a Box. They are returned, and so stored, with the noise.
    """

    def __init__(self, actor: Actor, noise: float) -> None:
        self.actor, self.noise = actor, np.float32(noise)

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """As `Actor.act`, with noise."""
        actions = self.actor.act(observations, rng, action_masks, mode=mode)
        actions += self.noise * rng.standard_normal(actions.shape, np.float32)
        return actions

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """As `Actor.to_environment`."""
        return self.actor.to_environment(actions)
