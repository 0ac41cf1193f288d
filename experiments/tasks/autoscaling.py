"""Servers for a day of requests under a latency objective: money says run hot, the objective says keep room.

The servers are an M/M/c queue whose waits are Erlang's (1917). Requests do not depend on the actions, so the best
policy under any penalty on violations, or any limit of them, is known: `best_servers` and `best_day`. A grid names the
task `experiments.tasks.autoscaling:Autoscaling-v0`.
"""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

SERVERS = 20
SERVICE_RATE = 10.0  # requests that a server works off in a second
PATIENCE = 0.1  # seconds that a request may wait: as long as its service takes in the mean
LATE = 0.05  # the share of requests that may wait longer
STEPS = 96  # of a quarter of an hour each
MEAN_RATE = 50.0  # requests a second
EARNED, PAID = 0.02, 0.1  # by a request a second that is served; for a server; both over a quarter of an hour
KEPT, SURPRISE = 0.7, 0.25  # x' = KEPT x + SURPRISE · noise, where x is the logarithm of the rate over the usual one
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()  # of the standard normal distribution


def usual_rate(step: int) -> float:
    """Requests a second that are usual in an interval of the day: two waves, lowest at 4 and highest at 19 o'clock."""
    hour = 24 * step / STEPS
    daily, half_daily = math.cos(math.tau * (hour - 17) / 24), math.cos(2 * math.tau * (hour - 10) / 24)
    return MEAN_RATE * (1 + 0.45 * daily + 0.15 * half_daily)


def late(rate: float, servers: int) -> float:
    """The share of requests that wait longer than PATIENCE in an M/M/c queue (Erlang C); 1 where it only grows."""
    load, blocked = rate / SERVICE_RATE, 1.0
    if load >= servers:
        return 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)  # Erlang B
    waits = blocked / (1 - load / servers * (1 - blocked))
    return waits * math.exp(-(servers * SERVICE_RATE - rate) * PATIENCE)


def capacity(servers: int) -> float:
    """The highest rate at which no more than LATE of the requests wait longer than PATIENCE, by bisection."""
    low, high = 0.0, servers * SERVICE_RATE
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if late(middle, servers) <= LATE else (low, middle)
    return low


CHOICES = np.arange(1, SERVERS + 1)
CAPACITIES = np.array([capacity(int(servers)) for servers in CHOICES])


class Autoscaling(gymnasium.Env[np.ndarray, np.ndarray]):
    """A day of 96 quarters of an hour. The action, 0 to 19, is one less than the servers of the next quarter.

    Servers take until then to start: the action is chosen before the quarter's rate of requests is known. The
    observation is the usual rate of that quarter over 50, the logarithm x of the last rate over its usual one, and
    sine and cosine of the time of day. The reward is 0.02 for each request a second that is served, less 0.1 for each
    server; requests beyond what all servers work off are lost. The cost is 1 where more than 5 % of the requests wait
    longer than 0.1 s (a violation), which info has as `late`, and 0 otherwise.
    """

    def __init__(self) -> None:
        bounds = np.array([2.0, 10.0, 1.0, 1.0], np.float32)  # 10: some 30 deviations
        self.observation_space = Box(-bounds, bounds, dtype=np.float32)
        self.action_space = Discrete(SERVERS)
        self.now, self.unusual = 0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at midnight."""
        super().reset(seed=seed)
        self.now, self.unusual = 0, float(self.np_random.normal(0, SURPRISE / math.sqrt(1 - KEPT**2)))
        return self._shown(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """A quarter of an hour."""
        servers = int(action) + 1
        self.unusual = KEPT * self.unusual + SURPRISE * float(self.np_random.standard_normal())
        rate = usual_rate(self.now) * math.exp(self.unusual)
        reward = EARNED * min(rate, servers * SERVICE_RATE) - PAID * servers
        self.now += 1
        info = {"cost": float(rate > CAPACITIES[servers - 1]), "late": late(rate, servers)}
        return self._shown(), reward, False, False, info

    def _shown(self) -> np.ndarray:
        time = math.tau * self.now / STEPS
        shown = [usual_rate(self.now) / MEAN_RATE, self.unusual, math.sin(time), math.cos(time)]
        return np.array(shown, np.float32)


def expected(step: int, unusual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The expected reward and cost of each number of servers, [n, 20] each, after x = `unusual` [n]."""
    means = math.log(usual_rate(step)) + KEPT * unusual[:, None]  # of the logarithm of the rate
    served = np.minimum(np.exp(means + SURPRISE * NODES)[:, :, None], SERVICE_RATE * CHOICES)
    beyond = (np.log(CAPACITIES) - means) / (SURPRISE * math.sqrt(2))
    return EARNED * np.einsum("m,nmk->nk", WEIGHTS, served) - PAID * CHOICES, np.vectorize(math.erfc)(beyond) / 2


def best_servers(step: int, unusual: np.ndarray, penalty: float) -> np.ndarray:
    """The numbers of servers, [n], with the most reward − penalty · cost: no policy has more of it."""
    rewards, costs = expected(step, unusual)
    best: np.ndarray = CHOICES[np.argmax(rewards - penalty * costs, axis=1)]
    return best


def best_day(penalty: float) -> tuple[float, float]:
    """The expected return and cost of a day of the best policy where a violation costs `penalty`.

    No policy with at most this cost has a higher return (Lagrangian duality; Altman, 1999).
    """
    total, unusual = np.zeros(2), NODES * SURPRISE / math.sqrt(1 - KEPT**2)
    for step in range(STEPS):
        chosen = best_servers(step, unusual, penalty) - 1
        total += [WEIGHTS @ of[np.arange(len(NODES)), chosen] for of in expected(step, unusual)]
    return float(total[0]), float(total[1])


gymnasium.register("Autoscaling-v0", Autoscaling, max_episode_steps=STEPS)
