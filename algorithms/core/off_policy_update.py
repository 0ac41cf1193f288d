"""One gradient step of an off-policy algorithm: its critics, its policy, and the targets that follow them slowly."""

from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Space
from torch import Tensor

from .bounded_policy import ActionValue, BoundedPolicy
from .fused import Parameters
from .hook_checks import checked_loss, checked_tensor
from .off_policy_hooks import OffPolicyHooks
from .optimizer import take_adam_step
from .replay import Transitions

POLICY, TARGET_POLICY = "policy", "target_policy"  # the networks' names in a checkpoint


class Noise(NamedTuple):
    """Standard normal numbers of one gradient step, float32 [B, A]; None where an algorithm needs none."""

    next_actions: Tensor | None  # of a' at s'
    actions: Tensor | None  # of π's action at s


class Networks:
    """A policy and its critics Q_1(s, a), …, Q_C(s, a), with their Adam states, and the targets that follow them.

    The initial parameters are drawn from `generator`; those of the targets are equal to them. Raises ValueError where
    actions in [−1, 1] cannot be scaled to the space.
    """

    def __init__(
        self, algorithm: OffPolicyHooks, observation_size: int, action_space: Space[Any], generator: torch.Generator
    ) -> None:
        a = algorithm
        architecture = generator, a.hidden_sizes, a.activation

        def policy() -> BoundedPolicy:
            return BoundedPolicy(observation_size, action_space, *architecture, stochastic=a.stochastic)

        def critics() -> list[ActionValue]:
            size = self.policy.action_size
            return [ActionValue(observation_size, size, *architecture) for _ in range(a.critic_count)]

        self.policy = policy()
        self.critics = critics()
        self.target_policy = policy() if a.target_policy else None
        self.target_critics = critics()
        self.of_policy = Parameters(POLICY, self.policy)
        self.of_critics = [Parameters(f"critic_{i + 1}", critic) for i, critic in enumerate(self.critics)]
        self.of_targets = [Parameters(f"target_critic_{i + 1}", x) for i, x in enumerate(self.target_critics)]
        if self.target_policy is not None:
            self.of_targets.append(Parameters(TARGET_POLICY, self.target_policy))
        self.move_targets(1.0)

    def all(self) -> list[Parameters]:
        """The parameters of every network: policy, critics and targets."""
        return [self.of_policy, *self.of_critics, *self.of_targets]

    def set_learning_rates(self, policy: float, critics: float) -> None:
        """Set the step sizes of Adam."""
        self.of_policy.learning_rate.fill_(policy)
        for critic in self.of_critics:
            critic.learning_rate.fill_(critics)

    @torch.no_grad()
    def move_targets(self, tau: float) -> None:
        """θ' ← (1 − τ) θ' + τ θ, of every target."""
        sources = [critic.vector for critic in self.of_critics]
        if self.target_policy is not None:
            sources.append(self.of_policy.vector)
        for target, source in zip(self.of_targets, sources, strict=True):
            target.vector.lerp_(source, tau)


class OffPolicyUpdate:
    """The gradient steps of an off-policy algorithm in Torch, operation by operation.

    All random numbers are arguments, so that a step is a function of them, of the networks and of the settings.
    `seconds` were spent on compiling, or on loading code that was compiled before.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.seconds = 0.0

    @property
    def compiled(self) -> bool:
        """Whether there is machine code of the steps."""
        return False

    def step(
        self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise, *, moves_policy: bool
    ) -> dict[str, float]:
        """One step of every critic, and where it `moves_policy` one of the policy and of the targets.

        The policy learns from the critics after their step. Returns scalars by name: `critic_loss` and `value_mean`
        before the step, `policy_loss` where the policy moved, and the `entropy` (nats) of one that is stochastic.
        """
        a, networks = algorithm, self.networks
        targets = self.targets(a, batch, noise)
        vectors = [critic.vector.detach().requires_grad_() for critic in networks.of_critics]
        critics = [critic.module_with(vector) for critic, vector in zip(networks.of_critics, vectors, strict=True)]
        values = torch.stack([critic(batch.observations, batch.actions) for critic in critics])
        loss = checked_loss(a.critic_loss(values, targets, batch), a, "critic_loss", "values", values)
        gradients = torch.autograd.grad(loss, vectors)
        for critic, gradient in zip(networks.of_critics, gradients, strict=True):
            take_adam_step(critic.tensors(), gradient, a.adam_epsilon)
        record = {"critic_loss": loss.item(), "value_mean": values.mean().item()}
        return record | self._move_policy(a, batch, noise) if moves_policy else record

    @torch.no_grad()
    def targets(self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise) -> Tensor:
        """What the critics learn, [B]: from the target critics at a', the next action of the policy or its target."""
        networks = self.networks
        policy = networks.policy if networks.target_policy is None else networks.target_policy
        actions, log_probs = policy(batch.next_observations, noise.next_actions)
        if noise.next_actions is not None:
            actions = algorithm.target_actions(actions, noise.next_actions, batch)
        values = torch.stack([critic(batch.next_observations, actions) for critic in networks.target_critics])
        targets = algorithm.targets(batch, values, log_probs)
        return checked_tensor(targets, algorithm, "targets", batch.rewards.shape)

    def _move_policy(self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise) -> dict[str, float]:
        a, networks = algorithm, self.networks
        vector = networks.of_policy.vector.detach().requires_grad_()
        actions, log_probs = networks.of_policy.module_with(vector)(batch.observations, noise.actions)
        values = torch.stack([critic(batch.observations, actions) for critic in networks.critics])
        loss = checked_loss(a.policy_loss(values, log_probs, batch), a, "policy_loss", "values", values)
        (gradient,) = torch.autograd.grad(loss, vector)
        take_adam_step(networks.of_policy.tensors(), gradient, a.adam_epsilon)
        networks.move_targets(a.tau)
        record = {"policy_loss": loss.item()}
        return record | {"entropy": -log_probs.mean().item()} if a.stochastic else record
