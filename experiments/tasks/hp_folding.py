"""Folding in the HP model: a chain of hydrophobic and polar residues on the square lattice, for the least energy.

Lau & Dill's (1989) model: the energy is −1 for every two H that are neighbours on the lattice and not in the chain. A
grid names a task `experiments.tasks.hp_folding:HPFolding-v0`, which builds a fold residue by residue, or
`…:HPFoldingPivot-v0`, which changes a whole fold by pivot moves (Lal, 1969; Madras & Sokal, 1988).
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

# Sequences of Unger & Moult (1993) with the least energies that are published for them, by their length. The branch and
# bound of tests/test_discovery.py finds the same: of 20 residues in every test, of 24 and 25 in half a minute.
BENCHMARKS = {
    20: ("HPHPPHHPHPPHPHHPPHPH", -9),
    24: ("HHPPHPPHPPHPPHPPHPPHPPHH", -9),
    25: ("PPHPPHHPPPPHHPPPPHHPPPPHH", -8),
}
LETTERS = "HP"
SHORTEST, LONGEST = 3, 1_000  # residues: with fewer than three there is nothing to choose
TURNS = (1, 0, -1)  # quarter turns of the three moves: left, straight on, right
RADIUS = 4  # of the square around the end of the chain that is seen
NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1))
PIVOTS = 50  # moves of an episode


def checked(sequence: str) -> str:
    """A sequence. Raises ValueError, with a sentence, for other letters than H and P, and for too few or too many."""
    if not isinstance(sequence, str) or (others := sorted(set(sequence) - set(LETTERS))):
        what = f"{others[0]!r} in {sequence!r}" if isinstance(sequence, str) else repr(sequence)
        raise ValueError(f"sequence has to consist of the letters H and P, not {what}")
    if not SHORTEST <= len(sequence) <= LONGEST:
        raise ValueError(f"sequence has {len(sequence)} residues; it may have {SHORTEST} to {LONGEST:,}")
    return sequence


def fold(turns: Sequence[int] | np.ndarray) -> np.ndarray:
    """The positions of the residues of a fold, int64 [..., n, 2], of quarter turns [..., n − 2] to the left.

    The first residue is at (0, 0) and the second at (1, 0).
    """
    directions = np.cumsum(turns, axis=-1) % 4
    steps = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[directions]
    begin = np.broadcast_to([[0, 0], [1, 0]], (*steps.shape[:-2], 2, 2))
    return np.concatenate([begin, begin[..., 1:, :] + np.cumsum(steps, axis=-2)], axis=-2)


def energy(sequence: str, positions: np.ndarray) -> int:
    """The energy of a fold: −1 for each two H on neighbouring places that do not follow each other in the chain.

    `positions` is int [n, 2].
    """
    hydrophobic = positions[np.array(list(sequence)) == "H"]
    numbers = np.flatnonzero(np.array(list(sequence)) == "H")
    near = np.abs(hydrophobic[:, None] - hydrophobic).sum(-1) == 1
    return -int(np.triu(near & (np.abs(numbers[:, None] - numbers) > 1)).sum())


class HPFolding(gymnasium.Env[np.ndarray, int]):
    """A chain is an episode and grows at its end, one residue a step: to the left, straight on or to the right.

    The first two residues are there. A residue pays 1 for each contact that it makes, so that the return is minus the
    energy. `info["action_mask"]` forbids places that are taken, and those from which the rest of the chain could not be
    placed: every episode ends with a whole fold.

    The observation, all 0 or 1, has the residues (H, P) on the square of 2 · RADIUS + 1 places around the end of the
    chain, seen in its direction, which residue comes next, and whether each that is to come is H. Raises ValueError for
    a sequence with other letters than H and P.
    """

    def __init__(self, sequence: str = BENCHMARKS[20][0]) -> None:
        self.sequence = checked(sequence)
        self.action_space = Discrete(len(TURNS))
        seen = len(LETTERS) * (2 * RADIUS + 1) ** 2
        self.observation_space = Box(0.0, 1.0, (seen + 2 * len(sequence),), np.float32)
        self._hydrophobic = np.array([letter == "H" for letter in sequence])
        self._begin()

    def _begin(self) -> None:
        n = len(self.sequence)
        self.places: list[tuple[int, int]] = [(0, 0), (1, 0)]
        self.turns: list[int] = []
        self._taken = dict(zip(self.places, self.sequence, strict=False))
        self._direction = (1, 0)
        self._board = np.zeros((len(LETTERS), 2 * (n + RADIUS) + 1, 2 * (n + RADIUS) + 1), np.float32)
        for place, letter in self._taken.items():
            self._draw(place, letter)

    def _draw(self, place: tuple[int, int], letter: str) -> None:
        middle = len(self.sequence) + RADIUS
        self._board[LETTERS.index(letter), middle + place[0], middle + place[1]] = 1.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with the first two residues."""
        super().reset(seed=seed)
        self._begin()
        return self._observation(), {"action_mask": self.action_mask()}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Place the next residue. Raises ValueError for a place that is masked."""
        self._direction = direction = turned(self._direction, TURNS[action])
        end = self.places[-1]
        place = end[0] + direction[0], end[1] + direction[1]
        letter = self.sequence[len(self.places)]
        if place in self._taken:
            raise ValueError(f"residue {len(self.places)} cannot be placed on {place}, where another one is")
        near = sum(self._taken.get((place[0] + x, place[1] + y)) == "H" for x, y in NEIGHBOURS)
        contacts = near - (self.sequence[len(self.places) - 1] == "H") if letter == "H" else 0
        self._taken[place] = letter
        self._draw(place, letter)
        self.places.append(place)
        self.turns.append(TURNS[action])
        whole = len(self.places) == len(self.sequence)
        info = {} if whole else {"action_mask": self.action_mask()}
        return self._observation(), float(contacts), whole, False, info

    def action_mask(self) -> np.ndarray:
        """int8 [3]: 1 where the next residue may be placed so."""
        left = len(self.sequence) - len(self.places) - 1  # residues after the next one
        (x, y), allowed = self.places[-1], np.zeros(len(TURNS), np.int8)
        columns, rows = zip(*self.places, strict=True)
        rectangle = range(min(columns), max(columns) + 1), range(min(rows), max(rows) + 1)
        for i, turn in enumerate(TURNS):
            direction = turned(self._direction, turn)
            allowed[i] = self._fits((x + direction[0], y + direction[1]), left, rectangle, set())
        return allowed

    def _fits(
        self, place: tuple[int, int], left: int, rectangle: tuple[range, range], path: set[tuple[int, int]]
    ) -> bool:
        """Whether a residue fits there, and after it `left` more, beside the chain and the places of a `path`.

        Outside the `rectangle` (columns, rows) that holds the chain there is room for any number.
        """
        if place in self._taken or place in path:
            return False
        x, y = place
        if left == 0 or x not in rectangle[0] or y not in rectangle[1]:
            return True
        path.add(place)
        found = any(self._fits((x + i, y + j), left - 1, rectangle, path) for i, j in NEIGHBOURS)
        path.remove(place)
        return found

    def _observation(self) -> np.ndarray:
        n, middle = len(self.sequence), len(self.sequence) + RADIUS
        x, y = self.places[-1]
        seen = self._board[
            :, middle + x - RADIUS : middle + x + RADIUS + 1, middle + y - RADIUS : middle + y + RADIUS + 1
        ]
        quarters = [(1, 0), (0, 1), (-1, 0), (0, -1)].index(self._direction)
        of_chain = np.zeros((2, n), np.float32)
        of_chain[0, len(self.places) - 1] = 1.0
        of_chain[1, : n - len(self.places)] = self._hydrophobic[len(self.places) :]
        return np.concatenate([np.rot90(seen, -quarters, axes=(1, 2)).ravel(), of_chain.ravel()])


def turned(direction: tuple[int, int], quarters: int) -> tuple[int, int]:
    """A direction after −1, 0 or 1 quarter turns to the left."""
    x, y = direction
    return (-quarters * y, quarters * x) if quarters else direction


class HPFoldingPivot(gymnasium.Env[np.ndarray, int]):
    """A whole fold that is changed by pivot moves, beginning with a straight chain; an episode has 50 of them.

    Action 3 i + k gives joint i the k-th turn (left, straight on, right), and swings all residues behind the joint.
    `info["action_mask"]` forbids moves that change nothing, and those after which two residues are on one place. The
    reward is by how much the energy falls below the least one of the episode until then, so the return is minus the
    least energy.

    The observation, 0 or 1, has the turn of each joint and the residues that make a contact. Raises ValueError for a
    sequence with other letters than H and P.
    """

    def __init__(self, sequence: str = BENCHMARKS[20][0]) -> None:
        self.sequence = checked(sequence)
        joints = len(sequence) - 2
        self.action_space = Discrete(joints * len(TURNS))
        self.observation_space = Box(0.0, 1.0, (joints * len(TURNS) + len(sequence),), np.float32)
        self._hydrophobic = np.array([letter == "H" for letter in sequence])
        self._begin()

    def _begin(self) -> None:
        self.turns = np.zeros(len(self.sequence) - 2, np.int64)
        self.least = 0
        self._mask = self.action_mask()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with a straight chain."""
        super().reset(seed=seed)
        self._begin()
        return self._observation(), {"action_mask": self._mask}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Swing the end of the chain. Raises ValueError for a move that is masked."""
        if not self._mask[action]:
            raise ValueError(f"move {action} changes nothing, or leaves two residues on one place")
        joint, turn = divmod(int(action), len(TURNS))
        self.turns[joint] = TURNS[turn]
        self._mask = self.action_mask()
        found = energy(self.sequence, fold(self.turns))
        gain, self.least = max(0, self.least - found), min(self.least, found)
        return self._observation(), float(gain), False, False, {"action_mask": self._mask}

    def action_mask(self) -> np.ndarray:
        """int8 [3 joints]: 1 where a move is possible."""
        joints = len(self.turns)
        after = np.tile(self.turns, (joints, len(TURNS), 1))  # of each move, the turns of all joints
        after[np.arange(joints), :, np.arange(joints)] = TURNS
        positions = fold(after)
        places = np.sort(positions @ [4 * len(self.sequence), 1], axis=-1)
        free = (np.diff(places, axis=-1) != 0).all(-1)
        return (free & (self.turns[:, None] != TURNS)).ravel().astype(np.int8)

    def _observation(self) -> np.ndarray:
        shown = self.turns[:, None] == TURNS
        positions = fold(self.turns)
        near = np.abs(positions[:, None] - positions).sum(-1) == 1
        numbers = np.arange(len(self.sequence))
        contacts = near & (np.abs(numbers[:, None] - numbers) > 1) & self._hydrophobic & self._hydrophobic[:, None]
        return np.concatenate([shown.ravel(), contacts.any(0)]).astype(np.float32)


gymnasium.register("HPFolding-v0", HPFolding, max_episode_steps=LONGEST)  # never reached
gymnasium.register("HPFoldingPivot-v0", HPFoldingPivot, max_episode_steps=PIVOTS)
