"""Algorithms that a learner of this project trains, on-policy and off-policy; their runs have a policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .algorithm import Algorithm, OnUpdate, OnWait, where
from .run import EPISODES_MEANWHILE, EVALUATIONS, LONGEST_EPISODE, OnBoundary, Run, Trained
from .saved_policy import SavedPolicy
from .task import Task
from .training import Learner, Seeds, train
from .vector_env import VectorEnv


@dataclass(frozen=True)
class WithLearner(Algorithm):
    """An algorithm that says by `learner` what is trained, and is trained by the loop `training.train`."""

    def learner(self) -> Callable[..., Learner]:
        """The class of what is trained; `on_policy.Learner` documents the arguments that it takes."""
        raise NotImplementedError(f"{where(self)} has no method learner")

    def train(
        self,
        task: Task,
        seed: int,
        steps: int,
        *,
        checkpoint_fractions: Sequence[float] = (),
        compile: str = "auto",
        runs: int = 5,
        evaluations: Sequence[str] = EVALUATIONS,
        evaluate_every: int | None = None,
        evaluate_episodes: int = EPISODES_MEANWHILE,
        on_update: OnUpdate = lambda steps, episodes: None,
        on_wait: OnWait = lambda what, steps, episodes: None,
        on_boundary: OnBoundary = lambda run, pause: None,
        trained: Trained | None = None,
        on_trained: Callable[[Trained], None] | None = None,
    ) -> Run:
        """As `Algorithm.train`; `training.train` documents the further arguments.

        The run has its policy, unless it diverged.
        """
        algorithm: Any = self  # with the settings that a learner and the loop need
        made: list[tuple[Learner, Any]] = []

        def make_learner(envs: VectorEnv, seeds: Seeds) -> Learner:
            learner = self.learner()(
                self,
                task,
                envs.observation_size,
                envs.action_space,
                initialisation=seeds.initialisation,
                minibatches=seeds.minibatches,
                steps=steps,
                compile=compile,
                runs=runs,
            )
            made.append((learner, (envs.backend.observation_space, envs.action_space)))
            return learner

        run = train(
            algorithm,
            make_learner,
            task,
            seed,
            steps,
            checkpoint_fractions=checkpoint_fractions,
            evaluations=evaluations,
            evaluate_every=evaluate_every,
            evaluate_episodes=evaluate_episodes,
            on_update=on_update,
            on_wait=on_wait,
            on_boundary=on_boundary,
            trained=trained,
            on_trained=on_trained,
        )
        if run.diverged_at is None or run.stopped_by_task:
            ((learner, spaces),) = made
            run.policy = SavedPolicy.of(self, task, spaces, learner.state(), min(steps, LONGEST_EPISODE))
        return run
