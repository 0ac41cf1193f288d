"""The on-policy learner: a policy and its critics, updated on one rollout at a time."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor
from torch.distributions import Distribution

from .acting import Actor, NoisyActor
from .algorithm import InvalidAlgorithm, where
from .batch import VALUE, Batch, minibatches, sum_over_parts
from .compiled import STEPS_THAT_REPAY_COMPILING, check_compile
from .divergence import approximate_kl, outputs_of
from .fused import Loss, LossFunction, Module, Trainable
from .hook_checks import RECORDED, checked_diagnostics, checked_loss, checked_scalar
from .hooks import POLICY, CriticKind, Hooks, Networks, next_algorithm
from .learner_state import LEARNED, STATISTICS, check_code, checked_parts
from .minibatches import check_minibatches, doubt_about_minibatches
from .mlp import ChoicesFunction, ValueFunction
from .normalizer import RunningNormalizer
from .optimizer import Optimizer
from .policies import Policy
from .reward_scaler import RewardScaler
from .rollout import Acts, Rollout
from .spaces import action_parts
from .task import Snapshot, Task

VALUE_FUNCTION = "value_function"  # the name of the critic "value" in a checkpoint


class Pass(NamedTuple):
    """How often a network learns from every step of a rollout, and from how many steps at a time."""

    epochs: int
    minibatch_size: int | None  # None: the whole rollout


class Learner:
    """The networks, statistics and optimisers of one run.

    - `observation_size`, `action_space`: of the environments of `task`
    - `initialisation`, `minibatches`: seeds of the initial parameters, and of minibatches and the noise of gradients
    - `steps`: the run's budget in environment steps
    - `compile`: "always", "never", or "auto" (only where a run is long enough to save time by it). Functions that
      cannot be compiled run operation by operation, with a warning that gives the reason.
    - `runs`: how many runs of this length will share the compiled code, such as the seeds of an algorithm on a task, or
      the trials of a study

    Raises InvalidAlgorithm where the algorithm declares its critics wrongly, UnsupportedTask where it cannot act in the
    task's actions, InvalidSetting where advantages would be normalised over a single step, and ValueError for another
    `compile`. Warns where a minibatch is larger than the rollout.
    """

    trainable = Trainable  # what the networks are while they learn

    def __init__(
        self,
        algorithm: Hooks,
        task: Task,
        observation_size: int,
        action_space: Space[Any],
        *,
        initialisation: np.random.SeedSequence,
        minibatches: np.random.SeedSequence,
        steps: int = 0,
        compile: str = "never",
        runs: int = 5,
    ) -> None:
        check_compile(compile)
        check_minibatches(algorithm)
        if (doubt := doubt_about_minibatches(algorithm)) is not None:
            warnings.warn(doubt, stacklevel=2)
        self.algorithm, self.task = algorithm, task
        a = algorithm
        generator = torch.Generator().manual_seed(int(initialisation.generate_state(1)[0]))
        architecture = a.hidden_sizes, a.activation
        self.rng = np.random.default_rng(minibatches)
        self.policy = Policy(
            observation_size, action_space, task.action_bounds, generator, *architecture, a.policy_gain
        )
        self._actor: Actor = self.policy
        self.critics: dict[str, ValueFunction | ChoicesFunction] = {}
        for name, kind in a.critic_kinds().items():
            actions = _actions_of(a, name, action_space)
            if kind == "choices" and (parts := self.policy.parts):
                self.critics[name] = ChoicesFunction(observation_size, generator, *architecture, parts=parts)
            else:
                self.critics[name] = ValueFunction(observation_size, generator, *architecture, actions=actions)
        a.check_actions(task, action_space)
        # Whether the loss has more terms than the policy loss; otherwise the entropy needs no gradient.
        self._regularized = a.entropy_coefficient != 0 or a.overrides("regularizer", "after_update")
        self.normalizer = RunningNormalizer(observation_size)
        self.reward_scaler = RewardScaler(a.num_envs)
        self.networks = {POLICY: self.trainable(POLICY, self.policy, self._policy_loss)}
        for name, critic in self.critics.items():
            self.networks[key_of(name)] = self.trainable(name, critic, self._critic_loss_of(name))
        critics = [key_of(name) for name in self.critics]
        apart = _steps_apart(a)
        self.passes = {
            "policy": Pass(a.epochs, a.minibatch_size),
            "critics": Pass(a.value_epochs or a.epochs, a.value_minibatch_size or a.minibatch_size),
        }
        if not critics:
            del self.passes["critics"]
            members = {"policy": [POLICY]}
        elif self.passes["critics"] == self.passes["policy"] and a.target_kl is None and not apart:
            self.passes = {"policy and critics": self.passes["policy"]}
            members = {"policy and critics": [POLICY, *critics]}
        else:
            members = {"policy": [POLICY], "critics": critics}
        noise = torch.Generator().manual_seed(int(minibatches.spawn(1)[0].generate_state(1)[0]))
        self.optimizers = {
            name: Optimizer([self.networks[key] for key in keys], a, noise) for name, keys in members.items()
        }
        self._compile, self._steps_of_runs = compile, steps * runs
        self._noise = noise
        self._expects_code: list[bool] | None = None  # after `restore`: which optimizers are to have machine code
        self._needs_old_policy = a.overrides("regularizer", "gradients", "step")

    @property
    def value_function(self) -> ValueFunction | None:
        """V(s), the critic with the name "value"; None where the algorithm has no such critic."""
        critic = self.critics.get(VALUE)
        return critic if isinstance(critic, ValueFunction) else None

    @property
    def compiled(self) -> bool:
        """Whether gradient steps run as machine code."""
        return any(optimizer.fused is not None and optimizer.fused.compiled for optimizer in self.optimizers.values())

    @property
    def compiling_seconds(self) -> float:
        """The seconds spent until now on compiling, or on loading code that was compiled before."""
        return sum(optimizer.fused.seconds for optimizer in self.optimizers.values() if optimizer.fused is not None)

    @property
    def behaviour(self) -> Acts:
        """What acts in a rollout: the policy that learns from it, or this policy with noise that it does not know."""
        noise = self.algorithm.exploration_noise
        return NoisyActor(self._actor, noise) if noise > 0 else self._actor

    @property
    def adapts(self) -> bool:
        """Whether the algorithm has an `after_update` of its own."""
        return self.algorithm.overrides("after_update")

    def adapt(self, record: Mapping[str, float]) -> None:
        """Replace the algorithm by the one that its `after_update` returns for the scalars of an update.

        Raises InvalidAlgorithm where the new algorithm may not replace the present one.
        """
        self.algorithm = next_algorithm(self.algorithm, record)
        for optimizer in self.optimizers.values():
            optimizer.use(self.algorithm)

    def _choose_path(self, batch: Batch) -> None:
        """Let gradient steps be compiled where that is wanted, and where it saves time in the runs that share the code.

        Their number is estimated from the first batch.
        """
        a = self.algorithm
        for name, optimizer in self.optimizers.items():
            epochs, minibatch_size = self.passes[name]
            gradient_steps = epochs * self._steps_of_runs / min(minibatch_size or len(batch), len(batch))
            repays = gradient_steps >= STEPS_THAT_REPAY_COMPILING
            if self._compile == "always" or (self._compile == "auto" and repays):
                whole = math.inf if a.whole_episodes else a.num_envs * a.rollout_length
                size = min(minibatch_size or math.inf, whole)
                optimizer.fuse(None if size == math.inf else int(size))
        self._compile = "never"

    def prepare(self, rollout: Rollout, *, diagnosed: bool = True) -> Batch:
        """Scale the rollout's rewards, add the critics' values, and return its valid steps with their Ψ_t as a batch.

        The rollout is changed in place. Ψ_t and the log-probabilities are those of the parameters before the update.
        `diagnosed`: whether `diagnose` will be called; otherwise log-probabilities that no loss reads are left out.
        """
        if self.task.reward_scale != 1:
            rollout.rewards = rollout.rewards * self.task.reward_scale
            if rollout.part_rewards is not None:
                rollout.part_rewards = rollout.part_rewards * self.task.reward_scale
        if self.task.normalize_rewards:
            self.reward_scaler.update(rollout)
            rollout.rewards = self.reward_scaler(rollout.rewards)
            if rollout.part_rewards is not None:
                rollout.part_rewards = self.reward_scaler(rollout.part_rewards)
        observations = self.normalizer(rollout.of_steps(rollout.observations))
        self._add_values(rollout, observations)
        batch = Batch.of(self.algorithm, rollout, observations, log_probs=torch.empty(0))
        fused = [optimizer.fused for optimizer in self.optimizers.values()]
        read = any(update is None or update.reads("log_probs") for update in fused)
        if read or diagnosed or self.algorithm.target_kl is not None or self._needs_old_policy:
            with torch.no_grad():
                acted = self._acted(batch)
                batch.log_probs = acted.log_prob(batch.actions)
                if self._needs_old_policy:
                    batch.policy_outputs = torch.cat(outputs_of(acted), dim=-1)
        else:
            batch.log_probs = torch.zeros(batch.actions.shape if rollout.parts else (len(batch),))
        return batch

    def _add_values(self, rollout: Rollout, observations: np.ndarray) -> None:
        """Add the critics' values of states and successors; `observations` [B, D] are those of the states, normalised.

        A successor is the next state, whose value is known, except where an episode or the rollout ends.
        """
        rollout.values, rollout.next_values = np.zeros(rollout.valid.shape), np.zeros(rollout.valid.shape)
        if not self.critics:
            return
        goes_on = rollout.valid & ~rollout.done  # to a state that is the next row of the rollout
        goes_on[-1] = False
        apart = rollout.valid & ~rollout.terminated & ~goes_on  # a terminal state has the value 0: it has no future
        successors = self.normalizer(rollout.next_observations[apart])
        states = np.concatenate([observations, successors]) if len(successors) else observations

        def filled_in(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """[T, N, …] of what was found at `states`: at each step's state, and at its successor."""
            of_states, of_successors = found[: len(observations)], found[len(observations) :]
            values = rollout.from_steps(of_states)
            next_values = np.zeros_like(values)
            next_values[:-1][goes_on[:-1]] = values[1:][goes_on[:-1]]
            next_values[apart] = of_successors
            return values, next_values

        if {"actions", "choices"} & set(self.algorithm.critic_kinds().values()):
            masks, last = rollout.action_masks, rollout.last_masks
            if masks is None and last is not None:  # the first mask came with the last step
                masks = np.ones((*rollout.valid.shape, last.shape[1]), bool)
            if masks is not None:
                after = np.ones_like(masks)  # where an episode was cut there is no mask
                if last is not None:
                    after[-1] = last | rollout.done[-1][:, None]
                masks = np.concatenate([rollout.of_steps(masks), after[apart]])
            probabilities = filled_in(self.policy.probabilities(states, masks))
            rollout.probabilities, rollout.next_probabilities = probabilities
        for name, critic in self.critics.items():
            if isinstance(critic, ChoicesFunction):
                found = critic.values(observations, rollout.of_steps(rollout.actions))
                rollout.critic_values[name] = rollout.from_steps(found)
                continue
            values, next_values = filled_in(critic.values(states))
            if name == VALUE:
                rollout.values, rollout.next_values = values, next_values
            else:
                rollout.critic_values[name], rollout.critic_next_values[name] = values, next_values

    def update(self, batch: Batch, progress: float) -> dict[str, float]:
        """Learn from a batch.

        `progress`, in [0, 1], is the share of the step budget that was used before the batch was collected. Returns
        means over the gradient steps, by name. If one of them is not finite, the run has diverged.
        """
        a = self.algorithm
        if self._compile != "never":
            self._choose_path(batch)
        rate = 1 - progress if a.anneal_learning_rate else 1.0
        for network in self.networks.values():
            of_network = a.policy_learning_rate if network.name == POLICY else a.value_learning_rate
            network.learning_rate.fill_(rate * of_network)
        result: dict[str, float] = {}
        for name, optimizer in self.optimizers.items():
            epochs, minibatch_size = self.passes[name]
            stops_early = name == "policy" and a.target_kl is not None
            records: list[np.ndarray] = []
            for together in [1] * epochs if stops_early else [epochs]:
                order, starts = minibatches(len(batch), minibatch_size, together, self.rng)
                records.append(optimizer.learn(batch, order, starts))
                if a.target_kl is not None and len(records) < epochs and stops_early and self.kl(batch) > a.target_kl:
                    break
            steps = records[0] if len(records) == 1 else np.concatenate(records)
            means = (steps[0] if len(steps) == 1 else steps.mean(axis=0)).tolist()
            result |= dict(zip(optimizer.recorded, means, strict=True))
        if self._expects_code is not None:
            self._check_code(self._expects_code)
        result["learning_rate"] = rate * a.policy_learning_rate
        return result

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """Measure on a batch, after the update from it, what the update changed.

        Returns by name the estimated KL divergence, mean and standard deviation of Ψ_t before normalisation, the
        algorithm's own diagnostics, and the explained variance of V(s) where there is one.
        """
        log_prob = self._log_probs(batch)
        targets, errors = batch.value_targets.numpy(), (batch.value_targets - batch.values).numpy()
        result = {
            "approx_kl": approximate_kl(log_prob, batch),
            "advantage_mean": float(batch.advantages.mean()),
            "advantage_std": float(batch.advantages.std(correction=0)),
        }
        taken = {*RECORDED, *result, *(name for optimizer in self.optimizers.values() for name in optimizer.recorded)}
        result |= checked_diagnostics(self.algorithm.diagnostics(log_prob, batch), self.algorithm, taken)
        if self.value_function is not None and targets.var() > 0:
            result["explained_variance"] = float(1 - errors.var() / targets.var())
        return result

    def kl(self, batch: Batch) -> float:
        """The KL divergence KL(π_old ‖ π) in nats, estimated on the batch; π_old is the policy that acted."""
        return approximate_kl(self._log_probs(batch), batch)

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""
        return all(math.isfinite(float(network.vector.sum())) for network in self.networks.values())

    def observe(self, rollout: Rollout) -> None:
        """Add a rollout to the observation statistics; to be called after the update from this rollout, not before."""
        if self.task.normalize_observations:
            self.normalizer.update(rollout.of_steps(rollout.observations))

    def state(self) -> dict[str, np.ndarray]:
        """All that acting and evaluating needs, as arrays by name: parameters of policy and critics, and statistics."""
        parts = {name: network.state() for name, network in self.networks.items()}
        parts["observation_statistics"] = self.normalizer.state()
        parts["reward_statistics"] = self.reward_scaler.statistics.state()
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace policy, critics and statistics by the arrays of `state`, which the method `state` returned.

        Raises InvalidCheckpoint, with a sentence, where the arrays are of other networks or not finite.
        """
        parts = checked_parts(state, self.state())
        for name, network in self.networks.items():
            network.load(parts[name])
        self.normalizer.load(parts["observation_statistics"])
        self.reward_scaler.statistics.load(parts["reward_statistics"])

    def snapshot(self) -> Snapshot:
        """All that later updates depend on; more than `state`, by which the learner only acts and evaluates."""
        tensors = {
            name: dict(zip(LEARNED, (x.numpy().copy() for x in network.tensors()), strict=False))
            for name, network in self.networks.items()
        }
        return {
            "networks": tensors,
            "observation_statistics": self.normalizer.state(),
            "reward_scaler": self.reward_scaler.snapshot(),
            "minibatches": self.rng.bit_generator.state,
            "noise": self._noise.get_state().numpy().copy(),
            "numbers": {
                f.name: x
                for f in dataclasses.fields(self.algorithm)
                if type(x := getattr(self.algorithm, f.name)) is float
            },
            "path_is_chosen": self._compile == "never",
            "sizes": [None if o.fused is None else [o.fused.size] for o in self.optimizers.values()],
            "have_code": self._have_code(),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on as the learner whose `snapshot` this is; this one was made with the same arguments.

        The first update raises CannotResume where machine code cannot be had that the other learner had.
        """
        with torch.no_grad():
            for name, network in self.networks.items():
                for of, tensor in zip(LEARNED, network.tensors(), strict=False):
                    tensor.copy_(torch.from_numpy(snapshot["networks"][name][of]))
        self.normalizer.load(snapshot["observation_statistics"])
        self.reward_scaler.restore(snapshot["reward_scaler"])
        self.rng.bit_generator.state = snapshot["minibatches"]
        self._noise.set_state(torch.from_numpy(snapshot["noise"]))
        self.algorithm = self.algorithm.changed(**snapshot["numbers"])
        for optimizer, size in zip(self.optimizers.values(), snapshot["sizes"], strict=True):
            optimizer.use(self.algorithm)
            if size is not None:
                optimizer.fuse(*size)
        if snapshot["path_is_chosen"]:
            self._compile, self._expects_code = "never", snapshot["have_code"]

    def _have_code(self) -> list[bool]:
        """Whether the gradient steps of each optimizer run as machine code."""
        return [o.fused is not None and o.fused.compiled for o in self.optimizers.values()]

    def _check_code(self, expected: list[bool]) -> None:
        """As `check_code`, once."""
        self._expects_code = None
        check_code(expected, self._have_code())

    def _acted(self, batch: Batch) -> Distribution:
        """The policy that acted at the batch's steps, without a gradient; to be asked for before the update."""
        return self._distribution(batch)

    def _distribution(self, batch: Batch) -> Distribution:
        """The current policy at the batch's steps, without a gradient for its networks."""
        return self.policy.distribution(batch.observations.numpy(), batch.action_masks)

    @torch.no_grad()
    def _log_probs(self, batch: Batch) -> Tensor:
        """log π of the batch's actions under the current policy, [B] or [B, K]."""
        log_probs: Tensor = self._distribution(batch).log_prob(batch.actions)
        return log_probs

    def _policy_loss(self, a: Hooks, policy: Module, batch: Batch) -> Loss:
        """The loss of the policy on a batch: the algorithm's `policy_loss` plus its `regularizer`."""
        if a.normalize_advantages:
            batch = batch.with_normalized_advantages()
        distribution = policy(batch.observations, batch.action_masks)

        def policy_loss(log_prob: Tensor, batch: Batch) -> Tensor:
            return checked_loss(a.policy_loss(log_prob, batch), a, "policy_loss", "log_prob", log_prob)

        loss = sum_over_parts(policy_loss, distribution.log_prob(batch.actions), batch)
        entropies = distribution.entropy()
        distribution.entropy = lambda: entropies  # computed once, although a regularizer may ask for it, too
        record = {"policy_loss": loss, "entropy": entropies.mean()}
        if self._regularized:
            loss = loss + checked_scalar(a.regularizer(distribution, batch), a, "regularizer")
        return loss, record, distribution

    def _critic_loss_of(self, critic: str) -> LossFunction:
        """The loss function of a critic: the algorithm's `value_loss` for V(s), its `critic_loss` for any other."""

        def loss(a: Hooks, module: Module, batch: Batch) -> Loss:
            values = module(*(getattr(batch, name) for name in self.critics[critic].inputs))
            method = "value_loss" if critic == VALUE else "critic_loss"
            found = a.value_loss(values, batch) if critic == VALUE else a.critic_loss(critic, values, batch)
            return checked_loss(found, a, method, "values", values), {f"{critic}_loss": found}, values

        return loss


def key_of(critic: str) -> str:
    """The name of a critic among the networks and in a checkpoint."""
    return VALUE_FUNCTION if critic == VALUE else critic


def _steps_apart(algorithm: Hooks) -> bool:
    """Whether the policy's gradient steps are the algorithm's own and the critics' are not, or the other way round.

    Raises InvalidAlgorithm where `own_steps` is something else than which networks.
    """
    if algorithm.own_steps not in (valid := get_args(Networks)):
        raise InvalidAlgorithm(
            f"{where(algorithm)}: own_steps is {algorithm.own_steps!r}; valid are {', '.join(map(repr, valid))}"
        )
    return algorithm.own_steps != "all" and algorithm.overrides("gradients", "step")


def _actions_of(algorithm: Hooks, critic: str, action_space: Space[Any]) -> int | None:
    """The number of actions or parts for which a critic gives a value; None for a critic that gives a single one.

    Raises InvalidAlgorithm where the critic's name or kind is not valid.
    """
    kind = algorithm.critic_kinds()[critic]
    said = f"{where(algorithm)}: critics has {critic!r}"
    if critic in (POLICY, VALUE_FUNCTION, *STATISTICS) or not critic.isidentifier():
        taken = ", ".join((POLICY, VALUE_FUNCTION, *STATISTICS))
        raise InvalidAlgorithm(
            f"{said}; a critic needs another name, of letters, digits and _, that is not one of {taken}"
        )
    if kind not in get_args(CriticKind) or (critic == VALUE and kind != "state"):
        valid = "'state'" if critic == VALUE else " or ".join(map(repr, get_args(CriticKind)))
        raise InvalidAlgorithm(f"{said} of the kind {kind!r}; valid is {valid}")
    if kind == "parts":
        parts = action_parts(action_space)
        return len(parts) if parts else None
    return int(action_space.n) if kind in ("actions", "choices") and isinstance(action_space, Discrete) else None
