"""A2C of clients that learn from their own steps alone, and a server that averages (McMahan et al., 2017).

    FedAvg: θ_k ← θ_k − α ∇L_k(θ_k), E times, then θ_k ← Σ_j (n_j/n) θ_j;   FedSGD: θ ← θ − α Σ_k (n_k/n) ∇L_k(θ)

Client k has the environments i with i mod K = k, and n_k of the n steps. It acts, and has a critic, by its own θ_k.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .a2c import A2C
from .core.algorithm import InvalidSetting, setting
from .core.asynchronous import ExchangingLearner, OneBatch
from .core.batch import Batch
from .core.hooks import Objective


@dataclass(frozen=True)
class Federated(OneBatch, A2C):
    """Federated averaging of parameters or gradients, on advantage actor-critic (McMahan et al., 2017)."""

    title: ClassVar[str] = "FedAvg"
    equation: ClassVar[str] = "θ_k ← θ_k − α ∇L_k(θ_k), E times;  θ_k ← Σ_j (n_j/n) θ_j"
    refuses: ClassVar[tuple[str, ...]] = ("normalize_observations", "normalize_rewards")  # of all clients, and not sent

    clients: int | None = setting(None, low=1)  # K; null: each environment is a client
    local_updates: int = setting(1, low=0)  # E; 0: FedSGD, clients send gradients and the server takes the step
    adam: bool = False  # in place of θ − α g: of each client, with means of its own; FedSGD: of the server
    client_norm: float | None = setting(0.5, low=0)  # to which a client's gradient, or FedSGD's mean, is clipped

    def __post_init__(self) -> None:
        """Refuse clients without data."""
        super().__post_init__()
        if (self.clients or 0) > self.num_envs:
            raise InvalidSetting(f"clients of Federated is {self.clients}: some would have no data; raise num_envs")

    def gradients(self, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """∇L_k(θ_k) of each environment's client, or Σ_k (n_k/n) ∇L_k(θ), clipped; [N · P]."""
        client = torch.arange(n := self.num_envs) % ((self.clients or n) if self.local_updates else 1)
        members = torch.nn.functional.one_hot(client).float()  # [N, K]
        means = (members * n / members.sum(0)).T @ super().gradients(objective, batch, generator).view(n, -1)  # [K, P]
        if self.client_norm is not None:
            means *= torch.clamp(self.client_norm / (means.norm(dim=1, keepdim=True) + 1e-6), max=1.0)
        return means[client].flatten()

    def step(self, objective: Objective, gradient: Tensor, batch: Batch) -> Tensor:
        """θ_k − α ∇L_k(θ_k), or Adam's step."""
        return objective.adam(gradient) if self.adam else objective.parameters - objective.learning_rate * gradient

    def exchanged(self, copies: Tensor, updates: int) -> tuple[Tensor, int]:
        """θ_k ← Σ_j (n_j/n) θ_j after E updates: the mean over environments. 2 K vectors are sent, there and back."""
        sent = 0 if updates % max(self.local_updates, 1) else 2 * (self.clients or self.num_envs)
        return copies.mean(0).expand_as(copies) if sent and self.local_updates else copies, sent

    def learner(self) -> type[ExchangingLearner]:
        """The learner of clients with parameters of their own."""
        return ExchangingLearner
