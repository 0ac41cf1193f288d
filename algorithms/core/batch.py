"""The steps of a rollout as a policy loss sees them: flat tensors, whole or in minibatches."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from algorithms.core.rollout import Rollout

SMALLEST_DEVIATION = 1e-8


@dataclass
class Batch:
    """The valid steps of a rollout as flat Torch tensors [B, …]; what a policy loss sees, whole or in minibatches."""

    observations: Tensor  # float32 [B, D], normalised with the statistics of the rollout
    actions: Tensor  # int64 [B], int64 [B, K] of an action with K parts, or float32 [B, A]
    log_probs: Tensor  # float32 [B], log π_old(a|s) of the policy that acted; [B, K] of each part
    advantages: Tensor  # float32 [B], Ψ_t; or [B, K], one for each part
    values: Tensor  # float32 [B], V(s_t) before the update; zero without a critic
    value_targets: Tensor  # float32 [B], Ψ_t + V(s_t) before any normalisation of Ψ; of a Ψ [B, K] the parts' mean
    episodes: Tensor  # float32 scalar: the episodes in the rollout if it holds whole episodes, else the number of envs
    action_masks: Tensor | None = None  # bool [B, A]

    def __len__(self) -> int:
        return len(self.advantages)

    def tensors(self) -> list[Tensor]:
        """The fields in their order, without those that are None: `Batch(*batch.tensors())` is the same batch."""
        return [value for value in vars(self).values() if value is not None]

    @classmethod
    def of(cls, algorithm: Any, rollout: Rollout, observations: np.ndarray, log_probs: Tensor) -> Self:
        """The valid steps of a rollout whose values are filled in, with the algorithm's Ψ_t.

        `observations` float32 [B, D] are those of its valid steps, normalised; `log_probs` [B] their actions'.
        """
        valid = rollout.valid
        advantages = np.asarray(algorithm.advantages(rollout))
        of_parts = None if rollout.parts is None else (*valid.shape, rollout.parts)
        if advantages.shape not in (valid.shape, of_parts):
            raise ValueError(
                f"{type(algorithm).__name__}.advantages returned an array of shape {advantages.shape}; "
                f"the rollout's is {valid.shape}" + (f", or {of_parts} with one for each part" if of_parts else "")
            )
        advantages = advantages[valid].astype(np.float32)
        values = rollout.values[valid].astype(np.float32)
        return cls(
            observations=torch.from_numpy(observations),
            actions=torch.from_numpy(rollout.actions[valid]),
            log_probs=log_probs,
            advantages=torch.from_numpy(advantages),
            values=torch.from_numpy(values),
            value_targets=torch.from_numpy((advantages.mean(axis=1) if advantages.ndim > 1 else advantages) + values),
            episodes=torch.scalar_tensor(rollout.done.sum() if algorithm.whole_episodes else valid.shape[1]),
            action_masks=None if rollout.action_masks is None else torch.from_numpy(rollout.action_masks[valid]),
        )

    def with_advantages(self, advantages: Tensor) -> Self:
        """The same steps with other advantages [B]."""
        return dataclasses.replace(self, advantages=advantages)

    def with_normalized_advantages(self) -> Self:
        """The same steps with advantages of zero mean and unit deviation."""
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

    def minibatches(self, size: int | None, rng: np.random.Generator) -> Iterator[Self]:
        """The steps in random order, `size` at a time (the last may be smaller); one whole batch where size is None.

        The count of episodes is in proportion to a minibatch's size.
        """
        if size is None or size >= len(self):
            yield self
            return
        order = torch.from_numpy(rng.permutation(len(self)))
        columns = (x[order].split(size) if x.ndim else itertools.repeat(x) for x in self.tensors())
        for rows in zip(*columns, strict=False):
            part = type(self)(*rows)
            part.episodes = self.episodes * (len(part) / len(self))
            yield part


def sum_over_parts(loss: Callable[[Tensor, Batch], Tensor], log_prob: Tensor, batch: Batch) -> Tensor:
    """loss(log_prob, batch); where an action has K parts, Σ_k loss(log_prob_k, batch.part(k)). Returns a scalar.

    `log_prob` is [B] or [B, K]. So `loss` always gets [B], and its formula is the same with and without parts, whether
    it is a mean or a sum over the steps.
    """
    if log_prob.ndim == 1:
        return loss(log_prob, batch)
    return torch.stack([loss(of_part, batch.part(k)) for k, of_part in enumerate(log_prob.unbind(1))]).sum()
