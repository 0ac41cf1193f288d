"""The keys of a grid file: what each may hold, its default and its meaning.

A grid is checked by these declarations, and `python -m experiments.grid --keys` prints them as experiments/GRID.md.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from policy_gradient_ladder.core.choices import MOST_CHOICES
from policy_gradient_ladder.core.run import EPISODES_MEANWHILE
from policy_gradient_ladder.core.wrapping import are_wrappers

from .checks import (
    DURATION,
    FLAG,
    MAPPING,
    OPTIONAL_MAPPING,
    REQUIRED,
    TEXT,
    Check,
    Whole,
    all_different,
    is_line,
    is_number,
)
from .estimation.keys import ESTIMATOR_KEYS
from .laboratory_keys import PROBE_KEYS, PROBE_TASK_KEYS, QUALITY_KEYS
from .libraries import LIBRARIES
from .search import DIMENSION_KEYS, GROUP_KEYS, PRUNER_KEYS, TUNING_KEYS


def is_json_mapping(value: Any) -> bool:
    """Whether this is a mapping with text as keys that JSON can hold: no date, no NaN."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return MAPPING[0](value)


def is_list_or_mapping(value: Any) -> bool:
    """Whether these are names, or entries by their names."""
    return MAPPING[0](value) or all_different(value, lambda name: isinstance(name, str))


def are_paths(value: Any) -> bool:
    """Whether this is a path, or a mapping of tasks to paths."""
    paths = list(value.values()) if isinstance(value, dict) else [value]
    return bool(paths) and all(is_line(path) for path in paths)


NAMES = "a list of different names, or a mapping whose keys are text"

GRID_KEYS: dict[str, Check] = {
    "description": Check(
        *TEXT,
        default=None,
        meaning="What the grid is for. It stands at the top of the page.",
        example="Does annealing help PPO?",
        otherwise="algorithms, tasks, seeds and steps in a sentence",
    ),
    "steps": Check(
        Whole(1, or_null=True),
        "a whole number above 0, or null",
        None,
        "Environment steps of a run, on each task that has no `steps` of its own.",
        "50_000",
    ),
    "seeds": Check(
        lambda v: isinstance(v, list) or Whole(1)(v),
        "a list of whole numbers from 0, or how many seeds from 0",
        REQUIRED,
        "The seeds of the runs. 5 means 0, 1, 2, 3, 4.",
        "5",
    ),
    "tasks": Check(
        is_list_or_mapping,
        NAMES,
        REQUIRED,
        "The tasks: Gymnasium ids, or ids and what is said of each. A number in place of an entry is its `steps`.",
        "[CartPole-v1, Acrobot-v1]",
    ),
    "algorithms": Check(
        is_list_or_mapping,
        NAMES,
        REQUIRED,
        "The algorithms: names of files under algorithms/, or names and what is said of each.",
        "[reinforce, ppo]",
    ),
    "checkpoints": Check(
        lambda v: isinstance(v, list),
        "a list of fractions",
        [],
        "The fractions of a run at which its networks are saved, for the laboratory.",
        "[0, 0.5, 1]",
    ),
    "compile": Check(
        lambda v: v in ("auto", "always", "never"),
        "auto, always or never",
        "auto",
        "Whether gradient steps are compiled. auto: where the run is long enough to gain from it.",
        "never",
    ),
    "evaluate_every": Check(
        Whole(1, or_null=True),
        "a whole number of steps above 0, or null",
        None,
        "Evaluate each run after so many environment steps, at the next update. These steps do not count.",
        "10_000",
        "at the end alone",
    ),
    "evaluate_episodes": Check(
        Whole(1),
        "a whole number of episodes above 0",
        EPISODES_MEANWHILE,
        "The episodes of such an evaluation, with sampled actions and with the mode action.",
        "10",
    ),
    "perturbations": Check(
        *MAPPING,
        default={},
        meaning="Evaluate each trained policy on changed tasks too: with the `mass`, `friction` or `gear` of a MuJoCo "
        "model times these factors, a `delay` of so many steps, `noise` of this deviation on observations.",
        example="{mass: [0.5, 2], delay: [1]}",
    ),
    "videos": Check(
        *FLAG,
        default=False,
        meaning="Whether the page shows the policies of the best and of the median seed.",
        example="true",
    ),
    "time_limit": Check(
        *DURATION,
        default=None,
        meaning="The time that a run, a training of a study, or a probe may take; one that takes longer fails.",
        example="30 min",
    ),
    "probes": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="The gradient laboratory: where the gradient of every algorithm is measured. See below.",
        example="{source: ppo, seeds: [0], fractions: [0], batches: 32, exact: {batch_size: 8}}",
    ),
    "estimators": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="Hold gradient estimators against the true gradient of problems that have one; {} is all. See below.",
        example="{problems: [quadratic, arms], batches: 64}",
    ),
    "quality": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="How good the gradient estimates are that an algorithm learns from. See below.",
        example="{sources: {ppo: [Hopper-v5]}, seeds: [0], fractions: [0, 1]}",
    ),
    "tuning": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="How algorithms with a `search_space` are tuned before they run. See below.",
        example="{seeds: [100, 101], fresh_seeds: [200], trials: 8, startup_trials: 4, groups: {}}",
    ),
    "claims": Check(
        lambda v: isinstance(v, str) or all_different(v, lambda x: isinstance(x, str)),
        "a YAML file of claims, or a list of them",
        None,
        "Files of claims that are judged beside those of experiments/claims.yaml, relative to the grid's folder. "
        "[] judges none at all.",
        "my_claims.yaml",
        "experiments/claims.yaml alone",
    ),
    "published_table": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="A paper's table that the grid repeats: the page shows its numbers beside ours. See below.",
        example="{title: Table 1, source: a paper, scores: {ppo: 0.8}, last_episodes: 100, seeds: 3}",
    ),
}
TASK_KEYS: dict[str, Check] = {
    "steps": Check(
        Whole(or_null=True),
        "a whole number",
        None,
        "Environment steps of a run.",
        "100_000",
        "the grid's `steps`",
    ),
    "id": Check(
        lambda v: v is None or isinstance(v, str),
        "a Gymnasium id, or null where the task's name is one",
        None,
        "The Gymnasium id, where the task has a name of its own. So one id can be two tasks.",
        "FrozenLake-v1",
        "the task's name",
    ),
    "kwargs": Check(
        is_json_mapping,
        "a mapping of keyword arguments for gymnasium.make",
        {},
        "Arguments of the environment.",
        "{is_slippery: false}",
    ),
    "variants": Check(
        lambda v: isinstance(v, list) and all(is_json_mapping(x) for x in v),
        "a list of mappings of keyword arguments for gymnasium.make, or [] for none",
        [],
        "Variants of the environment. One policy learns on all of them.",
        "[{g: 10.0}, {g: 5.0}]",
    ),
    "wrappers": Check(
        lambda v: are_wrappers(v) and is_json_mapping({"": v}),
        "a list of mappings with wrapper, module:Class, and arguments of its constructor",
        [],
        "Wrappers of the environment, the first innermost.",
        "[{wrapper: 'gymnasium.wrappers:TimeAwareObservation'}]",
    ),
    "training_wrappers": Check(
        lambda v: are_wrappers(v) and is_json_mapping({"": v}),
        "a list of mappings with wrapper, module:Class, and arguments of its constructor",
        [],
        "Further wrappers in training alone, such as domain randomisation. Scores are without them.",
        "[{wrapper: 'experiments.tasks.changes:Changed', mass: [0.5, 2]}]",
    ),
    "max_episode_steps": Check(
        Whole(1, or_null=True),
        "a whole number above 0, or null",
        None,
        "A time limit of an episode, in steps.",
        "200",
        "the registered one",
    ),
    "normalize_observations": Check(
        *FLAG,
        default=False,
        meaning="Whether observations are shifted and scaled by their running mean and deviation. Usual for MuJoCo.",
        example="true",
    ),
    "normalize_rewards": Check(
        *FLAG,
        default=False,
        meaning="Whether rewards are scaled, for learning alone. Recorded returns are raw.",
        example="true",
    ),
    "reward_scale": Check(
        lambda v: is_number(v) and v > 0,
        "a number above 0",
        1.0,
        "What rewards are multiplied by, for learning alone and before they are normalised. Recorded returns are raw.",
        "1000",
    ),
    "action_bounds": Check(
        lambda v: v in ("clip", "squash"),
        "clip or squash",
        "clip",
        "How continuous actions come within their bounds: cut off, or by tanh.",
        "squash",
    ),
    "action_bins": Check(
        Whole(2, or_null=True),
        "a whole number from 2, or null",
        None,
        "Make each dimension of a Box so many values at equal distances, both bounds included: a Discrete, or a "
        "MultiDiscrete of several dimensions.",
        "11",
    ),
    "joint_actions": Check(
        *FLAG,
        default=False,
        meaning="Make the parts of an action (of a MultiDiscrete, of a Box in bins) one Discrete choice of all their "
        f"combinations, at most {MOST_CHOICES:,}; DQN needs it.",
        example="true",
    ),
    "allow_normalised": Check(
        *FLAG, default=False, meaning="Accept an environment that has a normalising wrapper of its own.", example="true"
    ),
    "random_score": Check(
        lambda v: v is None or is_number(v),
        "a number (python -m experiments.random_score measures it)",
        None,
        "The mean return of uniformly random actions: 0 on the normalised scale.",
        "21.6",
        "measured on first use, 100 episodes, and kept under results/",
    ),
    "reference_score": Check(
        lambda v: v is None or is_number(v),
        "a number",
        None,
        "A good return: 1 on the normalised scale.",
        "475",
        "the registered reward threshold; required where the task has none",
    ),
    "reference_source": Check(
        lambda v: v is None or isinstance(v, str),
        "text",
        None,
        "Where the reference score is from. Required beside a `reference_score`.",
        "registered reward threshold",
        "registered reward threshold",
    ),
    "perturbations": Check(
        *OPTIONAL_MAPPING,
        default=None,
        meaning="As the grid's, for this task alone; {} for none.",
        example="{delay: [1, 2]}",
        otherwise="the grid's",
    ),
    "threshold": Check(
        lambda v: v is None or is_number(v),
        "a number or null",
        None,
        "A return. The page says after how many steps each run has reached it.",
        "400",
    ),
    "solved": Check(
        lambda v: v is None or is_number(v),
        "a number or null",
        None,
        "A return that counts as a solution of a task of discovery. The page says in how many runs a training episode "
        "had it, and after how many episodes.",
        "9",
    ),
    "evaluations": Check(
        Whole(1, or_null=True),
        "a whole number above 0, or null",
        None,
        "The training episodes of a run that count for `solved`, the same number for all. Required beside it.",
        "5_000",
    ),
    "time_limit": Check(
        *DURATION,
        default=None,
        meaning="As the grid's, for this task alone; null for no limit.",
        example="2 h",
        otherwise="the grid's",
    ),
}
ALGORITHM_KEYS: dict[str, Check] = {
    "module": Check(
        lambda v: v is None or isinstance(v, str),
        "the name of a file under algorithms/",
        None,
        "The algorithm, where the entry has another name. So one algorithm can be there twice with other settings.",
        "ppo",
        "the entry's name",
    ),
    "library": Check(
        lambda v: v is None or isinstance(v, str),
        f"one of {', '.join(LIBRARIES)}",
        None,
        "The library that has the algorithm, in place of a file under algorithms/.",
        "stable_baselines3",
    ),
    "class": Check(
        lambda v: v is None or isinstance(v, str),
        "the name of a class of the library, or module:Class",
        None,
        "The class that trains: of `library`, or any by its import path. Its settings are the arguments of its "
        "constructor.",
        "PPO",
    ),
    "external": Check(
        lambda v: v is None or are_paths(v),
        "a path, or a mapping of tasks to paths",
        None,
        "Files of runs that were made elsewhere, with {task} and {seed} in their path; relative to the grid's file.",
        "runs/{task}/{seed}.csv",
    ),
    "title": Check(
        lambda v: v is None or is_line(v),
        "one line of text",
        None,
        "Its name in figures and tables.",
        "PPO (small clip)",
        "the title in the algorithm's file",
    ),
    "settings": Check(
        *MAPPING,
        default={},
        meaning="Hyperparameters: the fields of the algorithm's class.",
        example="{clip: 0.1, gamma: 0.98}",
    ),
    "tasks": Check(
        *MAPPING,
        default={},
        meaning="Hyperparameters for single tasks. They come before `settings`.",
        example="{CartPole-v1: {clip: 0.3}}",
    ),
    "only": Check(
        lambda v: v is None or (all_different(v, lambda x: isinstance(x, str)) and len(v) > 0),
        "a list of tasks of the grid",
        None,
        "The tasks on which it runs, where the others are none for it: DQN needs discrete actions, SAC a Box.",
        "[CartPole-v1]",
        "all tasks",
    ),
    "search_space": Check(
        *MAPPING,
        default={},
        meaning="The hyperparameters that are tuned, and their ranges. See below.",
        example="{clip: {low: 0.1, high: 0.3}}",
    ),
    "tuned": Check(
        lambda v: v is None or isinstance(v, bool),
        "true or false",
        None,
        "Whether the algorithm is tuned; false keeps a search space without using it.",
        "false",
        "true where there are `search_space` and `tuning`",
    ),
}
PUBLISHED_KEYS: dict[str, Check] = {
    "title": Check(is_line, "one line of text", REQUIRED, "What the table is called.", "PPO's Table 1"),
    "source": Check(is_line, "one line of text", REQUIRED, "Where it stands.", "Schulman et al. (2017), Table 1"),
    "scores": Check(
        *MAPPING,
        default=REQUIRED,
        meaning="The paper's numbers, by the names of the grid's algorithms. A random policy has 0, the best result 1.",
        example="{ppo: 0.82}",
    ),
    "last_episodes": Check(
        Whole(1),
        "a whole number above 0",
        REQUIRED,
        "The score of a run is the mean return of so many training episodes at its end.",
        "100",
    ),
    "seeds": Check(
        Whole(1),
        "a whole number above 0",
        REQUIRED,
        "The seeds of the paper on each task. The first ones of the grid, as many, are also shown by themselves.",
        "3",
    ),
    "differs": Check(
        lambda v: all_different(v, is_line),
        "a list of sentences",
        [],
        "In what the paper's runs are known to differ from these.",
        "[The paper has other versions of the tasks.]",
    ),
}

PARTS: dict[str, tuple[str, Mapping[str, Check]]] = {  # of a grid file: the keys of a mapping, and where it stands
    "The grid": ("The file itself.", GRID_KEYS),
    "A task": ("An entry of `tasks`, under its name.", TASK_KEYS),
    "An algorithm": ("An entry of `algorithms`, under its name.", ALGORITHM_KEYS),
    "The laboratory": ("The entry `probes` of the grid.", PROBE_KEYS),
    "A task of the laboratory": ("An entry of `tasks` in `probes`, under the task's name.", PROBE_TASK_KEYS),
    "Estimators against the truth": ("The entry `estimators` of the grid.", ESTIMATOR_KEYS),
    "The quality of gradient estimates": ("The entry `quality` of the grid.", QUALITY_KEYS),
    "A published table": ("The entry `published_table` of the grid.", PUBLISHED_KEYS),
    "Tuning": ("The entry `tuning` of the grid.", TUNING_KEYS),
    "A group of tasks": ("An entry of `groups` in `tuning`, under a name of its own.", GROUP_KEYS),
    "A pruner": ("The entry `pruner` of `tuning`. Further keys are arguments of Optuna's class.", PRUNER_KEYS),
    "A range": ("An entry of `search_space` of an algorithm, under the name of a hyperparameter.", DIMENSION_KEYS),
}
BEGINNING = """# The keys of a grid

<!-- Printed by `python -m experiments.grid --keys` from experiments/keys.py and experiments/search.py; edit those. -->

A grid is a YAML file: under `experiments/grids/`, where it is found by its name, or anywhere else. Its name is the
file's. This is a whole one:

<!-- minimal -->
```yaml
steps: 50_000
tasks: [CartPole-v1, Acrobot-v1]
algorithms: [reinforce, ppo]
seeds: 5
```

Numbers may be written as 50_000, 5e4 or 3e-4. A key that is not below is refused.
"""


def page() -> str:
    """All keys in Markdown, a table for each mapping of a grid file."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield BEGINNING
    for title, (where, keys) in PARTS.items():
        yield f"## {title}\n\n{where}\n"
        yield "| key | value | without it | meaning | example |\n|---|---|---|---|---|"
        for name, key in keys.items():
            yield f"| `{name}` | {key.description} | {without(key)} | {key.meaning} | `{name}: {key.example}` |"
        yield ""


def without(key: Check) -> str:
    """What holds where a key is absent, in words or as it would stand in the file."""
    if key.otherwise or key.default in (REQUIRED, None):
        return key.otherwise or ("none" if key.default is None else "required")
    value = yaml.safe_dump(key.default, default_flow_style=True, width=1000).strip()
    return f"`{value.removesuffix('...').strip()}`"
