"""The steps of a rollout as a policy loss sees them: flat tensors, whole or in minibatches."""

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .algorithm import InvalidAlgorithm, where
from .estimators import discounted_returns
from .hook_checks import checked_array
from .rollout import Floats, Rollout

SMALLEST_DEVIATION = 1e-8
VALUE = "value"  # the critic whose values are V(s_t) in every formula that names no critic


@dataclass
class Batch:
    """The valid steps of a rollout as flat Torch tensors [B, …]; what a policy loss sees, whole or in minibatches."""

    observations: Tensor  # float32 [B, D], normalised with the statistics of the rollout
    actions: Tensor  # int64 [B], int64 [B, K] of an action with K parts, or float32 [B, A]
    log_probs: Tensor  # float32 [B], log π_old(a|s) of the policy that acted; [B, K] of each part; 0 if never read
    advantages: Tensor  # float32 [B], Ψ_t; or [B, K], one for each part
    values: Tensor  # float32 [B], V(s_t) before the update; zero without a critic
    value_targets: Tensor  # float32 [B], by default Ψ_t (of K parts the mean) + V(s_t), before Ψ is normalised
    episodes: Tensor  # float32 scalar: the episodes in the rollout if it holds whole episodes, else the number of envs
    action_masks: Tensor | None = None  # bool [B, A]
    # float32 [B, K], what the policy that acted put out: see `divergence.old_policy`. Only for an algorithm with a
    # `regularizer`, `gradients` or `step` of its own, because carrying it through the minibatches costs time.
    policy_outputs: Tensor | None = None
    # int64 [B], from 0: which episode, or part of an episode, of the rollout a step belongs to. Only for an algorithm
    # with `gradients` or `step` of its own.
    episode_ids: Tensor | None = None
    # Of the critics other than "value", by name: float32 [B] for V(s), and as in a rollout for the other kinds.
    critic_values: dict[str, Tensor] = field(default_factory=dict)
    critic_targets: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.advantages.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, those that are None left out; a critic's are called "critic_values.NAME"."""
        tensors = {name: value for name, value in vars(self).items() if value is not None}
        for name in ("critic_values", "critic_targets"):
            for critic, tensor in tensors.pop(name).items():
                tensors[f"{name}.{critic}"] = tensor
        return tensors

    @classmethod
    def from_tensors(cls, names: Iterable[str], tensors: Iterable[Tensor]) -> Self:
        """The batch whose `tensors()` have these names and are these."""
        fields: dict[str, Any] = dict(zip(names, tensors, strict=True))
        for name in [name for name in fields if "." in name]:
            of_critics, _, critic = name.partition(".")
            fields.setdefault(of_critics, {})[critic] = fields.pop(name)
        return cls(**fields)

    @classmethod
    def of(
        cls,
        algorithm: Any,
        rollout: Rollout,
        observations: np.ndarray,
        log_probs: Tensor,
        advantages: np.ndarray | None = None,
    ) -> Self:
        """The valid steps of a rollout whose values are filled in, with the Ψ_t and targets of a PolicyGradient.

        `observations` float32 [B, D] are those of its valid steps, normalised; `log_probs` [B] their actions';
        `advantages` [T, N] are the algorithm's, where they are known. Raises InvalidAlgorithm where `advantages` or
        `critic_targets` returns an array of another shape than the rollout's.
        """
        shape = rollout.valid.shape
        if advantages is None:
            advantages = checked_array(algorithm.advantages(rollout), algorithm, "advantages returned")
        of_parts = None if rollout.parts is None else (*shape, rollout.parts)
        if advantages.shape not in (shape, of_parts):
            raise InvalidAlgorithm(
                f"{where(algorithm)}.advantages returned an array of shape {advantages.shape}; "
                f"the rollout's is {shape}" + (f", or {of_parts} with one for each part" if of_parts else "")
            )
        targets = _targets(algorithm, rollout, advantages)
        own = algorithm.overrides("gradients", "step")
        psi = _tensor(rollout, advantages, np.float32)
        return cls(
            observations=torch.from_numpy(observations),
            actions=_tensor(rollout, rollout.actions),
            log_probs=log_probs,
            advantages=psi,
            values=_tensor(rollout, rollout.values, np.float32),
            value_targets=targets.pop(VALUE) if VALUE in targets else torch.from_numpy(mean_over_parts(psi.numpy(), 1)),
            episodes=torch.scalar_tensor(rollout.done.sum() if algorithm.whole_episodes else shape[1]),
            action_masks=None if rollout.action_masks is None else _tensor(rollout, rollout.action_masks),
            episode_ids=_tensor(rollout, episode_ids(rollout)) if own else None,
            critic_values={
                name: _tensor(rollout, values, np.float32) for name, values in rollout.critic_values.items()
            },
            critic_targets=targets,
        )

    def with_advantages(self, advantages: Tensor) -> Self:
        """The same steps with other advantages [B]."""
        batch = copy.copy(self)  # a fifth of the time of dataclasses.replace
        batch.advantages = advantages
        return batch

    def with_normalized_advantages(self) -> Self:
        """The same steps with advantages of zero mean and unit deviation; a single step keeps its own, with a warning.

        One is left where whole episodes do not fill the last minibatch, and where the budget cuts the last rollout.
        """
        if self.advantages.shape[0] == 1:  # not `len`, which would make the size a constant of machine code
            warnings.warn("the advantage of a minibatch of one step is not normalised: it would be 0", stacklevel=2)
            return self
        std, mean = torch.std_mean(self.advantages, correction=0)
        return self.with_advantages((self.advantages - mean) / (std + SMALLEST_DEVIATION))

    def part(self, k: int) -> Self:
        """The same steps as part `k` of their actions sees them: its actions, log-probabilities and advantages, [B]."""
        return dataclasses.replace(
            self,
            actions=self.actions[:, k],
            log_probs=self.log_probs[:, k],
            advantages=self.advantages[:, k] if self.advantages.ndim > 1 else self.advantages,
        )

    def minibatch(self, rows: np.ndarray) -> Self:
        """The steps `rows` (int64 [M]); the count of episodes is in proportion to their number."""
        chosen = torch.from_numpy(rows)
        tensors = {name: x[chosen] if x.ndim else x for name, x in self.tensors().items()}
        part = self.from_tensors(tensors, tensors.values())
        part.episodes = self.episodes * (len(part) / len(self))
        return part


def minibatches(
    count: int, size: int | None, epochs: int, rng: np.random.Generator
) -> tuple[np.ndarray | None, np.ndarray]:
    """The rows of the minibatches of some epochs, one after another: (order, starts), both int64.

    Minibatch s of a batch of `count` steps has the rows order[starts[s]:starts[s + 1]]. Each epoch is in a random order
    of its own, `size` steps at a time (the last may be fewer). Where one minibatch has them all (`size` is None, or not
    less than `count`), the order is the batch's, and None for a single epoch.
    """
    if size is None or size >= count:
        return (None if epochs == 1 else np.tile(np.arange(count), epochs)), np.arange(epochs + 1) * count
    order = np.concatenate([rng.permutation(count) for _ in range(epochs)])
    begins = np.arange(epochs)[:, None] * count + np.arange(0, count, size)
    return order, np.append(begins, epochs * count)


def sum_over_parts(loss: Callable[[Tensor, Batch], Tensor], log_prob: Tensor, batch: Batch) -> Tensor:
    """loss(log_prob, batch); where an action has K parts, Σ_k loss(log_prob_k, batch.part(k)). Returns a scalar.

    `log_prob` is [B] or [B, K]. So `loss` always gets [B], and its formula is the same with and without parts, whether
    it is a mean or a sum over the steps.
    """
    if log_prob.ndim == 1:
        return loss(log_prob, batch)
    return torch.stack([loss(of_part, batch.part(k)) for k, of_part in enumerate(log_prob.unbind(1))]).sum()


def mean_over_parts(advantages: np.ndarray, axes: int) -> np.ndarray:
    """The mean over the parts of Ψ, whose first `axes` axes are of steps; Ψ itself where all parts share it."""
    return np.asarray(advantages.mean(axis=-1)) if advantages.ndim > axes else advantages


def episode_ids(rollout: Rollout) -> np.ndarray:
    """int64 [T, N]: numbers the rollout's episodes, and the parts of those that it cuts, from 0."""
    ended = np.zeros(rollout.done.shape, np.int64)
    ended[1:] = rollout.done[:-1].cumsum(axis=0)  # episodes that the environment has finished before this step
    first = np.concatenate([[0], (ended[-1] + 1).cumsum()[:-1]])
    return np.asarray(ended + first)


def of_episodes(rollout: Rollout, gamma: float, weigh: Callable[[Floats], Floats]) -> Floats:
    """What `weigh` makes of the discounted returns of the rollout's whole episodes, at every step of each.

    `weigh` gets and returns float64 [E]. Returns float64 [T, N]; 0 in episodes that are padding.
    """
    ids = episode_ids(rollout)
    first_steps = np.unique(ids, return_index=True)[1]
    returns = discounted_returns(rollout, gamma).ravel()[first_steps]
    played = np.unique(ids[rollout.valid])  # without rows that are padding
    returns[played] = weigh(returns[played])
    return np.asarray(returns[ids])


def _targets(algorithm: Any, rollout: Rollout, advantages: np.ndarray) -> dict[str, Tensor]:
    """What each critic is to learn at the valid steps, by the critic's name: float32 [B], or as its values are."""
    targets: Mapping[str, np.ndarray] = algorithm.critic_targets(rollout, advantages)
    said = f"{where(algorithm)}.critic_targets"
    if not isinstance(targets, Mapping):
        raise InvalidAlgorithm(f"{said} must return a dict of arrays by critic, not a {type(targets).__name__}")
    expected = algorithm.critic_kinds()
    if set(targets) != set(expected):
        raise InvalidAlgorithm(
            f"{said} returned targets of {sorted(targets, key=str)}; its critics are {sorted(expected)}"
        )
    shape = rollout.valid.shape
    arrays = {}
    for name, given in targets.items():
        target = checked_array(given, algorithm, f"critic_targets returned for {name!r}")
        of_values = shape if expected[name] == "state" else rollout.critic_values[name].shape
        allowed = [of_values[:axes] for axes in range(2, len(of_values) + 1)]
        if target.shape not in allowed:
            raise InvalidAlgorithm(
                f"{said} returned for {name!r} an array of shape {target.shape}; "
                f"expected is {' or '.join(map(str, allowed))}"
            )
        arrays[name] = _tensor(rollout, target, np.float32)
    return arrays


def _tensor(rollout: Rollout, x: np.ndarray, dtype: Any = None) -> Tensor:
    """The valid steps of x [T, N, …] as a tensor [B, …]."""
    return torch.from_numpy(rollout.of_steps(x).astype(dtype or x.dtype, copy=False))
