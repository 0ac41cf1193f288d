"""Genetic programming of formulas, as gplearn does it: what policies that build formulas are compared with.

    next population: tournament winners by 1 / (1 + NRMSE) − parsimony · length, crossed over and mutated (Koza, 1992)

A program is an evaluation, as an episode of a policy is, and its tokens are the steps. Its return is the task's own,
and 0 where the program is longer than an expression may be. gplearn's ÷ and log are protected, the task's are not.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from .core.algorithm import Algorithm, setting
from .core.run import EVALUATIONS, Evaluation, Run, evaluation_episodes
from .core.task import Task, UnsupportedTask, make_env
from .core.vector_env import Episode


@dataclass(frozen=True)
class GeneticProgramming(Algorithm):
    """Symbolic regression by genetic programming of the library gplearn (Koza, 1992)."""

    title: ClassVar[str] = "Genetic programming (gplearn)"
    equation: ClassVar[str] = "max 1 / (1 + NRMSE) − parsimony · length"

    population_size: int = setting(1000, low=2)  # both as in gplearn 0.4; its further settings stay its own
    tournament_size: int = setting(20, low=1)

    def budget_problem(self, steps: int) -> str | None:
        """That gplearn is not installed."""
        return None if find_spec("gplearn") else "gplearn is not installed (pip install -e '.[discovery]')"

    def train(self, task: Task, seed: int, steps: int, **options: Any) -> Run:
        """As `Algorithm.train`. Raises UnsupportedTask for a task other than SymbolicRegression-v0."""
        from gplearn import fitness, functions, genetic

        goal: Any = make_env(task).unwrapped
        if not hasattr(goal, "inverse_nrmse"):
            raise UnsupportedTask(f"task {task.label!r} is no symbolic regression, so it has no formulas for gplearn")
        fit = fitness.make_fitness(function=lambda y, found, _: goal.inverse_nrmse(found, y), greater_is_better=True)
        own = {"exp": functions.make_function(function=np.exp, name="exp", arity=1)}
        operators = [own.get(name, name) for name in goal.tokens if name not in goal.inputs]
        search = genetic.SymbolicRegressor(**vars(self), generations=0, warm_start=True, low_memory=True)
        search.set_params(function_set=operators, metric=fit, const_range=None, random_state=seed, stopping_criteria=2)
        points, run = np.stack([*goal.inputs.values()], axis=1), Run([], [], [], None, 0, 0)
        while run.steps_taken < steps:
            with np.errstate(all="ignore"):
                search.set_params(generations=search.generations + 1).fit(points, goal.targets)
            for program in search._programs[-1]:
                names = [getattr(node, "name", None) or [*goal.inputs][node] for node in program.program]
                run.steps_taken += len(names)
                worth = goal.reward(names) if len(names) <= goal.max_length else 0.0
                run.episodes.append(Episode(run.steps_taken, worth, len(names)))
            options.get("on_update", lambda steps, episodes: None)(run.steps_taken, run.episodes)
        best, n = max(run.episodes, key=lambda episode: episode.return_), evaluation_episodes(task)
        found = Evaluation([best.return_] * n, [best.length] * n)
        run.evaluation = dict.fromkeys(options.get("evaluations", EVALUATIONS), found)
        return run
