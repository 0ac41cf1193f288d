"""Three problems whose true policy gradient has a closed form, and these closed forms.

Importing this module registers the problems with Gymnasium: a grid or a command line can name the task
`experiments.exact:TabularMDP-v0`. The closed forms are those of Sutton & Barto, 2018, ch. 13, and of Sutton et al.,
2000, in float64. In the shapes below, S is the number of states, A of actions, O of observations, and P of the policy's
parameters.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from policy_gradient_ladder.core.policies import Policy

SPREAD = 0.7  # standard deviation of the logits of a random policy
SMALLEST_DIRECTION = 1e-9  # singular values of the scores below this share of the largest count as 0


@dataclass(frozen=True, eq=False)
class Problem:
    """A finite episodic problem: the next state and the reward depend on the state and the action alone."""

    id: str  # as a task: "experiments.exact:TabularMDP-v0"
    title: str
    transitions: np.ndarray  # float64 [S, A, S]; 1 − the sum of a row is the probability that the episode ends
    rewards: np.ndarray  # float64 [S, A], the expected reward
    initial: np.ndarray  # float64 [S], the probability that an episode begins in a state
    observed: np.ndarray  # int [S], the observation that a state shows
    wrong_values: np.ndarray  # float64 [S], a critic that is wrong
    noise: float = 0.0  # standard deviation of the reward's Gaussian noise

    @property
    def observations(self) -> int:
        """O, the number of observations."""
        return int(self.observed.max()) + 1

    def states(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The state, int [T], at each step of one whole episode, from one-hot observations [T, O] and actions int [T].

        Raises ValueError where no episode has such observations and actions, or where several states fit a step.
        """
        (steps,), choices = actions.shape, self.rewards.shape[1]
        if observations.shape != (steps, self.observations) or not ((actions >= 0) & (actions < choices)).all():
            raise ValueError(
                f"an episode of {self.id} has observations [T, {self.observations}] and actions [T] below {choices}, "
                f"not {list(observations.shape)} and {list(actions.shape)} up to {actions.max(initial=0)}"
            )
        candidates, following = self._states_by_observation
        states = []
        for t, (shown, action) in enumerate(zip(observations.argmax(-1).tolist(), actions.tolist(), strict=True)):
            states.append(candidates[shown])
            if states[-1] < 0:
                raise ValueError(f"step {t} of an episode of {self.id}: no one state fits what came before")
            candidates = following[states[-1]][action]
        return np.array(states, np.int64)

    @cached_property
    def _states_by_observation(self) -> tuple[list, list]:
        """The only state that can show an observation, at the first step [O] and after (s, a) [S, A, O].

        −1 stands where no state or several states can show the observation.
        """

        def only(possible: np.ndarray) -> list:
            shows = self.observed[:, None] == np.arange(self.observations)
            state = (possible * np.arange(len(shows))) @ shows
            return np.where(possible.astype(int) @ shows == 1, state, -1).tolist()

        return only(self.initial > 0), only(self.transitions > 0)


def softmax_bandit() -> Problem:
    """One pull of one of five arms.

    The wrong critic's value is above the mean of every arm. An episode has one step, so the critic is only a baseline.
    """
    means = np.array([[1.0, 0.0, 2.0, 0.5, 1.5]])
    one, name = np.ones(1), "experiments.exact:SoftmaxBandit-v0"
    return Problem(name, "softmax bandit", np.zeros((1, 5, 1)), means, one, np.zeros(1, int), 3 * one, noise=1.0)


def tabular_mdp() -> Problem:
    """A chain of five states with a large reward at its far end, after the Chain of Dearden et al., 1998.

    An episode begins in each state with the same probability. Action 0 returns to the first state and pays 1. Action 1
    stays and pays ½. Action 2 goes one state on with probability 0.8; it pays 5 in the last state and 0 in all others.
    After actions 0, 1 and 2 the episode goes on with probability 0.9, 0.8 and 0.9.

    In all states but the last, returning has the largest immediate reward, but going on is better in each. The values
    of the wrong critic fall along the chain, while the true values rise towards its end.
    """
    transitions, rewards = np.zeros((5, 3, 5)), np.tile([1.0, 0.5, 0.0], (5, 1))
    rewards[4, 2] = 5.0
    for state in range(5):
        transitions[state, 0, 0] = 0.9
        transitions[state, 1, state] = 0.8
        transitions[state, 2, min(state + 1, 4)] += 0.9 * 0.8
        transitions[state, 2, state] += 0.9 * 0.2
    wrong = np.array([10.0, 9.0, 8.0, 7.0, 6.0])
    name = "experiments.exact:TabularMDP-v0"
    return Problem(name, "tabular MDP", transitions, rewards, np.full(5, 0.2), np.arange(5), wrong)


def rock_paper_scissors() -> Problem:
    """Rock–paper–scissors against an opponent that plays the move that beats the player's last move.

    States 0, 1 and 2: the player's last move was rock, paper or scissors. State 3: the player has not moved yet, and
    the first round is a draw. An episode ends after each round with probability 1/10.

    The observation is constant, so the policy does not know the player's last move. A deterministic policy loses every
    round but the first. The uniform policy is the best, and its return is 0. (Singh et al., 1994, show that the best
    policy without memory may have to be random.) The wrong critic sees only the observation, so its value is constant.
    """
    transitions, rewards = np.zeros((4, 3, 4)), np.zeros((4, 3))
    transitions[:, range(3), range(3)] = 0.9
    for last in range(3):
        rewards[last, [last, (last + 1) % 3, (last + 2) % 3]] = -1.0, 0.0, 1.0  # against the move last + 1
    begin, wrong = np.eye(4)[3], np.full(4, -1.0)
    name = "experiments.exact:RockPaperScissors-v0"
    return Problem(name, "rock–paper–scissors", transitions, rewards, begin, np.zeros(4, int), wrong)


PROBLEMS = {problem.id: problem for problem in (softmax_bandit(), tabular_mdp(), rock_paper_scissors())}


class ExactEnv(gymnasium.Env):
    """One of PROBLEMS as a Gymnasium environment; `state` is the true state, which the observation may not tell.

    Raises ValueError where PROBLEMS has no problem of that id.
    """

    def __init__(self, problem: str) -> None:
        if problem not in PROBLEMS:
            raise ValueError(f"there is no problem {problem!r}; valid are: {', '.join(PROBLEMS)}")
        self.problem = PROBLEMS[problem]
        self.observation_space = Discrete(self.problem.observations)
        self.action_space = Discrete(self.problem.rewards.shape[1])
        self._begins = self.problem.initial.cumsum().tolist()
        self._goes = self.problem.transitions.cumsum(-1).tolist()
        self._rewards, self._shows = self.problem.rewards.tolist(), self.problem.observed.tolist()
        self._last = len(self._begins) - 1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        """Draw the first state."""
        super().reset(seed=seed)
        self.state = min(bisect_right(self._begins, self.np_random.random()), self._last)  # the sum may be 1 − 1e-16
        return self._shows[self.state], {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        """Draw reward and next state; at the end of an episode, the state stays the last one."""
        reward = self._rewards[self.state][action]
        if self.problem.noise:
            reward += self.problem.noise * self.np_random.standard_normal()
        following = bisect_right(self._goes[self.state][action], self.np_random.random())
        terminated = following > self._last
        self.state = self.state if terminated else following
        return self._shows[self.state], reward, terminated, False, {}


for _problem in PROBLEMS:
    gymnasium.register(_problem.partition(":")[2], ExactEnv, kwargs={"problem": _problem})


def random_policy(problem: Problem, seed: int) -> Policy:
    """A newly initialised policy whose last layer is scaled so that the logits have the standard deviation SPREAD.

    Without the scaling, the policy would be nearly uniform.
    """
    rng = torch.Generator().manual_seed(seed)
    policy = Policy(problem.observations, Discrete(problem.rewards.shape[1]), "clip", rng)
    with torch.no_grad():
        logits = policy(torch.eye(problem.observations)).logits
        policy.network[-1].weight.mul_(SPREAD / logits.std(-1, correction=0).square().mean().sqrt())
    return policy


def action_probabilities(problem: Problem, policy: nn.Module, parameters: dict[str, Tensor] | None = None) -> Tensor:
    """π(a|s), float64 [S, A], differentiable in the parameters.

    `parameters` (by name) take the place of the policy's own parameters. Raises ValueError where the policy and the
    problem differ in the number of actions.
    """
    parameters = parameters or {name: parameter.double() for name, parameter in policy.named_parameters()}
    shown = torch.eye(problem.observations, dtype=torch.float64)[problem.observed]
    probabilities = torch.func.functional_call(policy, parameters, shown).probs
    if probabilities.shape != problem.rewards.shape:
        raise ValueError(f"{problem.id} has [states, actions] {problem.rewards.shape}, not {probabilities.shape}")
    return probabilities


def state_values(problem: Problem, probabilities: np.ndarray, gamma: float) -> np.ndarray:
    """V = (I − γ P_π)⁻¹ r_π, float64 [S]; `probabilities` are π(a|s), float64 [S, A]."""
    rewards = (probabilities * problem.rewards).sum(1)
    return np.linalg.solve(np.eye(len(rewards)) - gamma * _chain(problem, probabilities), rewards)


def action_values(problem: Problem, probabilities: np.ndarray, gamma: float) -> np.ndarray:
    """Q(s,a) = r(s,a) + γ Σ_s' P(s'|s,a) V(s'), float64 [S, A]; `probabilities` are π(a|s), float64 [S, A]."""
    return problem.rewards + gamma * problem.transitions @ state_values(problem, probabilities, gamma)


def expected_visits(problem: Problem, probabilities: np.ndarray) -> np.ndarray:
    """d = (I − P_πᵀ)⁻¹ μ, float64 [S]: the expected number of visits of each state in an episode.

    The sum of d is the mean length of an episode. `probabilities` are π(a|s), float64 [S, A].
    """
    return np.linalg.solve(np.eye(len(problem.initial)) - _chain(problem, probabilities).T, problem.initial)


def expected_gradient(problem: Problem, policy: nn.Module, psi: np.ndarray) -> np.ndarray:
    """Σ_s d(s) Σ_a ∇π(a|s) Ψ(s,a), float64 [P], in the order of the policy's parameters.

    This is the expectation of Σ_t ∇log π(a_t|s_t) Ψ_t over an episode, if E[Ψ_t|s,a] is `psi` (float64 [S, A]).
    """
    parameters, probabilities = _differentiable(problem, policy)
    visits = expected_visits(problem, probabilities.detach().numpy())
    return _gradient((torch.from_numpy(visits[:, None] * psi) * probabilities).sum(), parameters)


def policy_gradient(problem: Problem, policy: nn.Module, gamma: float) -> np.ndarray:
    """Σ_s d(s) Σ_a ∇π(a|s) Q(s,a), float64 [P]: the expectation of REINFORCE's gradient of one episode.

    This is the policy gradient theorem (Sutton et al., 2000, theorem 1). Q is discounted and d is not, as in all
    algorithms of this project; at γ = 1 the result is exactly ∇J.
    """
    probabilities = action_probabilities(problem, policy).detach().numpy()
    return expected_gradient(problem, policy, action_values(problem, probabilities, gamma))


def compatible_values(problem: Problem, policy: nn.Module, gamma: float) -> np.ndarray:
    """f_w(s,a) = w·∇log π(a|s), float64 [S, A], with the w that minimises Σ d(s) π(a|s) (Q(s,a) − f_w(s,a))².

    With f_w in place of Q the policy gradient is the same (Sutton et al., 2000, theorem 2), even where f_w differs
    much from Q.
    """
    parameters, probabilities = _differentiable(problem, policy)
    scores = np.array([_gradient(log_prob, parameters) for log_prob in probabilities.log().flatten()])  # [S A, P]
    probabilities = probabilities.detach().numpy()
    root = np.sqrt(expected_visits(problem, probabilities)[:, None] * probabilities).reshape(-1, 1)
    values = action_values(problem, probabilities, gamma)
    w = np.linalg.lstsq(root * scores, root[:, 0] * values.flatten(), SMALLEST_DIRECTION)[0]
    return (scores @ w).reshape(values.shape)


def _chain(problem: Problem, probabilities: np.ndarray) -> np.ndarray:
    """P_π(s'|s), float64 [S, S]."""
    return np.einsum("sa,sat->st", probabilities, problem.transitions)


def _differentiable(problem: Problem, policy: nn.Module) -> tuple[list[Tensor], Tensor]:
    """The parameters in float64, and the action probabilities [S, A] as a function of them."""
    leaves = {name: p.detach().double().requires_grad_() for name, p in policy.named_parameters()}
    return list(leaves.values()), action_probabilities(problem, policy, leaves)


def _gradient(value: Tensor, parameters: list[Tensor]) -> np.ndarray:
    """∇ value, float64 [P]; the graph stays for a further gradient."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)]).numpy()
