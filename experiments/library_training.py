"""Trains another library's algorithm on our environments, and evaluates it as our own are evaluated."""

import inspect
import math
import re
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from policy_gradient_ladder.core.algorithm import InvalidAlgorithm, InvalidSetting, OnUpdate, OnWait
from policy_gradient_ladder.core.evaluation import check_evaluations, evaluate, finish_open_episodes
from policy_gradient_ladder.core.normalizer import RunningNormalizer
from policy_gradient_ladder.core.rollout import Regularly
from policy_gradient_ladder.core.run import EVALUATIONS, LONGEST_EPISODE, RECORDED_ROWS, Run
from policy_gradient_ladder.core.spaces import action_parts
from policy_gradient_ladder.core.task import StoppedByTask, Task, UnsupportedTask
from policy_gradient_ladder.core.training import Seeds, use_one_thread
from policy_gradient_ladder.core.vector_env import VectorEnv

NOT_LOGGED = ("time/",)  # how long something took, which no two runs share


class BudgetUsed(Exception):
    """Ends a training whose next step would be beyond the budget."""


class Diverged(Exception):
    """Ends a training whose parameters are not finite any more."""


def train(
    algorithm: Any,
    task: Task,
    seed: int,
    steps: int,
    *,
    evaluations: Sequence[str] = EVALUATIONS,
    on_update: OnUpdate = lambda steps, episodes: None,
    on_wait: OnWait = lambda what, steps, episodes: None,
) -> Run:
    """Train for exactly `steps` steps, or up to one more for each further environment, then evaluate.

    The library collects and learns as it does by itself; steps of a rollout that the budget cuts are not learned from.
    An *update* is a call of the model's `train`. Rows of the update table have what the library logs, by its names.
    """
    check_evaluations(evaluations)
    use_one_thread()
    seeds = Seeds.of(seed)
    longest = min(steps, LONGEST_EPISODE)
    with closing(VectorEnv(task.in_training, algorithm.num_envs, seeds.environments)) as envs:
        adapted = LibraryEnvs(envs, steps, partial(on_wait, "training"))
        model, policy = make_model(algorithm, adapted, task, int(seeds.initialisation.generate_state(1)[0]))
        run = _learn(algorithm, model, adapted, steps, on_update)
        learner: Any = _Evaluated(policy, RunningNormalizer(envs.observation_size))
        began = time.perf_counter()
        if run.diverged_at is None:
            try:
                rng = np.random.default_rng(seeds.acting)
                run.open_episodes, further = finish_open_episodes(envs, learner, rng, longest, on_wait)
                run.true_returns += further
            except StoppedByTask as at:
                run.stop(at)
    if run.diverged_at is None:
        try:
            run.evaluation = evaluate(
                *(learner, task, seeds.evaluation, evaluations),
                num_envs=algorithm.num_envs,
                longest=longest,
                on_wait=on_wait,
            )
        except StoppedByTask as at:
            run.stop(at)
        run.seconds["evaluating"] = time.perf_counter() - began
    return run


def check(algorithm: Any, task: Task) -> None:
    """Raise InvalidSetting where the library refuses the settings or the task's spaces."""
    with closing(VectorEnv(task.in_training, algorithm.num_envs, np.random.SeedSequence(0))) as envs:
        make_model(algorithm, LibraryEnvs(envs, 0), task, 0)


def make_model(algorithm: Any, envs: "LibraryEnvs", task: Task, seed: int) -> "tuple[Any, LibraryPolicy]":
    """The library's model on the environments, normalised where the task is, and its policy as ours.

    Raises InvalidSetting where the constructor refuses the settings or the spaces.
    """
    normalised = None
    if task.normalize_observations or task.normalize_rewards:
        normalised = VecNormalize(envs, norm_obs=task.normalize_observations, norm_reward=task.normalize_rewards)
    arguments = algorithm.arguments()
    parameters = inspect.signature(algorithm.library_class.__init__).parameters
    if "device" in parameters:
        arguments["device"] = "cpu"
    name = f"{algorithm.title} on task {task.label!r}"
    try:
        model = algorithm.library_class(algorithm.policy_argument(), normalised or envs, seed=seed, **arguments)
    except InvalidSetting:
        raise
    except Exception as error:  # a library refuses by whatever exception, often an AssertionError
        what = " ".join(str(error).split()) or type(error).__name__
        several = isinstance(envs.action_space, MultiDiscrete)
        hint = "; where it needs a Discrete, joint_actions: true of the task makes its actions one" if several else ""
        raise InvalidSetting(f"{name} cannot be made with these settings and spaces: {what}{hint}") from error
    policy = LibraryPolicy(model, envs, normalised)
    if envs.envs.action_masks is not None and not policy.takes_masks:
        raise InvalidSetting(
            f"{name}: the task masks actions, and this class knows no masks; sb3_contrib's MaskablePPO does"
        )
    return model, policy


def _learn(algorithm: Any, model: Any, envs: "LibraryEnvs", steps: int, on_update: OnUpdate) -> Run:
    """Let the library train; returns the run until its last step."""
    table = LoggedTable(envs.envs, steps)
    run = Run(envs.envs.episodes, table.rows, [], None, 0, 0)
    if callable(getattr(model, "set_logger", None)):
        model.set_logger(Logger(None, [table]))
    library_update: Any = getattr(model, "train", None)

    def update(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = library_update(*arguments, **options)
        run.updates_made += 1
        table.updates += 1
        finite = is_finite(model)
        run.seconds["learning"] += time.perf_counter() - began
        if not finite:
            raise Diverged
        on_update(envs.envs.steps, envs.envs.episodes)
        return result

    if callable(library_update):
        model.train = update
    began = time.perf_counter()
    diverged = False
    try:
        model.learn(total_timesteps=steps)
    except BudgetUsed:
        pass
    except Diverged:
        diverged = True
    except StoppedByTask as at:
        run.steps_taken = envs.envs.steps
        run.stop(at)
    except Exception:  # of what a library meets parameters with that are not finite, such as Torch's ValueError
        if is_finite(model):
            raise
        diverged = True
    run.seconds["training"] = time.perf_counter() - began
    run.seconds["stepping"] = envs.stepping_seconds
    run.steps_taken = envs.envs.steps
    run.episodes = envs.envs.episodes.copy()
    run.true_returns = envs.envs.episode_true_returns.copy() if envs.envs.reports_true_rewards else []
    if diverged or (run.diverged_at is None and not is_finite(model)):
        run.diverged_at, run.diverged_because = run.steps_taken, "not finite: parameters"
    elif run.diverged_at is None and run.steps_taken < steps:
        raise InvalidAlgorithm(
            f"{algorithm.path}.learn ended after {run.steps_taken:,} of {steps:,} steps; it must take total_timesteps"
        )
    if callable(getattr(model, "set_logger", None)):
        model.logger.dump(run.steps_taken)
    table.close()
    return run


def is_finite(model: Any) -> bool:
    """Whether every parameter of a model's policy is finite; True where it has no Torch parameters."""
    policy = getattr(model, "policy", None)
    parameters = policy.parameters() if isinstance(policy, torch.nn.Module) else ()
    with torch.no_grad():
        return all(math.isfinite(float(parameter.sum())) for parameter in parameters)


class LibraryEnvs(VecEnv):
    """A VectorEnv as Stable-Baselines3's vector environment: the same steps, episodes and seeds.

    Observations are the flat rows [N, D] that our networks see, in single precision, and actions are flat: Discrete
    begins at 0, and an action with parts is MultiDiscrete with one dimension. An episode that was truncated has
    `TimeLimit.truncated` in its info, and every episode that has ended its true last observation.
    """

    def __init__(self, envs: VectorEnv, budget: int, on_wait: Any = lambda steps, episodes: None) -> None:
        self.envs, self.budget = envs, budget
        self.stepping_seconds = 0.0
        self._call = Regularly(envs, on_wait)
        observations = Box(-np.inf, np.inf, (envs.observation_size,), np.float32)
        super().__init__(envs.num_envs, observations, flat_action_space(envs.action_space))

    def reset(self) -> np.ndarray:
        """The first observations; raises InvalidAlgorithm where steps were taken, since episodes end by themselves."""
        if self.envs.steps:
            raise InvalidAlgorithm(
                "a library's class resets its environments within a training, which is not supported"
            )
        return self.envs.observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all environments. Raises BudgetUsed where the budget is, and StoppedByTask as VectorEnv does."""
        if self.envs.steps >= self.budget:
            raise BudgetUsed
        began = time.perf_counter()
        ended = len(self.envs.episodes)
        transition = self.envs.step(self.to_environment(self.actions))
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        done = transition.terminated | transition.truncated
        if done.any():
            for i, episode in zip(self.envs.episode_envs[ended:], self.envs.episodes[ended:], strict=True):
                infos[i] = {
                    "terminal_observation": transition.next_observations[i],
                    "TimeLimit.truncated": bool(transition.truncated[i] and not transition.terminated[i]),
                    "episode": {"r": episode.return_, "l": episode.length, "t": 0.0},
                }
        now = time.perf_counter()
        self.stepping_seconds += now - began
        self._call(now)
        rewards = transition.rewards * self.envs.task.reward_scale  # as `Learner.prepare`
        return self.envs.observations, rewards.astype(np.float32), done, infos

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """Actions of a library as VectorEnv takes them; those of a Box within its bounds and in its precision."""
        space = self.action_space
        actions = np.asarray(actions).reshape(len(actions), *(space.shape or ()))
        if isinstance(space, Box):
            bounded: np.ndarray = np.clip(actions, space.low, space.high).astype(space.dtype, copy=False)
            return bounded
        return actions.astype(np.int64, copy=False)

    def close(self) -> None:
        """Nothing: whoever made the VectorEnv closes it."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of each environment: there are `render_mode`, which is None, and a task's `action_masks`."""
        if attr_name == "render_mode":
            return [None] * self.num_envs
        if attr_name == "action_masks" and (masks := self.envs.action_masks) is not None:
            return [partial(np.copy, mask) for mask in masks]
        raise AttributeError(f"environments have no attribute {attr_name!r} here")

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not supported, since environments are stepped together."""
        raise AttributeError(f"attribute {attr_name!r} of environments cannot be set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """What the method of each environment returns: there is only a task's `action_masks`."""
        return [method(*method_args, **method_kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No environment is in a wrapper that a library knows."""
        return [False] * self.num_envs


def flat_action_space(space: Space[Any]) -> Box | Discrete | MultiDiscrete | MultiBinary:
    """The space of flat actions that VectorEnv takes, of a kind that Stable-Baselines3 knows."""
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, MultiBinary):
        return MultiBinary(int(np.prod(space.shape)))
    if (parts := action_parts(space)) is not None:
        return MultiDiscrete(list(parts))
    if not isinstance(space, Box):
        raise UnsupportedTask(f"a library's class cannot act in {space}")
    return Box(space.low.ravel(), space.high.ravel(), dtype=space.dtype.type)


class LibraryPolicy:
    """What a model has learned, with the methods that an evaluation uses of a policy of ours.

    "Sampled" actions are those of `predict(deterministic=False)`, the mode those of `deterministic=True`.
    """

    def __init__(self, model: Any, envs: LibraryEnvs, normalised: VecNormalize | None) -> None:
        self.takes_masks = "action_masks" in inspect.signature(model.predict).parameters
        self._model, self._normalised, self._envs = model, normalised, envs
        wrapped = getattr(model, "env", None)  # a class may wrap the environments that it is given
        self._outermost: VecEnv = wrapped if isinstance(wrapped, VecEnv) else envs
        self._state: Any = None
        self._begins = np.ones(envs.num_envs, bool)

    def begin_episodes(self, which: np.ndarray) -> None:
        """Forget, before the next action, what a recurrent policy remembers of the environments `which` (bool [N])."""
        if which.all():
            self._state = None
        self._begins = which

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """Actions as the environment takes them: they pass the class's own wrappers, as they do in training."""
        self._outermost.step_async(actions)
        return self._envs.to_environment(self._envs.actions)

    def act(
        self,
        observations: np.ndarray,
        rng: np.random.Generator,
        action_masks: np.ndarray | None = None,
        *,
        mode: bool = False,
    ) -> np.ndarray:
        """An action for each row of `observations` [N, D]; random ones come from the global generators, not `rng`."""
        seen: Any = observations
        if self._normalised is not None:
            seen = self._normalised.normalize_obs(observations)  # with the statistics of the training
        masks = {"action_masks": action_masks} if self.takes_masks and action_masks is not None else {}
        actions, self._state = self._model.predict(
            seen, state=self._state, episode_start=self._begins, deterministic=mode, **masks
        )
        self._begins = np.zeros(len(observations), bool)
        return np.asarray(actions)


class _Evaluated:
    """A policy and a normaliser that does nothing, as an evaluation takes them of a learner."""

    def __init__(self, policy: LibraryPolicy, normalizer: RunningNormalizer) -> None:
        self.policy, self.normalizer = policy, normalizer


class LoggedTable(KVWriter):
    """The update table of what a library logs: a row per 1/200 of the budget, with means over what was logged in it.

    Names are the library's with _ for what cannot be in a name: `train_loss` is `train/loss`. Times are left out.
    """

    def __init__(self, envs: VectorEnv, budget: int) -> None:
        self.rows: list[dict[str, float]] = []
        self.updates = 0  # since the last row
        self._envs, self._budget = envs, budget
        self._logged: dict[str, list[float]] = {}
        self._closed_at = 0

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Take what the library logs at once."""
        for key, value in key_values.items():
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            name = re.sub(r"\W", "_", key)
            if number and not key.startswith(NOT_LOGGED) and name.isidentifier() and name not in ("step", "updates"):
                self._logged.setdefault(name, []).append(float(value))
        if self._interval(self._envs.steps) > self._interval(self._closed_at):
            self.close()

    def close(self) -> None:
        """End the present row, unless nothing is in it."""
        if self.updates or self._logged:
            means = {name: float(np.mean(values)) for name, values in self._logged.items()}
            self.rows.append({"step": self._envs.steps, "updates": self.updates, **means})
        self._logged, self.updates, self._closed_at = {}, 0, self._envs.steps

    def _interval(self, step: int) -> int:
        return step * RECORDED_ROWS // self._budget
