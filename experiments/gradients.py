"""The gradient laboratory: the gradient estimates of all estimators on the same episodes of one frozen policy.

A policy loss depends on the parameters only through the log-probabilities of the actions, so

    −∇_θ L = Σ_t w_t ∇_θ log π_θ(a_t|s_t),   w_t = −∂L / ∂ log π(a_t|s_t).

An estimator is a weight w_t per step. The gradients of all estimators, critics and batch sizes are sums over the same
∇ log π, which are computed once. A probe keeps only the inner products of the gradients, because every variance, cosine
and distance follows from them (`analysis.statistics.gradients`).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from policy_gradient_ladder.core.batch import Batch
from policy_gradient_ladder.core.estimators import discounted_returns, generalized_advantages
from policy_gradient_ladder.core.mlp import ValueFunction
from policy_gradient_ladder.core.normalizer import RunningNormalizer
from policy_gradient_ladder.core.optimizer import take_adam_step
from policy_gradient_ladder.core.policies import Policy
from policy_gradient_ladder.core.policy_gradient import PolicyGradient
from policy_gradient_ladder.core.rollout import OnWait, Rollout, collect
from policy_gradient_ladder.core.run import LONGEST_EPISODE
from policy_gradient_ladder.core.task import Task
from policy_gradient_ladder.core.vector_env import VectorEnv
from policy_gradient_ladder.reinforce import Reinforce
from policy_gradient_ladder.reinforce_baseline import ReinforceBaseline

from .metrics import FEWEST_BATCHES
from .scores import Scores

PARALLEL_ENVS = 16  # environments that draw episodes together, at most
BATCHES_OF_OTHER_SIZES = 64  # at most; the grid sets how many batches have the main size
STEPS_AT_ONCE = 1024  # as many steps have their gradients, [steps, P], in memory together
# When the value of another state changes by 1, an advantage that changes by less than this has changed by rounding.
SMALLEST_INFLUENCE = 1e-6
# Per batch with advantages of 1: a sum of weights below this counts as 0. REINFORCE's is the mean length of an episode.
SMALLEST_WEIGHT = 1e-6
SAME_DIRECTION = 1e-12  # 1 − the cosine of two rows of weights that differ by rounding alone
PLAIN_REFERENCE, BASELINE_REFERENCE = "return", "baseline"  # the references' ids: REINFORCE without and with a baseline


@dataclass
class Episodes:
    """E whole episodes under one policy, one after another, M steps in all; the arrays of steps are [M, …]."""

    steps: Rollout  # without the axis of the environments; its rewards are scaled, as the algorithms see them
    starts: np.ndarray  # int [E + 1]: the step at which each episode begins, and M at the end
    observations: np.ndarray  # float32 [M, D], normalised
    next_observations: np.ndarray  # float32 [M, D], normalised
    log_probs: Tensor  # float32 [M]: log π(a_t|s_t) under the policy that acted
    mean_return: float  # mean over episodes of the undiscounted sum of the unscaled rewards

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, first: int, count: int) -> np.ndarray:
        """The step in each place of a rollout that holds one episode per column.

        The columns hold the `count` episodes from number `first` on. Returns int [T, count], where T is the length of
        the longest of these episodes; places after the end of an episode hold −1.
        """
        starts, ends = self.starts[first : first + count], self.starts[first + 1 : first + count + 1]
        rows = np.arange((ends - starts).max())[:, None] + starts
        return np.where(rows < ends, rows, -1)

    def rollout(self, rows: np.ndarray) -> Rollout:
        """The rollout [T, N] of the steps `rows`, int [T, N], without values; −1 stands for no step."""
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
    *,
    num_envs: int = PARALLEL_ENVS,
    longest: int = LONGEST_EPISODE,
    on_wait: OnWait = lambda steps, episodes: None,
) -> Episodes:
    """Draw complete episodes with sampled actions.

    Every environment gives the same number of episodes, so that short episodes are not drawn more often than long ones.
    `normalizer` maps raw observations to those that the policy sees, `scale_rewards` maps float [M] raw rewards to
    those that the algorithms see, and `episodes` is the number of episodes. At most `num_envs` environments are open at
    once. On a task without a time limit an episode is cut after `longest` steps.
    """
    environments, acting = seed.spawn(2)
    rng = np.random.default_rng(acting)
    most = math.gcd(episodes, PARALLEL_ENVS)
    together = max(n for n in range(1, min(num_envs, most) + 1) if most % n == 0)
    with closing(VectorEnv(task, together, environments)) as envs:
        envs.limit_episodes(longest)
        rollout = collect(envs, policy, normalizer, rng, episodes=episodes // together, on_wait=on_wait)
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
    """G_t = r_t + γ G_{t+1} of every step, from the scaled rewards; float [M]."""
    column = {name: getattr(episodes.steps, name)[:, None] for name in ("rewards", "terminated", "truncated")}
    unused = dict.fromkeys(("observations", "actions", "next_observations"))
    rollout = Rollout(**column, **unused, valid=np.ones((len(episodes.steps.rewards), 1), bool))
    return discounted_returns(rollout, gamma)[:, 0]


class Critic(NamedTuple):
    """A critic's values V(s_t) and V(s_{t+1}) of every step, both float [M]."""

    values: np.ndarray
    next_values: np.ndarray

    @classmethod
    def of(cls, value_function: ValueFunction, episodes: Episodes) -> "Critic":
        """The values that a value function gives to the states of the episodes."""
        return cls(
            value_function.values(episodes.observations).astype(float),
            value_function.values(episodes.next_observations).astype(float),
        )


FIT_LEARNING_RATE = 3e-3  # of Adam
FIT_EPSILON = 1e-8  # of Adam
FIT_MINIBATCH = 512  # steps
FIT_PATIENCE = 10  # a fit has converged after as many epochs without a smaller validation error
FIT_EPOCHS = 200  # at most
FIT_VALIDATION = 0.2  # the share of the episodes that is held out


def fit_value_function(episodes: Episodes, gamma: float, seed: np.random.SeedSequence) -> ValueFunction:
    """Fit V(s_t) to the returns G_t by least squares.

    Fitting ends when the error on held-out episodes no longer falls. Returns the value function with the smallest such
    error. `seed` gives the initial weights and the order of the minibatches.
    """
    of_order, of_weights = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(
        2
    )  # the same at any call
    rng = np.random.default_rng(of_order)
    generator = torch.Generator().manual_seed(int(of_weights.generate_state(1)[0]))
    network = ValueFunction(episodes.observations.shape[1], generator)
    returns = returns_of(episodes, gamma)
    mean, std = returns.mean(), returns.std()  # where all returns are equal, std is 0 and the fit is their value
    targets = torch.from_numpy(((returns - mean) / (std or 1.0)).astype(np.float32))
    observations = torch.from_numpy(episodes.observations)
    held_out = episodes.starts[-1 - max(1, round(FIT_VALIDATION * len(episodes)))]
    # Adam's mean, square and step count begin at 0. `torch.optim` is not used: its import takes a second and 60 MB.
    vector, rate = network.parameter_vector, torch.tensor(FIT_LEARNING_RATE)
    state = vector, torch.zeros_like(vector), torch.zeros_like(vector), torch.zeros(()), rate
    best, best_error, waited = vector.clone(), math.inf, 0
    for _ in range(FIT_EPOCHS):
        for rows in torch.from_numpy(rng.permutation(held_out)).split(FIT_MINIBATCH):
            error = (network(observations[rows]) - targets[rows]).square().mean()
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(error, list(network.parameters()))])
            with torch.no_grad():
                take_adam_step(state, gradient, FIT_EPSILON)
        with torch.no_grad():
            error = float((network(observations[held_out:]) - targets[held_out:]).square().mean())
        waited += 1
        if error < best_error:
            best, best_error, waited = vector.clone(), error, 0
        if waited == FIT_PATIENCE:
            break
    vector.copy_(best)
    last = network.network[-1]
    with torch.no_grad():
        last.weight *= std
        last.bias.mul_(std).add_(mean)
    return network


@dataclass(frozen=True)
class Generalized(Reinforce):
    """Generalised advantages in REINFORCE's sum over an episode: estimators with different λ differ in Ψ_t alone."""

    value_function: ClassVar[bool] = True
    gae_lambda: float = 1.0

    def advantages(self, rollout: Rollout):
        """Ψ_t = Σ_l (γλ)^l δ_{t+l} (Schulman et al., 2016, eq. 16)."""
        return generalized_advantages(rollout, self.gamma, self.gae_lambda)


@dataclass(frozen=True)
class ActionValue(Reinforce):
    """Ψ_t = f(s_t, a_t), where f is the critic."""

    value_function: ClassVar[bool] = True

    def advantages(self, rollout: Rollout):
        """Ψ_t = f(s_t, a_t)."""
        return rollout.values


@dataclass(frozen=True)
class Estimator:
    """An algorithm with a critic: a way to estimate the policy gradient from a batch of episodes."""

    id: str  # unique within a probe; the references of a probe are named by it, too
    algorithm: PolicyGradient
    kind: str  # "algorithm", "gae", "compatible" or "reference"
    name: str | None = None  # of the algorithm in the grid; None where the grid has no such algorithm
    critic: str = "none"
    normalized: bool = False  # whether advantages are normalised over the batch, as the algorithm does in training
    all_sizes: bool = True  # whether it is measured at every batch size; otherwise only at the main one

    def weights(self, batch: Batch) -> Tensor:
        """w_t = −∂L / ∂ log π(a_t|s_t) of every step of the batch, [B]."""
        if self.normalized and len(batch) > 1:  # a single step has no deviation to divide by
            batch = batch.with_normalized_advantages()
        log_prob = batch.log_probs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.algorithm.policy_loss(log_prob, batch), log_prob)
        return -slope

    def power_of_steps(self, batch: Batch) -> float:
        """The power of the number of steps by which the loss divides: 0 for a sum over the steps, 1 for their mean.

        The batch is compared with one that has each step twice, and as many episodes. Advantages are random, because
        equal ones may have no weight in a loss.
        """
        random = torch.randn(len(batch), generator=torch.Generator().manual_seed(0))
        tensors = batch.with_advantages(random).tensors()
        totals = []
        for copies in (1, 2):
            columns = (torch.cat([x] * copies) if x.ndim else x for x in tensors.values())
            totals.append(float(self.weights(Batch.from_tensors(tensors, columns)).double().abs().sum()))
        once, twice = totals
        return math.log2(2 * once / twice) if once > 0 and twice > 0 else 0.0


def estimators_of(
    algorithms: Mapping[str, PolicyGradient],
    critics: Sequence[str],
    baseline: str,
    gae_lambdas: Sequence[float],
    gamma: float,
) -> list[Estimator]:
    """All estimators of a probe.

    These are every algorithm with every critic, GAE at every λ with every critic, and REINFORCE without and with a
    baseline as references. The reference with a baseline has less noise.

    - `algorithms`: by their names in the grid, with the discount `gamma`
    - `critics`: names of critics. The critic "compatible" gives values of actions, so only the estimator of compatible
      advantages uses it.
    - `baseline`: the name of the critic that is the baseline of the second reference
    - `gae_lambdas`, `gamma`: the values of λ, and the discount of all estimators
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
            algorithm = Generalized(gamma=gamma, gae_lambda=gae_lambda)
            found.append(Estimator(f"gae {gae_lambda} {critic}", algorithm, "gae", None, critic, all_sizes=False))
    found.append(Estimator(PLAIN_REFERENCE, Reinforce(gamma=gamma), "reference"))
    found.append(Estimator(BASELINE_REFERENCE, ReinforceBaseline(gamma=gamma), "reference", critic=baseline))
    if action_values:
        found.append(Estimator("compatible", ActionValue(gamma=gamma), "compatible", critic="compatible"))
    return found


def bootstraps(algorithm: PolicyGradient, rollout: Rollout) -> bool:
    """Whether Ψ_t depends on the values of other states than s_t.

    The function changes the values of a random half of the states, and compares the Ψ_t of the other half. With a
    baseline alone, Ψ_t does not depend on other states. With generalised advantages and λ = 1 the values of other
    states cancel, unless a time limit ends the episode.
    """
    rng = np.random.default_rng(0)
    changed = rng.random(rollout.valid.shape) < 0.5
    following = np.roll(changed, -1, axis=0) & ~rollout.done  # s_{t+1} of a step is s_t of the step after it
    advantages = []
    for change in (0.0, 1.0):
        values, next_values = np.where(changed, change, 0.0), np.where(following | rollout.truncated, change, 0.0)
        known = dataclasses.replace(rollout, values=values, next_values=next_values)
        advantages.append(np.asarray(algorithm.advantages(known)))
    difference = np.abs(advantages[1] - advantages[0])[rollout.valid & ~changed]
    return bool(difference.max(initial=0.0) > SMALLEST_INFLUENCE)


def batch_sizes(batches: int, batch_size: int) -> dict[int, int]:
    """The batch sizes of a probe and how many batches each has: {episodes in a batch: number of batches}, ascending.

    The sizes are 1, the main size `batch_size`, and the main size times 4, 16, … as long as the `batches` ·
    `batch_size` episodes fill FEWEST_BATCHES batches of that size.
    """
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
    critics: Mapping[str, Critic],
    batches: int,
    batch_size: int,
) -> dict[tuple[str, int], np.ndarray]:
    """Every estimator's gradients on the same batches of episodes.

    - `critics`: the values of the episodes by name of the critic
    - `batches`, `batch_size`: how many batches have the main size, and how many episodes are in each of these

    Returns float32 [N, P] by (estimator id, batch size): a gradient per batch, where P is the number of parameters.

    Gradients are on the scale of REINFORCE, which sums over an episode. So where a loss is a mean over the steps of its
    batch, the gradient of each batch is multiplied by that batch's own steps per episode. In a training a rollout has a
    fixed number of steps. Here it is random, and a division by it would change the mean and the variance. One number
    per estimator does the rest: with it, the weights at an advantage of 1 at every step sum to those of REINFORCE. The
    number is 1 where equal advantages have no weight in a loss, as in one that normalises them.
    """
    sizes = batch_sizes(batches, batch_size)
    measured = {size: [e for e in estimators if e.all_sizes or size == batch_size] for size in sizes}
    known = _advantages_of_all(estimators, episodes, critics, sizes)
    some = episodes.rows(0, max(sizes))
    rollout = episodes.rollout(some)
    powers = {
        e.id: e.power_of_steps(_batch(e, rollout, some[rollout.valid], episodes, critics, known[e.id]))
        for e in estimators
    }
    weights = {}
    total_weights = np.zeros(len(estimators))  # Σ w_t over the batches of the main size, if every advantage were 1
    for size, count in sizes.items():
        weights[size] = np.zeros((len(measured[size]), episodes.starts[size * count]), np.float32)
        for i in range(count):
            rows = episodes.rows(i * size, size)
            rollout = episodes.rollout(rows)
            steps = rows[rollout.valid]
            for place, (estimator, row) in enumerate(zip(measured[size], weights[size], strict=True)):
                batch = _batch(estimator, rollout, steps, episodes, critics, known[estimator.id])
                per_episode = (len(steps) / size) ** powers[estimator.id]
                row[steps] = per_episode * estimator.weights(batch).double()
                if size == batch_size:
                    equal = batch.with_advantages(torch.ones_like(batch.advantages))
                    total_weights[place] += per_episode * float(estimator.weights(equal).double().sum())
    sums = {
        size: np.zeros((len(measured[size]), count, policy.parameter_vector.numel()), np.float32)
        for size, count in sizes.items()
    }
    masks = episodes.steps.action_masks
    with Scores(policy, STEPS_AT_ONCE) as scores:
        for here in _slices(episodes, sizes):
            of_steps = scores.of(
                *(episodes.observations[here], episodes.steps.actions[here], None if masks is None else masks[here])
            )
            active = [size for size in sizes if here.start < weights[size].shape[1]]
            products = _product(np.concatenate([weights[size][:, here] for size in active]), of_steps)
            for size in active:
                batch = np.searchsorted(episodes.starts[::size], here.start, "right") - 1
                sums[size][:, batch] += products[: len(measured[size])]
                products = products[len(measured[size]) :]
    length = episodes.starts[batches * batch_size] / batch_size  # sum over the batches of their mean episode length
    scales = {
        estimator.id: length / total if total > SMALLEST_WEIGHT * batches else 1.0
        for estimator, total in zip(estimators, total_weights, strict=True)
    }
    return {
        (estimator.id, size): vectors * np.float32(scales[estimator.id])
        for size in sizes
        for estimator, vectors in zip(measured[size], sums[size], strict=True)
    }


def _advantages_of_all(
    estimators: Sequence[Estimator], episodes: Episodes, critics: Mapping[str, Critic], sizes: Iterable[int]
) -> dict[str, np.ndarray | None]:
    """Every estimator's Ψ_t of all steps, float32 [M], by its id; None where a Ψ_t depends on the episode's batch.

    It does where the first batch of some size has other Ψ_t by itself than among the episodes of the largest size.
    """
    known: dict[str, np.ndarray | None] = {e.id: np.zeros(len(episodes.observations), np.float32) for e in estimators}
    firsts = range(0, len(episodes), max(sizes))
    for first, size in [*((first, max(sizes)) for first in firsts), *((0, size) for size in sizes)]:
        rows = episodes.rows(first, size)
        rollout = episodes.rollout(rows)
        steps = rows[rollout.valid]
        for estimator in estimators:
            psi = _batch(estimator, rollout, steps, episodes, critics).advantages.numpy()
            of_all = known[estimator.id]
            if of_all is None:
                continue
            if size == max(sizes):
                of_all[steps] = psi
            elif not np.array_equal(of_all[steps], psi):
                known[estimator.id] = None
    return known


def _batch(
    estimator: Estimator,
    rollout: Rollout,
    steps: np.ndarray,
    episodes: Episodes,
    critics: Mapping[str, Critic],
    known: np.ndarray | None = None,
) -> Batch:
    """The batch of a rollout, with the values of the estimator's critic and the estimator's Ψ_t.

    `steps` (int [B]) are the rows of `episodes` that the valid places of the rollout hold; `known` has the Ψ_t of all
    rows, where they are known already.
    """
    rollout.values, rollout.next_values = np.zeros(rollout.valid.shape), np.zeros(rollout.valid.shape)
    if estimator.critic != "none":
        critic = critics[estimator.critic]
        rollout.values[rollout.valid] = critic.values[steps]
        rollout.next_values[rollout.valid] = critic.next_values[steps]
    advantages = None
    if known is not None:
        advantages = np.zeros(rollout.valid.shape)
        advantages[rollout.valid] = known[steps]
    return Batch.of(estimator.algorithm, rollout, episodes.observations[steps], episodes.log_probs[steps], advantages)


def _slices(episodes: Episodes, sizes: Mapping[int, int]) -> Iterator[slice]:
    """Yield the steps of all batches, by {episodes in a batch: number of batches}; some of them at a time, in order.

    These are at most STEPS_AT_ONCE, and of each size they lie in one batch.
    """
    ends = np.unique(np.concatenate([episodes.starts[: size * count + 1 : size] for size, count in sizes.items()]))
    for first, last in itertools.pairwise(ends.tolist()):
        for begin in range(first, last, STEPS_AT_ONCE):
            yield slice(begin, min(begin + STEPS_AT_ONCE, last))


def _product(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """weights [W, B] @ scores [B, P], where a row of weights that is a multiple of one before it costs next to nothing.

    Many are: an algorithm's weights in batches of all sizes, and those of algorithms that are the same at λ = 0 or 1.
    """
    rows = weights.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    cosines = rows @ rows.T / np.maximum(np.outer(norms, norms), np.finfo(float).tiny)
    first = (np.abs(cosines) > 1 - SAME_DIRECTION).argmax(axis=1)  # the first row with the direction of each
    different, place = np.unique(first, return_inverse=True)
    multiples = np.einsum("wb,wb->w", rows, rows[first]) / np.maximum(norms[first] ** 2, np.finfo(float).tiny)
    return multiples[:, None].astype(np.float32) * (weights[different] @ scores)[place]
