"""Gradient estimates of a frozen policy from a stream of state-action pairs (Ilyas et al., 2020, section 2).

    ĝ = 1/n Σ_t Ψ_t ∇_θ log π_θ(a_t|s_t),   Ψ_t with V as trained, with a fitted V, and G_t in place of Ψ_t

The stream is drawn CHUNK pairs at a time and cut into blocks. Every block gives estimates of each size and the mean
gradient of all its pairs. Only these vectors are kept, so the memory does not depend on the number of pairs.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from policy_gradient_ladder.core.batch import Batch
from policy_gradient_ladder.core.estimators import backward_sum, discounted_returns
from policy_gradient_ladder.core.mlp import ValueFunction
from policy_gradient_ladder.core.normalizer import RunningNormalizer
from policy_gradient_ladder.core.policies import Policy
from policy_gradient_ladder.core.policy_gradient import PolicyGradient
from policy_gradient_ladder.core.rollout import OnWait, Rollout, collect
from policy_gradient_ladder.core.run import LONGEST_EPISODE
from policy_gradient_ladder.core.task import Task
from policy_gradient_ladder.core.vector_env import VectorEnv

from .gradients import Episodes, Estimator, returns_of
from .metrics import CHUNK, VALUE_TARGETS

UNKNOWN_SHARE = 0.01  # γ^h of a return that is known for h steps: what comes later has this weight at most
Critics = Mapping[str, ValueFunction | None]  # by name; None: returns take the place of advantages


@dataclass(frozen=True)
class Sizes:
    """How the stream is cut: a block has as many pairs as the largest estimate, and there is one more than a reference.

    So the estimates of a block are compared with the `reference_pairs` pairs of the other blocks.
    """

    pairs: tuple[int, ...]  # of an estimate, ascending multiples of CHUNK
    estimates: int  # of each size, at most
    reference_pairs: int  # a multiple of the largest estimate

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return self.reference_pairs // self.pairs[-1] + 1

    @property
    def chunks(self) -> int:
        """The number of chunks in the stream."""
        return self.blocks * self.pairs[-1] // CHUNK

    def count(self, size: int) -> int:
        """The number of estimates of a size."""
        return min(self.estimates, self.blocks * (self.pairs[-1] // size))

    def per_block(self, size: int) -> np.ndarray:
        """int [blocks]: the number of estimates of a size in each block; they differ by one at most."""
        return self.count(size) // self.blocks + (np.arange(self.blocks) < self.count(size) % self.blocks)

    def place(self, size: int, chunk: int) -> int | None:
        """The number of the estimate that a chunk of the stream is part of, and None where it is part of none.

        The estimates of a block begin at equal distances, because pairs that are near have episodes in common.
        """
        block, within = divmod(chunk, self.pairs[-1] // CHUNK)
        of_blocks = self.per_block(size)
        if of_blocks[block] == 0:
            return None
        number, after = divmod(within, self.pairs[-1] // CHUNK // int(of_blocks[block]))
        if number >= of_blocks[block] or after >= size // CHUNK:
            return None
        return int(of_blocks[:block].sum()) + number


class Means:
    """The mean gradients of estimates and blocks, from the gradients of the chunks one after another."""

    def __init__(self, sizes: Sizes, critics: Critics, parameters: int) -> None:
        self.sizes, self.critics = sizes, tuple(critics)
        self.estimates = {size: np.zeros((len(critics), sizes.count(size), parameters)) for size in sizes.pairs}
        self.blocks = np.zeros((len(critics), sizes.blocks, parameters))
        self._added = 0  # chunks

    def add(self, gradients: np.ndarray) -> None:
        """Take in the mean gradients of the next chunk, float [critics, P]."""
        largest = self.sizes.pairs[-1]
        self.blocks[:, self._added * CHUNK // largest] += gradients * (CHUNK / largest)
        for size, means in self.estimates.items():
            place = self.sizes.place(size, self._added)
            if place is not None:
                means[:, place] += gradients * (CHUNK / size)
        self._added += 1

    def products(self) -> dict[str, np.ndarray]:
        """The arrays of grams.npz by name: n is the number of estimates of a size, B that of blocks.

        - `V/blocks`, float64 [B, B]: of the mean gradients of the blocks with each other; V names a value function
        - `V/SIZE`, float64 [n, n], and `V/SIZE/blocks`, float64 [n, B]: of the estimates of a size with each other and
          with the blocks
        - `V/SIZE/block`, int [n]: the block that each estimate is part of
        """
        found = {}
        for critic, blocks in zip(self.critics, self.blocks, strict=True):
            found[f"{critic}/blocks"] = blocks @ blocks.T
        for size, of_critics in self.estimates.items():
            block = np.repeat(np.arange(self.sizes.blocks), self.sizes.per_block(size))
            for critic, means, blocks in zip(self.critics, of_critics, self.blocks, strict=True):
                name = f"{critic}/{size}"
                found |= {name: means @ means.T, f"{name}/blocks": means @ blocks.T, f"{name}/block": block}
        return found


class Stream:
    """Draws steps with a frozen policy's sampled actions, in rollouts of CHUNK pairs; episodes go on over rollouts.

    scale_rewards: raw rewards to those that the algorithms see. longest: steps after which an episode is cut on a task
    without a time limit. Iterating yields `chunks` rollouts [T, N] without values. `steps`, `episodes` and `returns`
    (the sum over episodes of their raw returns) count what was drawn until then.

    Each environment begins at another time of its first episode, at equal distances over the longest possible one. So
    a chunk has early and late steps, also where every episode is of the same length. Raises StoppedByTask.
    """

    def __init__(
        self,
        task: Task,
        policy: Policy,
        normalizer: RunningNormalizer,
        scale_rewards: Callable[[np.ndarray], np.ndarray],
        chunks: int,
        seed: np.random.SeedSequence,
        *,
        num_envs: int,
        longest: int = LONGEST_EPISODE,
        on_wait: OnWait = lambda steps, episodes: None,
    ) -> None:
        self.policy, self.normalizer, self.chunks = policy, normalizer, chunks
        self._task, self._scale, self._seed, self._longest, self._wait = task, scale_rewards, seed, longest, on_wait
        self._together = max(n for n in range(1, min(num_envs, CHUNK) + 1) if CHUNK % n == 0)
        self.steps, self.episodes, self.returns = 0, 0, 0.0

    def __iter__(self) -> Iterator[Rollout]:
        """As the class says."""
        environments, acting = self._seed.spawn(2)
        rng = np.random.default_rng(acting)
        with closing(VectorEnv(self._task, self._together, environments)) as envs:
            envs.limit_episodes(self._longest)
            self._spread(envs, rng)
            for _ in range(self.chunks):
                rollout = collect(
                    envs, self.policy, self.normalizer, rng, steps=CHUNK // self._together, on_wait=self._wait
                )
                rollout.rewards = self._scale(rollout.rewards)
                self._count(envs)
                yield rollout

    def _spread(self, envs: VectorEnv, rng: np.random.Generator) -> None:
        """Let each environment take some first steps, of which nothing is kept."""
        longest = envs.longest or envs.backend.time_limit or 0
        first = np.arange(self._together) * min(longest, self._longest) // self._together
        for step in range(first.max()):
            actions = self.policy.act(self.normalizer(envs.observations), rng, envs.action_masks)
            envs.step(self.policy.to_environment(actions), step < first)

    def _count(self, envs: VectorEnv) -> None:
        """Count the episodes, and forget them: a list of them would grow with the stream."""
        self.steps = envs.steps
        self.episodes += len(envs.episodes)
        self.returns += sum(episode.return_ for episode in envs.episodes)
        for finished in (envs.episodes, envs.episode_envs, envs.episode_costs, envs.episode_true_returns):
            finished.clear()


@dataclass
class Predicted:
    """What the value functions say along a part of the stream, [T, N] of T steps of N environments each."""

    rollout: Rollout
    values: dict[str, np.ndarray]  # by value function
    targets: dict[str, np.ndarray]  # what the algorithm would fit them to: Ψ_t + V(s_t)


def measure_stream(
    stream: Stream,
    algorithm: PolicyGradient,
    critics: Critics,
    sizes: Sizes,
    judged_pairs: int,
    *,
    gamma: float,
    known: int,
) -> tuple[dict[str, np.ndarray], list[Predicted]]:
    """Estimate gradients on a stream with each of the critics.

    gamma, known: the discount of returns, and the steps after which they count as known. Returns the arrays of
    `Means.products`, and what the value functions say along the first `judged_pairs` pairs.
    """
    means = Means(sizes, critics, stream.policy.parameter_vector.numel())
    predicted = []
    for number, (rollout, returns) in enumerate(with_returns(stream, gamma, known)):
        observations = stream.normalizer(rollout.of_steps(rollout.observations))
        values = {
            name: values_along(rollout, observations, stream.normalizer, critic) for name, critic in critics.items()
        }
        without = {name: returns for name, critic in critics.items() if critic is None}
        gradients, targets = gradients_of(stream.policy, algorithm, rollout, observations, values, without)
        means.add(gradients)
        if number * CHUNK < judged_pairs:
            judged = [name for name, critic in critics.items() if critic is not None]
            kept = replace(rollout, **dict.fromkeys(("observations", "actions", "next_observations", "action_masks")))
            predicted.append(
                Predicted(kept, {name: values[name][0] for name in judged}, {name: targets[name] for name in judged})
            )
    return means.products(), predicted


def with_returns(rollouts: Iterable[Rollout], gamma: float, known: int) -> Iterator[tuple[Rollout, np.ndarray]]:
    """Each rollout [T, N] of a stream with the discounted returns G_t of its steps, float64 [T, N].

    A return goes on over the next rollouts for `known` steps or more, until its episode or the stream ends.
    """
    held: deque[Rollout] = deque()

    def returns() -> np.ndarray:
        rewards, done = (np.concatenate([getattr(one, name) for one in held]) for name in ("rewards", "done"))
        return backward_sum(rewards, gamma * ~done)[: len(held[0].rewards)]

    for rollout in rollouts:
        held.append(rollout)
        if (len(held) - 1) * len(rollout.rewards) >= known:
            found = returns()
            yield held.popleft(), found
    while held:
        found = returns()
        yield held.popleft(), found


def values_along(
    rollout: Rollout, observations: np.ndarray, normalizer: RunningNormalizer, critic: ValueFunction | None
) -> tuple[np.ndarray, np.ndarray]:
    """V(s_t) and V(s_{t+1}) of a rollout's steps, float64 [T, N] each; `observations` [T · N, D] are normalised.

    A successor is the next state of the rollout, except where an episode or the rollout ends.
    """
    shape = rollout.rewards.shape
    if critic is None:
        return np.zeros(shape), np.zeros(shape)
    values = critic.values(observations).astype(float).reshape(shape)
    next_values = np.roll(values, -1, axis=0)
    apart = rollout.done.copy()
    apart[-1] = True
    next_values[apart] = critic.values(normalizer(rollout.next_observations[apart]))
    return values, next_values


def gradients_of(
    policy: Policy,
    algorithm: PolicyGradient,
    rollout: Rollout,
    observations: np.ndarray,
    values: Mapping[str, tuple[np.ndarray, np.ndarray]],
    advantages: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """−∇L of the algorithm's policy loss at the policy that acted, with the values of each critic.

    Advantages are not normalised; `advantages` [T, N] of a critic take the place of the algorithm's. Returns the
    gradients, float32 [critics, P], and by critic what the algorithm would fit it to, float32 [T, N]. `observations`
    [T · N, D] are normalised; `values` are those of `values_along`.
    """
    masks = () if rollout.action_masks is None else (torch.from_numpy(rollout.of_steps(rollout.action_masks)),)
    actions = torch.from_numpy(rollout.of_steps(rollout.actions))
    log_prob = policy(torch.from_numpy(observations), *masks).log_prob(actions)
    acted, parameters = log_prob.detach(), list(policy.parameters())
    estimator = Estimator("of the algorithm", algorithm, "algorithm")
    gradients, targets = [], {}
    for name, (rollout.values, rollout.next_values) in values.items():
        batch = Batch.of(algorithm, rollout, observations, acted, advantages.get(name))
        found = torch.autograd.grad(log_prob, parameters, estimator.weights(batch), retain_graph=True)
        gradients.append(torch.cat([part.flatten() for part in found]).numpy())
        targets[name] = batch.value_targets.numpy().reshape(rollout.rewards.shape)
    return np.stack(gradients), targets


# ------------------------------------------------------------------------------------ value functions


def known_steps(gamma: float, longest: int) -> int:
    """h: the steps after which a cut return counts as known.

    Rewards after h steps have a weight below UNKNOWN_SHARE. h is half of the longest episode at most, so that steps
    are left whose return is known for so long.
    """
    needed = math.ceil(math.log(UNKNOWN_SHARE) / math.log(gamma)) if 0 < gamma < 1 else math.inf if gamma else 1
    return int(min(needed, max(longest // 2, 1)))


def with_known_returns(episodes: Episodes, gamma: float, known: int) -> Episodes:
    """The episodes without the steps whose return is not known, with the returns G_t of the other steps unchanged.

    A time limit cuts returns. So the last `known` steps of a cut episode are left out, and their return is added to the
    reward of the step before them. An episode without other steps is left out.
    """
    returns, steps = returns_of(episodes, gamma), episodes.steps
    rewards = steps.rewards.copy()
    kept, lengths = np.ones(len(rewards), bool), []
    for begin, end in zip(episodes.starts[:-1], episodes.starts[1:], strict=True):
        last = end if steps.terminated[end - 1] else max(end - known, begin)
        kept[last:end] = False
        if begin < last < end:
            rewards[last - 1] += gamma * returns[last]
        if last > begin:
            lengths.append(last - begin)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
    ends = np.zeros(int(kept.sum()), bool)
    ends[starts[1:] - 1] = True
    terminated = steps.terminated[kept]
    rollout = replace(
        steps,
        **{name: getattr(steps, name)[kept] for name in ("observations", "actions", "next_observations", "valid")},
        rewards=rewards[kept],
        terminated=terminated,
        truncated=ends & ~terminated,
        action_masks=None if steps.action_masks is None else steps.action_masks[kept],
    )
    return replace(
        episodes,
        steps=rollout,
        starts=starts,
        observations=episodes.observations[kept],
        next_observations=episodes.next_observations[kept],
        log_probs=episodes.log_probs[torch.from_numpy(kept)],
    )


def joined(drawn: list[Episodes]) -> Episodes:
    """Episodes that were drawn one lot after another, as one; their mean return is that of all of them."""
    steps = [episodes.steps for episodes in drawn]
    names = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations", "valid")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(lot, name) for lot in steps]) for name in names}
    masked = steps[0].action_masks is not None
    arrays["action_masks"] = np.concatenate([lot.action_masks for lot in steps]) if masked else None
    ends = np.cumsum([episodes.starts[-1] for episodes in drawn])
    begins = [episodes.starts[:-1] + end - episodes.starts[-1] for episodes, end in zip(drawn, ends, strict=True)]
    return Episodes(
        Rollout(**arrays),
        np.concatenate([*begins, ends[-1:]]),
        np.concatenate([episodes.observations for episodes in drawn]),
        np.concatenate([episodes.next_observations for episodes in drawn]),
        torch.cat([episodes.log_probs for episodes in drawn]),
        float(np.average([e.mean_return for e in drawn], weights=[len(e) for e in drawn])),
    )


def judge(predicted: list[Predicted], gamma: float, known: int) -> list[dict[str, Any]]:
    """How well each value function predicts what the algorithm fits it to ("gae"), and the true returns ("returns").

    A return is discounted, of the rewards that the algorithms see. It counts where its episode terminates within the
    stream, or goes on for `known` further steps. `relative_error` is mean |V − target| / mean |target|.
    """

    def stream(name: str) -> np.ndarray:
        return np.concatenate([getattr(part.rollout, name) for part in predicted])

    whole = replace(
        predicted[0].rollout,
        **{name: stream(name) for name in ("rewards", "terminated", "truncated", "valid")},
    )
    going_on = (~whole.done).astype(float)
    further = backward_sum(np.ones(whole.rewards.shape), going_on)
    terminates = backward_sum(whole.terminated.astype(float), going_on) > 0
    everywhere, returns = np.ones(whole.rewards.shape, bool), discounted_returns(whole, gamma)
    entries = []
    for name in predicted[0].values:
        values = np.concatenate([part.values[name] for part in predicted])
        targets = np.concatenate([part.targets[name] for part in predicted]).astype(float)
        of_target = {"gae": (targets, everywhere), "returns": (returns, terminates | (further > known))}
        for against in VALUE_TARGETS:
            target, where = of_target[against]
            entries.append({"value_function": name, "against": against} | prediction(values[where], target[where]))
    return entries


def prediction(values: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Numbers that say how well `values` [M] predict `targets` [M]; None where they do not exist."""
    if not len(targets):
        return dict.fromkeys(("explained_variance", "relative_error", "rmse", "std")) | {"steps": 0}
    errors, size = targets - values, float(np.abs(targets).mean())
    varies = np.ptp(targets) > 0  # not var() > 0, because rounding may give equal numbers a small variance
    return {
        "explained_variance": float(1 - errors.var() / targets.var()) if varies else None,
        "relative_error": float(np.abs(errors).mean()) / size if size > 0 else None,
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "std": float(targets.std()),
        "steps": len(targets),
    }
