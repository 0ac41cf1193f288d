"""Rock–paper–scissors, also with more moves, against an opponent that exploits what the player did most.

`experiments/exact.py` has the same game against the move that beats the last one; here the opponent is that of
fictitious play (Brown, 1951), which no rhythm of the player's fools for long. A grid names a task
`experiments.tasks.game:RockPaperScissors3-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

ROUNDS = 50  # of an episode
MOVES = (3, 5, 7)  # of the registered tasks


def payoffs(moves: int) -> np.ndarray:
    """What move i gets against move j, float64 [m, m]: each beats the (m − 1) / 2 before it, in a ring.

    Of three moves: rock, paper, scissors. The game is fair: rows and columns sum to 0, and payoffs = −payoffsᵀ.
    """
    ahead = np.subtract.outer(np.arange(moves), np.arange(moves)) % moves  # how far i is ahead of j
    return np.where(ahead == 0, 0.0, np.where(ahead <= moves // 2, 1.0, -1.0))


class Game(gymnasium.Env[int, int]):
    """50 rounds of a game of `moves` moves (an odd number from 3) in a ring.

    The opponent answers the frequencies of the player's moves in the episode until now with a best response, of several
    with a random one; in the first round it moves at random. The observation is constant. So a player who draws its
    moves from the uniform distribution has a return of 0 in the mean, whatever the opponent does; one who always makes
    the same move loses every round but the first: −49. Raises ValueError for an even number of moves.
    """

    def __init__(self, moves: int = 3) -> None:
        if moves < 3 or moves % 2 == 0:
            raise ValueError(f"moves must be an odd number from 3, not {moves}")
        self.observation_space = Discrete(1)
        self.action_space = Discrete(moves)
        self.payoffs = payoffs(moves)
        self.counts = np.zeros(moves)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Forget the player's moves."""
        super().reset(seed=seed)
        self.counts[:] = 0.0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Play a round."""
        values = self.payoffs @ self.counts  # of each of the opponent's moves, against all that the player did
        best = np.flatnonzero(values == values.max())
        answer = best[self.np_random.integers(len(best))]
        self.counts[action] += 1
        return 0, float(self.payoffs[action, answer]), False, False, {}


for _moves in MOVES:
    gymnasium.register(f"RockPaperScissors{_moves}-v0", Game, kwargs={"moves": _moves}, max_episode_steps=ROUNDS)
