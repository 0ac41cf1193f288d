"""Every algorithm that learns a deterministic or a reparameterised policy from a replay, by critics Q(s, a)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .algorithm import OnUpdate, OnWait
from .off_policy_hooks import OffPolicyHooks
from .off_policy_learner import OffPolicyLearner
from .run import EPISODES_MEANWHILE, EVALUATIONS, OnBoundary, Run, Trained
from .run_with_policy import train_and_keep
from .task import Task
from .training import Seeds
from .vector_env import VectorEnv


@dataclass(frozen=True)
class OffPolicy(OffPolicyHooks):
    """An algorithm with `targets` and a `policy_loss`; `OffPolicyHooks` lists its settings and what else it defines."""

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
        """As `Algorithm.train`, by the loop `training.train`, which documents its further arguments."""

        def make_learner(envs: VectorEnv, seeds: Seeds) -> OffPolicyLearner:
            return OffPolicyLearner(
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

        return train_and_keep(
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
