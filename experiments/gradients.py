"""The gradient laboratory: what every estimator makes of the same episodes of one frozen policy.

A policy loss knows the parameters through the log-probabilities of the actions alone, so

    −∇_θ L = Σ_t w_t ∇_θ log π_θ(a_t|s_t),   w_t = −∂L / ∂ log π(a_t|s_t).

An estimator is a weight per step; the gradients of all estimators, critics and batch sizes are sums over the same
∇ log π, which are computed once. Of the gradients only inner products are kept: they hold every variance, cosine and
distance (`analysis.gradient_statistics`).
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from algorithms.core.batch import Batch
from algorithms.core.estimators import discounted_returns, generalized_advantages
from algorithms.core.mlp import ValueFunction
from algorithms.core.normalizer import RunningNormalizer
from algorithms.core.policies import Policy
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.rollout import Rollout, collect
from algorithms.core.task import Task
from algorithms.core.vector_env import VectorEnv
from algorithms.reinforce import Reinforce
from algorithms.reinforce_baseline import ReinforceBaseline
from experiments.metrics import FEWEST_BATCHES

PARALLEL_ENVS = 16
BATCHES_OF_OTHER_SIZES = 64  # at most; the main size has as many as the grid asks for
STEPS_AT_ONCE = 1024  # whose gradients, [steps, P], are in memory together
SMALLEST_INFLUENCE = 1e-6  # on an advantage of another state's value, which is changed by 1; less is rounding
SMALLEST_WEIGHT = 1e-6  # of a batch's equal advantages of 1, whose weights sum to 1 in a mean over steps


@dataclass
class Episodes:
    """E whole episodes under one policy, one after another, M steps in all; every array is [M, …]."""

    steps: Rollout  # without the axis of the environments; rewards as the algorithms see them, scaled
    starts: np.ndarray  # int [E + 1]: where each begins, and M
    observations: np.ndarray  # float32 [M, D], normalised
    next_observations: np.ndarray  # float32 [M, D], normalised
    log_probs: Tensor  # float32 [M]
    mean_return: float  # of the raw rewards

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, first: int, count: int) -> np.ndarray:
        """int [T, count]: the step in each place of a rollout that holds an episode per column; −1 after its end."""
        starts, ends = self.starts[first : first + count], self.starts[first + 1 : first + count + 1]
        rows = np.arange((ends - starts).max())[:, None] + starts
        return np.where(rows < ends, rows, -1)

    def rollout(self, rows: np.ndarray) -> Rollout:
        """The rollout [T, N] of those steps, without values."""
        valid = rows >= 0
        s = self.steps
        return Rollout(
            s.observations[rows],
            s.actions[rows],
            s.rewards[rows] * valid,
            s.terminated[rows] & valid,
            s.truncated[rows] & valid,
            s.next_observations[rows],
            valid,
            action_masks=None if s.action_masks is None else s.action_masks[rows],
        )


def draw_episodes(
    task: Task,
    policy: Policy,
    normalizer: RunningNormalizer,
    scale_rewards: Callable[[np.ndarray], np.ndarray],
    episodes: int,
    seed: np.random.SeedSequence,
) -> Episodes:
    """Complete episodes with sampled actions, an equal number from each environment, so that none is preferred."""
    environments, acting = seed.spawn(2)
    envs = VectorEnv(task, math.gcd(episodes, PARALLEL_ENVS), environments)
    rng = np.random.default_rng(acting)
    rollout = collect(envs, policy, normalizer, rng, episodes=episodes // envs.num_envs)
    envs.close()
    valid = rollout.valid.T

    def flat(x: np.ndarray) -> np.ndarray:
        return x.swapaxes(0, 1)[valid]

    steps = Rollout(
        flat(rollout.observations),
        flat(rollout.actions),
        scale_rewards(flat(rollout.rewards)),
        flat(rollout.terminated),
        flat(rollout.truncated),
        flat(rollout.next_observations),
        valid[valid],
        action_masks=None if rollout.action_masks is None else flat(rollout.action_masks),
    )
    observations = normalizer(steps.observations)
    masks = () if steps.action_masks is None else (torch.from_numpy(steps.action_masks),)
    with torch.no_grad():
        log_probs = policy(torch.from_numpy(observations), *masks).log_prob(torch.from_numpy(steps.actions))
    return Episodes(
        steps,
        np.concatenate([[0], np.flatnonzero(steps.done) + 1]),
        observations,
        normalizer(steps.next_observations),
        log_probs,
        float(np.mean([episode.return_ for episode in envs.episodes])),
    )


def returns_of(episodes: Episodes, gamma: float) -> np.ndarray:
    """G_t of every step, float [M]."""
    column = {name: getattr(episodes.steps, name)[:, None] for name in ("rewards", "terminated", "truncated")}
    unused = dict.fromkeys(("observations", "actions", "next_observations", "valid"))
    return discounted_returns(Rollout(**column, **unused), gamma)[:, 0]


class Critic(NamedTuple):
    """What a critic says of every step: V(s_t) and V(s_{t+1}), float [M]."""

    values: np.ndarray
    next_values: np.ndarray

    @classmethod
    def of(cls, value_function: ValueFunction, episodes: Episodes) -> "Critic":
        """A value function's opinion of the episodes."""
        return cls(
            value_function.values(episodes.observations).astype(float),
            value_function.values(episodes.next_observations).astype(float),
        )


FIT_LEARNING_RATE = 3e-3
FIT_MINIBATCH = 512
FIT_PATIENCE = 10  # epochs without a better validation error after which a fit has converged
FIT_EPOCHS = 200  # at most
FIT_VALIDATION = 0.2  # of the episodes


def fit_value_function(episodes: Episodes, gamma: float, seed: np.random.SeedSequence) -> ValueFunction:
    """Least squares of V(s_t) on G_t, until the error on held-out episodes falls no more; the best fit is kept."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    network = ValueFunction(episodes.observations.shape[1], generator)
    returns = returns_of(episodes, gamma)
    mean, std = returns.mean(), returns.std()  # of a constant return 0: the fit is then that constant
    targets = torch.from_numpy(((returns - mean) / (std or 1.0)).astype(np.float32))
    observations = torch.from_numpy(episodes.observations)
    held_out = episodes.starts[-1 - max(1, round(FIT_VALIDATION * len(episodes)))]
    optimizer = torch.optim.Adam(network.parameters(), lr=FIT_LEARNING_RATE, fused=True)
    best, best_error, waited = copy.deepcopy(network.state_dict()), math.inf, 0
    for _ in range(FIT_EPOCHS):
        for rows in torch.from_numpy(rng.permutation(held_out)).split(FIT_MINIBATCH):
            optimizer.zero_grad()
            (network(observations[rows]) - targets[rows]).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            error = float((network(observations[held_out:]) - targets[held_out:]).square().mean())
        waited += 1
        if error < best_error:
            best, best_error, waited = copy.deepcopy(network.state_dict()), error, 0
        if waited == FIT_PATIENCE:
            break
    network.load_state_dict(best)
    last = network.network[-1]
    with torch.no_grad():
        last.weight *= std
        last.bias.mul_(std).add_(mean)
    return network


@dataclass(frozen=True)
class Generalized(Reinforce):
    """A_t^λ in REINFORCE's sum over an episode: what differs along λ is Ψ_t alone."""

    value_function: ClassVar[bool] = True
    gae_lambda: float = 1.0

    def advantages(self, rollout: Rollout):
        """Ψ_t = Σ_l (γλ)^l δ_{t+l}."""
        return generalized_advantages(rollout, self.gamma, self.gae_lambda)


@dataclass(frozen=True)
class ActionValue(Reinforce):
    """Ψ_t = f(s_t, a_t), which its critic says."""

    value_function: ClassVar[bool] = True

    def advantages(self, rollout: Rollout):
        """Ψ_t = f(s_t, a_t)."""
        return rollout.values


@dataclass(frozen=True)
class Estimator:
    """An algorithm with a critic; the names of what it is compared with are those of other estimators."""

    id: str
    algorithm: PolicyGradient
    kind: str  # "algorithm", "gae", "compatible" or "reference"
    name: str | None = None  # the algorithm's in the grid
    critic: str = "none"
    normalized: bool = False  # advantages as the algorithm normalises them in training, over the batch
    all_sizes: bool = True  # or only the main one

    def weights(self, batch: Batch) -> Tensor:
        """w_t [B]."""
        if self.normalized:
            batch = batch.with_normalized_advantages()
        log_prob = batch.log_probs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.algorithm.policy_loss(log_prob, batch), log_prob)
        return -slope


def estimators_of(
    algorithms: Mapping[str, PolicyGradient],
    critics: Sequence[str],
    baseline: str,
    gae_lambdas: Sequence[float],
    gae_gamma: float,
) -> list[Estimator]:
    """Every algorithm with every critic, GAE along λ, and per discount REINFORCE without and with a baseline.

    `baseline` names the critic of the last, the reference that has less noise. A critic "compatible" knows the values
    of actions and stands in for none of the others.
    """
    action_values = "compatible" in critics
    critics = [critic for critic in critics if critic != "compatible"]
    found = []
    for name, algorithm in algorithms.items():
        for critic in critics if algorithm.value_function else ["none"]:
            found.append(Estimator(f"{name} {critic} raw", algorithm, "algorithm", name, critic))
            if algorithm.normalize_advantages:
                normalized = Estimator(f"{name} {critic} normalized", algorithm, "algorithm", name, critic, True)
                found.append(normalized)
    for critic in critics:
        for gae_lambda in gae_lambdas:
            algorithm = Generalized(gamma=gae_gamma, gae_lambda=gae_lambda)
            found.append(Estimator(f"gae {gae_lambda} {critic}", algorithm, "gae", None, critic, all_sizes=False))
    for gamma in sorted({estimator.algorithm.gamma for estimator in found}):
        found.append(Estimator(f"return {gamma}", Reinforce(gamma=gamma), "reference"))
        with_baseline = ReinforceBaseline(gamma=gamma)
        found.append(Estimator(f"baseline {gamma}", with_baseline, "reference", critic=baseline))
        if action_values:
            found.append(Estimator(f"compatible {gamma}", ActionValue(gamma=gamma), "compatible", critic="compatible"))
    return found


def bootstraps(algorithm: PolicyGradient, rollout: Rollout) -> bool:
    """Whether Ψ_t depends on the value of another state than s_t: found by changing the values of half of the states.

    A baseline's Ψ_t does not, nor that of generalised advantages with λ = 1, whose other values cancel, unless a time
    limit ends the episode.
    """
    rng = np.random.default_rng(0)
    changed = rng.random(rollout.valid.shape) < 0.5
    following = np.roll(changed, -1, axis=0) & ~rollout.done  # the successor is the next step's state
    advantages = []
    for change in (0.0, 1.0):
        values, next_values = np.where(changed, change, 0.0), np.where(following | rollout.truncated, change, 0.0)
        known = dataclasses.replace(rollout, values=values, next_values=next_values)
        advantages.append(np.asarray(algorithm.advantages(known)))
    difference = np.abs(advantages[1] - advantages[0])[rollout.valid & ~changed]
    return bool(difference.max(initial=0.0) > SMALLEST_INFLUENCE)


def batch_sizes(batches: int, batch_size: int) -> dict[int, int]:
    """One episode, the main size, and that times 4, 16, …: with how many batches each is measured."""
    episodes = batches * batch_size
    sizes, size = {1: min(BATCHES_OF_OTHER_SIZES, episodes)}, 4 * batch_size
    while size * FEWEST_BATCHES <= episodes:
        sizes[size] = min(BATCHES_OF_OTHER_SIZES, episodes // size)
        size *= 4
    return dict(sorted((sizes | {batch_size: batches}).items()))


def measure_gradients(
    policy: Policy,
    episodes: Episodes,
    estimators: Sequence[Estimator],
    critics: Mapping[tuple[str, float], Critic],
    batches: int,
    batch_size: int,
) -> dict[tuple[str, int], np.ndarray]:
    """Every estimator's gradients, float32 [N, P], by its id and the batch size; `critics` by name and discount.

    They are brought to one scale by one number per estimator: as if an advantage of 1 at every step were summed over an
    episode, as in REINFORCE. (A mean over steps is smaller by the episodes' length.) A loss that gives equal advantages
    no weight, such as one that normalises them, keeps its own scale.
    """
    sizes = batch_sizes(batches, batch_size)
    measured = {size: [e for e in estimators if e.all_sizes or size == batch_size] for size in sizes}
    weights = {}
    total_weights = np.zeros(len(estimators))  # of the batches of the main size, were every advantage 1
    for size, count in sizes.items():
        weights[size] = np.zeros((len(measured[size]), episodes.starts[size * count]), np.float32)
        for i in range(count):
            rows = episodes.rows(i * size, size)
            rollout = episodes.rollout(rows)
            steps = rows[rollout.valid]
            for place, (estimator, row) in enumerate(zip(measured[size], weights[size], strict=True)):
                batch = _batch(estimator, rollout, steps, episodes, critics)
                row[steps] = estimator.weights(batch)
                if size == batch_size:
                    equal = batch.with_advantages(torch.ones_like(batch.advantages))
                    total_weights[place] += float(estimator.weights(equal).sum())
    sums = {
        size: np.zeros((len(measured[size]), count, policy.parameter_vector.numel()), np.float32)
        for size, count in sizes.items()
    }
    for first, last, gradients in _log_prob_gradients(policy, episodes):
        for e in range(first, last):
            active = [size for size, count in sizes.items() if e < size * count]
            steps = slice(episodes.starts[e], episodes.starts[e + 1])
            stacked = np.concatenate([weights[size][:, steps] for size in active])
            products = stacked @ gradients[steps.start - episodes.starts[first] : steps.stop - episodes.starts[first]]
            for size in active:
                sums[size][:, e // size] += products[: len(measured[size])]
                products = products[len(measured[size]) :]
    length = episodes.starts[batches * batch_size] / batch_size  # Σ over the batches of an episode's mean length
    scales = {
        estimator.id: length / total if total > SMALLEST_WEIGHT * batches else 1.0
        for estimator, total in zip(estimators, total_weights, strict=True)
    }
    return {
        (estimator.id, size): vectors * np.float32(scales[estimator.id])
        for size in sizes
        for estimator, vectors in zip(measured[size], sums[size], strict=True)
    }


def _batch(
    estimator: Estimator,
    rollout: Rollout,
    steps: np.ndarray,
    episodes: Episodes,
    critics: Mapping[tuple[str, float], Critic],
) -> Batch:
    """The batch of a rollout whose valid places hold `steps` [B], with the estimator's critic and Ψ_t."""
    rollout.values, rollout.next_values = np.zeros(rollout.valid.shape), np.zeros(rollout.valid.shape)
    if estimator.critic != "none":
        critic = critics[estimator.critic, estimator.algorithm.gamma]
        rollout.values[rollout.valid] = critic.values[steps]
        rollout.next_values[rollout.valid] = critic.next_values[steps]
    return Batch.of(estimator.algorithm, rollout, episodes.observations[steps], episodes.log_probs[steps])


def _log_prob_gradients(policy: Policy, episodes: Episodes) -> Iterator[tuple[int, int, np.ndarray]]:
    """∇ log π(a_t|s_t) of some episodes after others: the first, the one after the last, and float32 [steps, P]."""
    parameters = {name: parameter.detach() for name, parameter in policy.named_parameters()}

    def log_prob(parameters: dict[str, Tensor], action: Tensor, *inputs: Tensor) -> Tensor:
        inputs = tuple(x[None] for x in inputs)
        return torch.func.functional_call(policy, parameters, inputs).log_prob(action[None])[0]

    inputs = [torch.from_numpy(episodes.steps.actions), torch.from_numpy(episodes.observations)]
    if episodes.steps.action_masks is not None:
        inputs.append(torch.from_numpy(episodes.steps.action_masks))
    per_step = torch.func.vmap(torch.func.grad(log_prob), in_dims=(None, *(0 for _ in inputs)))
    first = 0
    while first < len(episodes):
        last = max(
            first + 1, int(np.searchsorted(episodes.starts, episodes.starts[first] + STEPS_AT_ONCE, "right")) - 1
        )
        here = slice(episodes.starts[first], episodes.starts[last])
        by_name = per_step(parameters, *(x[here] for x in inputs))
        yield first, last, torch.cat([gradient.flatten(1) for gradient in by_name.values()], dim=1).numpy()
        first = last
