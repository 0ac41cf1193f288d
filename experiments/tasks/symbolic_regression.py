"""Symbolic regression: an expression is built token by token until it is whole, and pays for how well it fits.

As Petersen et al. (2021), “Deep symbolic regression”, have it: tokens in prefix order, masks for what an expression may
not have, and the inverse normalised error as reward. Formulas are those of `symbolic_regression.csv`, Nguyen 1 to 12 of
Uy et al. (2011) with the ranges and numbers of points of Petersen et al.'s table, or of a file of the same columns. A
grid names the task `experiments.tasks.symbolic_regression:SymbolicRegression-v0`.
"""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

NGUYEN = Path(__file__).with_suffix(".csv")
COLUMNS = ("name", "formula", "tokens", "low", "high", "points")
BINARY: dict[str, Callable[..., Any]] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
UNARY: dict[str, Callable[..., Any]] = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log}
OPERATORS = BINARY | UNARY
ARITIES = dict.fromkeys(BINARY, 2) | dict.fromkeys(UNARY, 1)  # of every other token, a variable or a number, 0
VARIABLES = ("x", "y")
TRIGONOMETRIC = ("sin", "cos")
INVERSES = {"exp": "log", "log": "exp"}
LONGEST = 1_000  # tokens of an expression, and so steps of an episode, at most
SEED = 2011  # of the points: they are the task, and the same in every run
Score = Literal["inverse_nrmse", "r2"]
Lengths = Literal["longest", "drawn"]


@dataclass(frozen=True)
class Formula:
    """A formula of a set: what is to be found, and at how many points between `low` and `high` it is known."""

    name: str
    tokens: tuple[str, ...]  # in prefix order
    low: float
    high: float
    points: int

    @property
    def variables(self) -> tuple[str, ...]:
        """Those that it depends on: x, or x and y."""
        return VARIABLES if "y" in self.tokens else VARIABLES[:1]

    def inputs(self) -> dict[str, np.ndarray]:
        """The points by variable, float64 [points] each, uniform between `low` and `high`."""
        drawn = np.random.default_rng(SEED).uniform(self.low, self.high, (len(self.variables), self.points))
        return dict(zip(self.variables, drawn, strict=True))


class Place(NamedTuple):
    """A place of an expression for which no token is chosen yet."""

    parent: int | None  # the number of the token that it is an operand of
    sibling: int | None  # of the token that the operand before it begins with
    within: bool  # whether it is within sin or cos
    first_of_two: bool = False


class InvalidFormulas(ValueError):
    """A set of formulas that cannot be read."""


def evaluate(tokens: Sequence[str], inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The values of an expression in prefix order at points, float64 [points]; NaN and infinity where it has none.

    `inputs` has [points] for each variable. Raises ValueError where the tokens are no whole expression.
    """
    stack: list[Any] = []
    with np.errstate(all="ignore"):
        for token in reversed(tokens):
            if operator := OPERATORS.get(token):
                if len(stack) < ARITIES[token]:
                    raise ValueError(f"the tokens {' '.join(tokens)!r} end before the expression does")
                stack.append(operator(*(stack.pop() for _ in range(ARITIES[token]))))
            else:
                stack.append(inputs[token] if token in inputs else _number(token))
    if len(stack) != 1:
        raise ValueError(f"the tokens {' '.join(tokens)!r} are {len(stack)} expressions, not one")
    return np.broadcast_to(stack[0], next(iter(inputs.values())).shape)


def _number(token: str) -> float:
    try:
        return float(token)
    except ValueError:
        known = ", ".join((*OPERATORS, *VARIABLES))
        raise ValueError(f"{token!r} is no token; tokens are {known} and numbers") from None


def read_formulas(path: Path = NGUYEN) -> dict[str, Formula]:
    """The formulas of a CSV file by name. Raises InvalidFormulas, with a sentence, where it cannot be read.

    Its columns are `name`, `formula` (for people), `tokens` (what is to be found, in prefix order), and the numbers
    `low`, `high` and `points`.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidFormulas(f"the formulas {path} cannot be read: {why}") from error
    if lacking := [name for name in COLUMNS if name not in columns]:
        raise InvalidFormulas(f"the formulas {path} have no column {lacking[0]!r}; columns are {', '.join(COLUMNS)}")
    formulas: dict[str, Formula] = {}
    for line, row in enumerate(rows, start=2):
        try:
            tokens, points = tuple((row["tokens"] or "").split()), int(row["points"])
            found = Formula(row["name"], tokens, float(row["low"]), float(row["high"]), points)
            values = evaluate(found.tokens, found.inputs())
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidFormulas(f"line {line} of the formulas {path}: {error}") from error
        if not np.isfinite(values).all() or values.min(initial=np.inf) == values.max(initial=-np.inf):
            raise InvalidFormulas(f"line {line} of the formulas {path}: {row['formula']} is constant, or not finite")
        formulas[found.name] = found
    return formulas


class SymbolicRegression(gymnasium.Env[np.ndarray, int]):
    """One expression is an episode, and one token a step; all is paid when the expression is whole.

    Tokens are +, −, ×, ÷, sin, cos, exp, log and the variables of the `formula`; ÷ and log are not protected. The
    return of an expression of l tokens with the values ŷ is 1 / (1 + NRMSE) − `complexity` · l, where NRMSE is
    √mean (y − ŷ)² over the deviation of y; with `score` r2 it is max(0, 1 − NRMSE²) − `complexity` · l. Without a
    finite value at every point the score is 0. The best return is at least 1 − `complexity` · `max_length`, that of a
    formula found. `complexity` is small by default, so that such a return tells what fits from what nearly does.

    `info["action_mask"]` forbids what could not be finished within the longest length, what would end before
    `min_length`, sin and cos within sin and cos, and exp and log right within each other, as Petersen et al. have it.
    The longest length is `max_length`, and with `lengths` drawn another one in each episode, uniform from
    `min_length` + 1 to `max_length`: where all allowed tokens are equally likely, nine of ten expressions have the
    longest length, and random search would hardly see a short one.

    The observation, 0 or 1 but for the last three numbers, has the tokens so far, those of the parent and of the
    sibling of the next token, and how many tokens are open, are there and may be there, as shares of `max_length`.

    formula: a name in the set. formulas: a CSV file as `read_formulas` has it, relative to the working directory; None
    is the shipped one. Raises InvalidFormulas where the set cannot be read, and ValueError for other arguments that
    cannot be used, in one sentence.
    """

    def __init__(
        self,
        formula: str = "Nguyen-1",
        formulas: str | None = None,
        max_length: int = 30,
        min_length: int = 4,
        lengths: Lengths = "longest",
        score: Score = "inverse_nrmse",
        complexity: float = 1e-6,
    ) -> None:
        known = read_formulas(NGUYEN if formulas is None else Path(formulas))
        if formula not in known:
            raise ValueError(f"there is no formula {formula!r}; there are {', '.join(known)}")
        if not 1 <= min_length < max_length <= LONGEST:
            raise ValueError(
                f"min_length and max_length must be two numbers from 1 to {LONGEST:,}, the second one larger, not "
                f"{min_length} and {max_length}"
            )
        for name, value, valid in (("score", score, get_args(Score)), ("lengths", lengths, get_args(Lengths))):
            if value not in valid:
                raise ValueError(f"{name} must be {' or '.join(valid)}, not {value!r}")
        if not 0 <= complexity < math.inf:
            raise ValueError(f"complexity must be a finite number from 0, not {complexity}")
        self.formula = known[formula]
        self.inputs = self.formula.inputs()
        self.targets = evaluate(self.formula.tokens, self.inputs)
        self.tokens = (*OPERATORS, *self.formula.variables)
        self.max_length, self.min_length, self.lengths = max_length, min_length, lengths
        self.score, self.complexity = score, complexity
        self._arities = np.array([ARITIES.get(token, 0) for token in self.tokens])
        self._trigonometric = np.isin(self.tokens, TRIGONOMETRIC)
        self._deviation = float(self.targets.std())
        count = len(self.tokens)
        self.action_space = Discrete(count)
        self.observation_space = Box(0.0, 1.0, ((max_length + 2) * count + 3,), np.float32)
        self._begin()

    def _begin(self) -> None:
        self.longest = self.max_length
        if self.lengths == "drawn":
            self.longest = int(self.np_random.integers(self.min_length + 1, self.max_length + 1))
        self.chosen: list[str] = []
        self._open = [Place(None, None, False)]  # the next one last
        self._shown = np.zeros((self.max_length, len(self.tokens)), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an expression."""
        super().reset(seed=seed)
        self._begin()
        return self._observation(), {"action_mask": self.action_mask()}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take the next token. Raises ValueError for one that is masked."""
        if not self.action_mask()[action]:
            raise ValueError(f"the token {self.tokens[action]} is masked after {' '.join(self.chosen) or 'nothing'}")
        place = self._open.pop()
        if place.first_of_two:
            self._open[-1] = self._open[-1]._replace(sibling=int(action))
        arity, within = int(self._arities[action]), place.within or bool(self._trigonometric[action])
        self._open += [Place(int(action), None, within, first_of_two=i > 0) for i in range(arity)]
        self._shown[len(self.chosen), action] = 1.0
        self.chosen.append(self.tokens[action])
        if self._open:
            return self._observation(), 0.0, False, False, {"action_mask": self.action_mask()}
        return self._observation(), self.reward(self.chosen), True, False, {}

    def _observation(self) -> np.ndarray:
        relatives = np.zeros((2, len(self.tokens)), np.float32)
        for row, relative in enumerate(self._open[-1][:2] if self._open else ()):
            if relative is not None:
                relatives[row, relative] = 1.0
        shares = np.array([len(self._open), len(self.chosen), self.longest], np.float32) / self.max_length
        return np.concatenate([self._shown.ravel(), relatives.ravel(), shares], dtype=np.float32)

    def action_mask(self) -> np.ndarray:
        """int8 [tokens]: 1 where the next token may be this one."""
        parent, within = self._open[-1].parent, self._open[-1].within
        length, still_open = len(self.chosen) + 1, len(self._open) - 1 + self._arities
        allowed = length + still_open <= self.longest
        if length < self.min_length:
            allowed &= still_open > 0
        if within:
            allowed &= ~self._trigonometric
        if parent is not None and (inverse := INVERSES.get(self.tokens[parent])):
            allowed[self.tokens.index(inverse)] = False
        return allowed.astype(np.int8)

    def reward(self, tokens: Sequence[str]) -> float:
        """What a whole expression pays, also one that masks would forbid."""
        fit = self.inverse_nrmse(evaluate(tokens, self.inputs), self.targets)
        if self.score == "r2":
            fit = max(0.0, 1 - (1 / fit - 1) ** 2) if fit > 0 else 0.0
        return fit - self.complexity * len(tokens)

    def inverse_nrmse(self, values: np.ndarray, targets: np.ndarray) -> float:
        """1 / (1 + NRMSE) of values [n] in place of targets [n], by the deviation of the formula; 0 where one of them
        is not finite.
        """
        with np.errstate(all="ignore"):
            error = float(np.sqrt(np.mean(np.square(targets - values)))) / self._deviation
        return 1 / (1 + error) if math.isfinite(error) else 0.0


gymnasium.register("SymbolicRegression-v0", SymbolicRegression, max_episode_steps=LONGEST + 1)  # never reached
