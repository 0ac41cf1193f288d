"""A policy as a run keeps it: it is loaded, and acts, without Torch."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .acting import Actor, BoundedActor, wide_bounds
from .normalizer import RunningNormalizer
from .policy_file import (
    ABOUT,
    BOUNDED,
    BOUNDED_ACTORS,
    BOUNDS,
    DTYPES,
    FILE,
    NETWORK,
    STATISTICS,
    InvalidPolicy,
    bounds_of,
    choices_of,
    describe,
    in_words,
    member_shape,
    read_policy,
    shapes_of,
    why_no_policy,
)

if TYPE_CHECKING:  # for types alone: all of these take longer to import than to load a policy and act with it
    import gymnasium
    from gymnasium.spaces import Space


def load_policy(path: str | Path) -> "SavedPolicy":
    """The policy of a run's folder, of a file `policy.npz`, or of a checkpoint in a run's folder.

    Nothing in the file is executed, and what it says about sizes is checked before any of its arrays is read. Raises
    InvalidPolicy, with a sentence, where there is no policy or where it is damaged.
    """
    path = Path(path)
    try:
        if path.is_dir():
            if not (path / FILE).is_file():
                raise InvalidPolicy(why_no_policy(path))
            path = path / FILE
        if not path.is_file():
            raise InvalidPolicy(f"{path}: there is no such folder or file; a policy is in the folder of its run")
        return SavedPolicy(*read_policy(path), str(path))
    except (OSError, EOFError, MemoryError, RuntimeError, OverflowError, zipfile.BadZipFile) as error:
        said = str(error) or type(error).__name__
        raise InvalidPolicy(f"{path} is damaged, or no policy: it cannot be read ({said})") from error


class SavedPolicy:
    """A policy that acts and is not trained further.

    about: what the arrays are of, as `policy_file.describe` says it. arrays: by their names in the file. Raises
    InvalidPolicy, with a sentence that begins with `source`, where the two do not fit each other or a number is not
    finite.
    """

    def __init__(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str = "the policy") -> None:
        self._about, self._source = dict(about), source
        shapes = shapes_of(about, source)
        for name, shape in shapes.items():
            if name not in arrays:
                raise InvalidPolicy(f"{source} has no {name!r}, so it is no policy of this project")
            if arrays[name].shape != shape:
                raise InvalidPolicy(f"{source}: {name!r} has the shape {arrays[name].shape}, not {shape} as it says")
            if name not in BOUNDS and not (arrays[name].dtype.kind == "f" and np.isfinite(arrays[name]).all()):
                raise InvalidPolicy(f"{source}: {name!r} does not consist of finite numbers")
        self._arrays = {name: np.array(arrays[name], order="C") for name in shapes}
        made: type[_SavedActor] = _SavedBoundedActor if self._about.get(BOUNDED) else _SavedActor
        self.policy: Actor = made(self._about, self._arrays, source)
        statistics = {name: self._arrays[f"{STATISTICS}/{name}"] for name in ("mean", "variance", "count")}
        if (statistics["variance"] < 0).any():
            raise InvalidPolicy(f"{source}: the variance of its observations is negative")
        self.normalizer = RunningNormalizer(len(statistics["mean"]))
        self.normalizer.load(statistics)
        self._rng = np.random.default_rng()

    @classmethod
    def of(
        cls,
        algorithm: Any,
        task: Any,
        spaces: "tuple[Space[Any], Space[Any]]",
        state: Mapping[str, np.ndarray],
        longest_episode: int,
    ) -> "SavedPolicy":
        """The policy of a learner with this `state`.

        algorithm: a Hooks or an OffPolicy, which was trained on `task`, a Task; spaces: of observations and actions.
        """
        about = describe(task, *spaces, longest_episode)
        if hasattr(algorithm, "stochastic"):
            about[BOUNDED] = BOUNDED_ACTORS[algorithm.stochastic]
        about |= {name: getattr(algorithm, name) for name in ("activation", "num_envs")}
        about |= {"hidden_sizes": list(algorithm.hidden_sizes)}
        about |= {"algorithm": type(algorithm).__module__.rpartition(".")[2]}
        policy = cls(about, {**state, **bounds_of(spaces[1])})
        policy.__dict__["task"] = task  # also where its keyword arguments are no JSON
        return policy

    def save(self, path: str | Path) -> None:
        """Write the policy as a file that `load_policy` reads, whole or not at all."""
        path = Path(path)
        text = json.dumps(self._about, allow_nan=False).encode()
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **{ABOUT: np.frombuffer(text, np.uint8)}, **self._arrays)
        unfinished.replace(path)

    def named(self, algorithm: str) -> "SavedPolicy":
        """The same policy with another name of its algorithm, such as that of a grid's entry."""
        return SavedPolicy(self._about | {"algorithm": algorithm}, self._arrays, self._source)

    @property
    def algorithm(self) -> str:
        """The name of the algorithm that trained the policy; in a grid, that of its entry."""
        return str(self._about["algorithm"])

    @property
    def task_name(self) -> str:
        """The name of the task, without Gymnasium."""
        return str(self._about["task_name"])

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(array.size for name, array in self._arrays.items() if name.startswith(f"{NETWORK}/"))

    def __eq__(self, other: object) -> bool:
        """Whether both act alike, bit for bit, and say the same of where they are from."""
        if not isinstance(other, SavedPolicy):
            return NotImplemented
        arrays = [{name: array.tobytes() for name, array in policy._arrays.items()} for policy in (self, other)]
        return self._about == other._about and arrays[0] == arrays[1]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Such as SavedPolicy(ppo on Hopper-v5, 11 → 64 → 64 → 3 (tanh), Box actions, 5,126 parameters)."""
        sizes = [layer[0].shape[0] for layer in self.policy._layers] + [self.policy._layers[-1][0].shape[1]]
        kind = self._about["action_space"]["kind"]
        return (
            f"SavedPolicy({self.algorithm} on {self.task_name}, {' → '.join(map(str, sizes))} "
            f"({self._about['activation']}), {kind} actions, {self.parameters:,} parameters)"
        )

    @cached_property
    def task(self) -> Any:
        """The Task on which the policy was trained. Raises InvalidPolicy where its arguments were no JSON."""
        from .task import Task

        if self._about["task"] is None:
            raise InvalidPolicy(
                f"{self._source} does not say how {self.task_name!r} is made, since its keyword arguments are objects; "
                "give the task or an environment as env"
            )
        try:
            lists = {name: tuple(value) for name, value in self._about["task"].items() if isinstance(value, list)}
            return Task(**self._about["task"] | lists)
        except (TypeError, KeyError) as error:
            raise InvalidPolicy(f"{self._source} does not say what its task is ({error!r}); it is damaged") from error

    @cached_property
    def action_space(self) -> "Space[Any]":
        """The action space, as Gymnasium has it."""
        from .spaces import space_of

        return space_of(self._about["action_space"], *(self._arrays.get(name) for name in BOUNDS))

    @cached_property
    def observation_space(self) -> "Space[Any]":
        """The observation space, as Gymnasium has it, without the bounds of a Box."""
        from .spaces import space_of

        return space_of(self._about["observation_space"])

    @property
    def longest_episode(self) -> int:
        """Steps after which an episode of a task without a time limit is cut, as in the run."""
        return int(self._about["longest_episode"])

    def act(
        self,
        observation: Any,
        mode: bool = True,
        rng: np.random.Generator | None = None,
        action_masks: Any = None,
    ) -> Any:
        """The action at an observation as the task gives it, raw; or the actions at many, one after another.

        - `observation`: one, or an array or list of N; of a Dict or Tuple also one with N rows in each entry
        - `mode`: take the likeliest action, or the Gaussian's mean; otherwise a sampled one
        - `rng`: draws the samples; without it, a generator of the policy's own, which nobody has seeded
        - `action_masks`: True where an action is allowed; bool [A] of one, [N, A] of many

        Returns an action of the task's space, within its bounds: an int of a Discrete space, otherwise an array. Of
        many observations the actions are an array [N, …]. Raises InvalidPolicy where an observation is not of the task.
        """
        rows, one = self._rows(observation)
        masks = None if action_masks is None else self._masks(action_masks, len(rows), one)
        actions = self.policy.act(self.normalizer(rows), self._rng if rng is None else rng, masks, mode=mode)
        about = self._about["action_space"]
        members = self.policy.to_environment(actions).reshape(len(rows), *member_shape(about))
        if about["kind"] in ("Discrete", "MultiDiscrete"):
            members = members + np.asarray(about["start"])
        members = members.astype(about["dtype"], copy=False)
        if not one:
            return members
        return int(members[0]) if about["kind"] == "Discrete" else members[0, ...]

    def evaluate(self, episodes: int = 20, env: Any = None, seed: int = 0, mode: bool = False) -> np.ndarray:
        """The raw returns of complete episodes, float64 [episodes], with nothing learned from them.

        - `env`: None for the run's own task, a Task, a Gymnasium id, or an environment, which is not closed
        - `seed`: of the environments and of sampled actions. That of the run gives the episodes of the run's own
          evaluation, where the task and the number of episodes are the run's.
        - `mode`: take the likeliest action instead of a sampled one

        Of a task with K variants, `episodes` are rounded up to a multiple of K. Raises InvalidPolicy where the
        environment has other spaces than the policy.
        """
        from .evaluation import evaluate
        from .task import Task, close, make_env
        from .training import Seeds

        if type(episodes) is not int or episodes < 1:
            raise ValueError(f"episodes must be a whole number from 1, not {episodes!r}")
        task = self.task if env is None else Task(env) if isinstance(env, str) else env
        if not isinstance(task, Task):
            return np.array([total for total, _ in self.play(task, episodes, seed, mode)])
        made = make_env(task)
        close(made)
        self.check_spaces(made)
        kind = "mode" if mode else "sampled"
        found = evaluate(
            *(self, task, Seeds.of(seed).evaluation, [kind]),
            num_envs=max(int(self._about["num_envs"]), len(task.variants)),
            longest=self.longest_episode,
            episodes=episodes,
        )
        return np.array(found[kind].returns)

    def play(
        self,
        env: "gymnasium.Env[Any, Any]",
        episodes: int,
        seed: int,
        mode: bool,
        on_step: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[float, int]]:
        """Play episodes in an environment, one after another: return and length of each.

        The arguments are those of `evaluate`; the first reset is with the seed. `on_step` is called after every reset
        and every step, to draw what there is to see.
        """
        import gymnasium

        from .masks import MaskReader
        from .task import Task, time_limit_of

        if not isinstance(env, gymnasium.Env):
            raise InvalidPolicy(f"env must be a Task, a Gymnasium id or a single Gymnasium environment, not {env!r}")
        self.check_spaces(env)
        rng = np.random.default_rng(seed)
        reader = MaskReader(Task(self.task_name), env, 0)
        longest = self.longest_episode if time_limit_of(env) is None else math.inf
        for number in range(episodes):
            observation, info = env.reset(seed=seed if number == 0 else None)
            on_step()
            total, length, over = 0.0, 0, False
            while not over:
                action = self.act(observation, mode, rng, reader.read(info, length))
                observation, reward, terminated, truncated, info = env.step(action)
                total, length = total + float(reward), length + 1
                over = terminated or truncated or length >= longest
                on_step()
            yield total, length

    def check_spaces(self, env: "gymnasium.Env[Any, Any]") -> None:
        """Raise InvalidPolicy, with a sentence, where an environment has other spaces than the policy's task."""
        from .spaces import structure

        for what, own, other, same in (
            ("observations", self.observation_space, env.observation_space, structure),
            ("actions", self.action_space, env.action_space, lambda space: space),
        ):
            if same(own) != same(other):
                spec = getattr(env, "spec", None)
                raise InvalidPolicy(
                    f"the policy of {self.task_name!r} has {what} in {in_words(own)}, but "
                    f"{'the environment' if spec is None else spec.id} has {what} in {in_words(other)}; give an "
                    "environment with the same spaces"
                )

    def _rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        """Observations as rows, float32 [N, D], and whether it is a single one."""
        about = self._about["observation_space"]
        try:
            rows = None
            if about["kind"] == "Box" and len(about["shape"]) == 1:
                given = np.asarray(observation)
                if given.dtype.kind in DTYPES and given.ndim in (1, 2) and given.shape[-1:] == tuple(about["shape"]):
                    rows, one = given.astype(np.float32).reshape(-1, given.shape[-1]), given.ndim == 1
            else:
                rows, one = self._flattened(observation)
        except Exception as error:  # whatever an observation of another kind makes NumPy or Gymnasium raise
            raise InvalidPolicy(f"{self._not_one(observation)}: {error}") from error
        if rows is None:
            raise InvalidPolicy(self._not_one(observation))
        if not np.isfinite(rows).all():
            raise InvalidPolicy(f"the policy of {self.task_name!r} got an observation with a number that is not finite")
        return rows, one

    def _flattened(self, observation: Any) -> tuple[np.ndarray, bool]:
        """As `_rows`, of any space, by the function that flattens a run's observations."""
        from .spaces import row_writer

        about, write = self._about["observation_space"], row_writer(self.observation_space)
        if isinstance(observation, list) and about["kind"] in ("Dict", "Tuple"):
            members, one = observation, False
        else:
            count = _count(about, observation)
            members, one = ([observation], True) if count is None else (_split(about, observation, count), False)
        rows = np.zeros((len(members), self.normalizer.mean.size), np.float32)
        for member, row in zip(members, rows, strict=True):
            assert write is not None  # a flat Box has none, and is not flattened
            write(member, row)
        return rows, one

    def _not_one(self, observation: Any) -> str:
        """That this is no observation of the policy's task."""
        shape = getattr(observation, "shape", None)
        got = f"shape {shape}" if shape is not None else f"{observation!r:.80}"
        return (
            f"the policy of {self.task_name!r} acts on observations in {in_words(self._about['observation_space'])}, "
            f"one or many, and got {got}"
        )

    def _masks(self, given: Any, rows: int, one: bool) -> np.ndarray:
        """Masks as bool [N, A]."""
        sizes = self.policy.parts or (self.policy._layers[-1][1].size,)
        if not self.policy.discrete:
            raise InvalidPolicy(f"the policy of {self.task_name!r} has actions in a Box, which cannot be masked")
        if one and isinstance(given, tuple | list) and len(given) == len(sizes) > 1 and np.ndim(given[0]) == 1:
            given = np.concatenate(given)
        masks = np.asarray(given)
        shape = (sum(sizes),) if one else (rows, sum(sizes))
        if masks.shape != shape or not np.isin(masks, (0, 1)).all():
            raise InvalidPolicy(f"action_masks must be booleans of the shape {shape}, not {given!r:.80}")
        masks = masks.astype(bool).reshape(rows, -1)
        if not np.logical_or.reduceat(masks, np.cumsum([0, *sizes])[:-1], axis=1).all():
            raise InvalidPolicy("action_masks allow no action where one has to be taken; at least one must be allowed")
        return masks


class _SavedActor(Actor):
    """The Actor with a saved policy's arrays."""

    def __init__(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str) -> None:
        space = about["action_space"]
        self.discrete = space["kind"] != "Box"
        parts = (2,) * math.prod(member_shape(space)) if space["kind"] == "MultiBinary" else choices_of(space)
        self.parts = parts if space["kind"].startswith("Multi") else None
        self._part_ends = np.cumsum(self.parts)[:-1] if self.parts else None
        self._activation = about["activation"]
        weights = [f"{NETWORK}/network.{2 * i}" for i in range(len(about["hidden_sizes"]) + 1)]
        self._layers = [(arrays[f"{name}.weight"].T, arrays[f"{name}.bias"]) for name in weights]
        self.squash = about["action_bounds"] == "squash" and not self.discrete
        self._numpy_log_std = arrays.get(f"{NETWORK}/log_std", np.zeros(0))
        if not self.discrete:
            low, high = (arrays[name] for name in BOUNDS)
            self.dtype = np.dtype(space["dtype"])
            if low.dtype != self.dtype or high.dtype != self.dtype or not (low <= high).all():
                raise InvalidPolicy(f"{source}: the bounds of its actions are not those of {in_words(space)}")
            self.low, self.high = wide_bounds(low, high)


class _SavedBoundedActor(BoundedActor, _SavedActor):
    """The BoundedActor with a saved policy's arrays."""

    def __init__(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str) -> None:
        super().__init__(about, arrays, source)
        self.squash, self.stochastic = False, about[BOUNDED] == "stochastic"  # `act` returns actions in [−1, 1] already
        if not all(np.isfinite(arrays[name]).all() for name in BOUNDS):
            raise InvalidPolicy(f"{source}: actions in [−1, 1] cannot be scaled to bounds that are not finite")


def _count(about: Mapping[str, Any], observation: Any) -> int | None:
    """How many observations these are; None for a single one. Raises ValueError where they are none of the space."""
    kind = about["kind"]
    if kind in ("Dict", "Tuple"):
        if len(observation) != len(about["spaces"]):
            raise ValueError(f"it has {len(observation)} entries, not {len(about['spaces'])}")
        inner = about["spaces"] if kind == "Dict" else enumerate(about["spaces"])
        counts = {_count(space, observation[name]) for name, space in inner}
        if len(counts) != 1:
            raise ValueError("its entries are of different numbers of observations")
        return counts.pop()
    given, shape = np.shape(observation), member_shape(about)
    if given == shape:
        return None
    if given[1:] != shape:
        raise ValueError(f"it has the shape {given}, not {shape}")
    return int(given[0])


def _split(about: Mapping[str, Any], observations: Any, count: int) -> list[Any]:
    """N observations in one, one by one."""
    kind = about["kind"]
    if kind == "Dict":
        columns = {name: _split(space, observations[name], count) for name, space in about["spaces"]}
        return [{name: column[i] for name, column in columns.items()} for i in range(count)]
    if kind == "Tuple":
        return list(
            zip(*(_split(space, x, count) for space, x in zip(about["spaces"], observations, strict=True)), strict=True)
        )
    return list(np.asarray(observations))
