"""Every algorithm that learns on-policy from an advantage and a policy loss (Sutton et al., 2000)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .algorithm import OnUpdate, OnWait
from .hooks import Hooks
from .on_policy import Learner
from .run import EPISODES_MEANWHILE, EVALUATIONS, LONGEST_EPISODE, OnBoundary, Run, Trained
from .saved_policy import SavedPolicy
from .task import Task
from .training import Seeds, train
from .vector_env import VectorEnv


@dataclass(frozen=True)
class PolicyGradient(Hooks):
    """An algorithm with `advantages` and a `policy_loss`; `Hooks` lists its settings and what else it may define."""

    def learner(self) -> type[Learner]:
        """The class of what is trained."""
        return Learner

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
        """As `Algorithm.train`, by the on-policy loop `training.train`, which documents its further arguments."""
        made: list[tuple[Learner, VectorEnv]] = []

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
            made.append((learner, envs))
            return learner

        run = train(
            self,
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
            ((learner, envs),) = made
            spaces = envs.backend.observation_space, envs.action_space
            run.policy = SavedPolicy.of(self, task, spaces, learner.state(), min(steps, LONGEST_EPISODE))
        return run
