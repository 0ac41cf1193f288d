"""A game of n agents that share one reward; each has a softmax policy of its own over three actions."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete

from ..problem import Batch, InvalidPlace, Problem, softmax

ACTIONS = 3
MOST_AGENTS = 16  # 3^16 joint actions have 43 million rewards
REWARD_NOISE = 0.5  # standard deviation of what is added to the reward
SEED = 2018  # of rewards and logits: they are the game, and the same for every batch


@dataclass(frozen=True)
class Game(Problem):
    """r(a) = Σ_i u_i(a_i) + Σ_i m_i(a_i, a_{i+1}) with the agents on a ring; ∂J/∂θ_ia = π_i(a) (E[r | a_i = a] − J)."""

    title: ClassVar[str] = "game of several agents"
    actions: ClassVar[str] = "discrete actions of several agents"
    default_places: ClassVar = ({"agents": 4},)
    agents: int = 4

    def __post_init__(self) -> None:
        if self.agents != int(self.agents) or not self.agents >= 2:
            raise InvalidPlace(f"agents must be a whole number from 2, not {self.agents}")
        if self.agents > MOST_AGENTS:
            joint = f"{ACTIONS}^{self.agents} = {float(ACTIONS) ** self.agents:.2g}"
            raise InvalidPlace(
                f"agents is {self.agents}, and the true gradient is an expectation over {joint} joint actions; at most "
                f"{MOST_AGENTS} are possible"
            )

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """u [n, 3], m [n, 3, 3] and θ [n, 3]; the first agents of a larger game are those of a smaller one."""
        drawn = np.random.default_rng(SEED).standard_normal((MOST_AGENTS, 5, ACTIONS))[: self.agents]
        return drawn[:, 0], drawn[:, 1:4], drawn[:, 4] / 2

    @cached_property
    def policy(self) -> np.ndarray:
        """π_i(a), [n, 3]."""
        return softmax(self._tables[2])

    def reward(self, joint: np.ndarray) -> np.ndarray:
        """The expected reward, [N], of joint actions, int [N, n]."""
        alone, pairs, _ = self._tables
        each = np.arange(self.agents)
        return (alone[each, joint] + pairs[each, joint, np.roll(joint, -1, axis=1)]).sum(1)

    def joint_rewards(self) -> np.ndarray:
        """The expected reward of every joint action, [3, 3, …, 3] with n axes."""
        alone, pairs, _ = self._tables
        rewards = alone[0]
        for agent in range(1, self.agents):  # the pair of an agent and the one before it are the last two axes
            rewards = rewards[..., None] + (pairs[agent - 1] + alone[agent])
        closing = pairs[-1].T.reshape(ACTIONS, *[1] * (self.agents - 2), ACTIONS)
        rewards += closing
        return rewards

    @cached_property
    def conditional_rewards(self) -> np.ndarray:
        """E[r | a_i = a], [n, 3]: the joint rewards, contracted with the policy of one other agent at a time."""
        found = np.empty((self.agents, ACTIONS))

        def contract(rewards: np.ndarray, agents: list[int]) -> None:
            """Fill in these agents' rows, from rewards over which all others have been averaged."""
            if len(agents) == 1:
                found[agents[0]] = rewards
                return
            half = len(agents) // 2
            first = rewards
            for agent in reversed(agents[half:]):
                first = first @ self.policy[agent]
            contract(first, agents[:half])
            for agent in agents[:half]:
                rewards = np.tensordot(self.policy[agent], rewards, 1)
            contract(rewards, agents[half:])

        contract(self.joint_rewards(), list(range(self.agents)))
        return found

    @cached_property
    def expected_reward(self) -> float:
        """J."""
        return float(self.policy[0] @ self.conditional_rewards[0])

    @cached_property
    def truth(self) -> np.ndarray:
        """π_i(a) (E[r | a_i = a] − J), [3 n]."""
        return (self.policy * (self.conditional_rewards - self.expected_reward)).ravel()

    @cached_property
    def fisher(self) -> np.ndarray:
        """diag(π_i) − π_i π_iᵀ for each agent, one block after the other."""
        found = np.diag(self.policy.ravel())
        for agent, policy in enumerate(self.policy):
            block = slice(ACTIONS * agent, ACTIONS * (agent + 1))
            found[block, block] -= np.outer(policy, policy)
        return found

    def draw(self, size: int, rng: np.random.Generator, common_noise: bool = False) -> "Rounds":
        """Draw `size` joint actions with their rewards."""
        bounds = self.policy.cumsum(1)[:, :-1]
        joint = (rng.random((size, self.agents, 1)) > bounds).sum(-1)
        rewards = self.reward(joint) + REWARD_NOISE * rng.standard_normal(size)
        return Rounds(self, rewards[:, None], joint)


@dataclass(eq=False)
class Rounds(Batch):
    """Rounds of the game; T is 1 and P is 3 n."""

    problem: Game
    joint: np.ndarray  # the joint actions, int [N, n]

    @cached_property
    def agent_scores(self) -> np.ndarray:
        """∇log π_i(a_i) of each agent by its own logits, [N, n, 3]."""
        return np.eye(ACTIONS)[self.joint] - self.problem.policy

    @cached_property
    def agent_policies(self) -> np.ndarray:
        """π_i(a), [n, 3]."""
        return self.problem.policy

    @cached_property
    def counterfactual_rewards(self) -> np.ndarray:
        """Q(a', a_−i), [N, n, 3]: the expected reward if agent i alone had taken each of its actions."""
        alone, pairs, _ = self.problem._tables
        each = np.arange(self.problem.agents)
        before, after = np.roll(self.joint, 1, axis=1), np.roll(self.joint, -1, axis=1)
        own = alone + pairs[each, :, after] + pairs[each - 1, before]
        taken = np.take_along_axis(own, self.joint[..., None], axis=2)
        return self.problem.reward(self.joint)[:, None, None] + own - taken

    @cached_property
    def step_scores(self) -> np.ndarray:
        """All agents' ∇log π_i(a_i), one after the other."""
        return self.agent_scores.reshape(len(self), 1, -1)

    @cached_property
    def values(self) -> np.ndarray:
        """J, for every sample."""
        return np.full(self.rewards.shape, self.problem.expected_reward)


class GameEnv(gymnasium.Env):
    """The game as a task: one policy with a part for each agent; the observation is always 1."""

    def __init__(self, agents: int = 4) -> None:
        self.game = Game(agents)
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = MultiDiscrete([ACTIONS] * agents)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Pay for the joint action, and end the episode."""
        reward = self.game.reward(np.asarray(action)[None])[0] + REWARD_NOISE * self.np_random.standard_normal()
        return np.ones(1, np.float32), float(reward), True, False, {}


gymnasium.register("RingGame-v0", partial(GameEnv))
