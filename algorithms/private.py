"""REINFORCE under differential privacy: DP-SGD whose unit is an episode (Abadi et al., 2016, algorithm 1).

    g = (1/B) ( Σ_i ∇_i min(1, C / ‖∇_i‖) + σ C ξ ),   ξ ~ N(0, 1) for each parameter,   ∇_i of episode i's loss

Neighbours differ in one episode, whose ∇_i is there or 0 (Kairouz et al., 2021, definition 1.1). An episode is fresh
and enters one update, so what it loses is the loss of one Gaussian mechanism: later updates, and what the next policies
play with others, are post-processing. Nothing is sampled from a population, so nothing amplifies. (ε, δ) is of all
policies, for who does not know the seed; it is not of the records of a run: returns, losses, evaluations.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .core.algorithm import InvalidSetting, setting
from .core.batch import Batch
from .core.hooks import Objective
from .core.privacy import noise_multiplier
from .core.rollout import Floats, Rollout
from .reinforce import Reinforce


@dataclass(frozen=True)
class Private(Reinforce):
    """REINFORCE with clipped gradients of episodes and Gaussian noise (Abadi et al., 2016)."""

    title: ClassVar[str] = "Private REINFORCE"
    equation: ClassVar[str] = "g = (1/B) (Σ_i ∇_i min(1, C / ‖∇_i‖) + σ C ξ),  ξ ~ N(0, 1)"
    refuses: ClassVar[tuple[str, ...]] = ("normalize_observations", "normalize_rewards", "tuning")

    epsilon: float | None = setting(1.0, above=0)  # null: no noise
    delta: float = setting(1e-5, above=0, high=0.5)
    clip_norm: float = setting(1.0, above=0)  # C
    episodes_per_unit: int = setting(1, low=1)  # of one person, each in another update: so many events are composed
    normalize_advantages: Literal[False] = False  # this and what follows tells of episodes, or learns from them again
    epochs: Literal[1] = 1
    minibatch_size: None = None
    target_kl: None = None

    def advantages(self, rollout: Rollout) -> Floats:
        """G_t of episodes that all last as long: their number within the budget would tell how long each one was."""
        if rollout.terminated.any() or not rollout.all_valid:
            raise InvalidSetting("Private needs a task whose episodes all end by its time limit; one ended before it")
        return super().advantages(rollout)

    def gradients(self, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """(1/B) ( Σ_i ∇_i min(1, C / ‖∇_i‖) + σ C ξ )."""
        assert batch.episode_ids is not None
        of_episodes = objective.episode_gradients(batch.episode_ids) * batch.episodes  # [B, P]
        clipped = of_episodes * torch.clamp(self.clip_norm / of_episodes.norm(dim=1, keepdim=True), max=1.0)
        sigma = 0.0 if self.epsilon is None else noise_multiplier(self.epsilon, self.delta, self.episodes_per_unit)
        noise = torch.randn(clipped.shape[1], generator=generator)
        return (clipped.sum(0) + sigma * self.clip_norm * noise) / batch.episodes

    def diagnostics(self, log_prob: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ε of the policies until now, which is that of every single one."""
        return {} if self.epsilon is None else {"epsilon": torch.tensor(self.epsilon).double()}
