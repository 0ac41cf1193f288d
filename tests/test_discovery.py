"""Discovery: expressions and folds against other computations, the risk-seeking gradient, and what counts as found."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import sympy

from algorithms.core.algorithm import InvalidSetting
from algorithms.core.rollout import collect
from algorithms.core.run_check import checked_training
from algorithms.core.task import Task, UnsupportedTask, make_env
from algorithms.genetic_programming import GeneticProgramming
from algorithms.reinforce import Reinforce
from algorithms.risk_seeking import RiskSeeking
from analysis.reading.grid import read_grid
from analysis.sections.claims.verdicts import METRICS, effect_of_runs
from analysis.sections.discovery import sentences, tables
from analysis.statistics.shares import difference_of_shares, share_interval
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.random_score import random_returns
from experiments.tasks.hp_folding import BENCHMARKS, HPFolding, HPFoldingPivot, energy, fold
from experiments.tasks.symbolic_regression import (
    INVERSES,
    NGUYEN,
    OPERATORS,
    TRIGONOMETRIC,
    InvalidFormulas,
    SymbolicRegression,
    evaluate,
    read_formulas,
)
from tests.analysis_fixtures import write_grid, write_runs
from tests.tasks import make_learner, random_rollout

FORMULAS = "experiments.tasks.symbolic_regression:SymbolicRegression-v0"
FOLDS = "experiments.tasks.hp_folding:HPFolding-v0"
NAMES = [f"Nguyen-{number}" for number in range(1, 13)]
X, Y = sympy.symbols("x y", positive=True)
IN_SYMPY = {
    "add": sympy.Add,
    "sub": lambda a, b: a - b,
    "mul": sympy.Mul,
    "div": lambda a, b: a / b,
    **{name: getattr(sympy, name) for name in ("sin", "cos", "exp", "log")},
}


IN_NUMPY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    **{name: getattr(np, name) for name in ("sin", "cos", "exp", "log")},
}


def recursive(tokens, operators, leaves):
    """The expression that the first tokens are, by recursion from the front, and the tokens that are left."""
    first, *rest = tokens
    if first not in operators:
        return leaves[first], rest
    operands = []
    for _ in range(1 if first in ("sin", "cos", "exp", "log") else 2):
        operand, rest = recursive(rest, operators, leaves)
        operands.append(operand)
    return operators[first](*operands), rest


def play(env, rng, choose=None):
    """One episode by allowed actions: its return and how many steps it took."""
    _, info = env.reset(seed=int(rng.integers(1_000_000)))
    total = steps = 0
    ended = False
    while not ended:
        allowed = np.flatnonzero(info["action_mask"])
        assert len(allowed), "a dead end"
        _, reward, terminated, truncated, info = env.step(choose() if choose else rng.choice(allowed))
        total, steps, ended = total + reward, steps + 1, terminated or truncated
    return total, steps


# ---------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("name", NAMES)
def test_tokens_of_each_formula_are_the_formula_itself(name):
    """The column `formula` is read by SymPy, which knows nothing of the tokens."""
    row = pd.read_csv(NGUYEN).set_index("name").loc[name]
    formula = sympy.sympify(row["formula"], locals={"x": X, "y": Y})
    built, left = recursive(row["tokens"].split(), IN_SYMPY, {"x": X, "y": Y})
    assert left == []
    assert sympy.simplify(sympy.expand_log(built - formula, force=True)) == 0
    points = read_formulas()[name].inputs()
    direct = sympy.lambdify([X, Y], formula, "numpy")(points["x"], points.get("y"))
    np.testing.assert_allclose(evaluate(row["tokens"].split(), points), direct, rtol=1e-12)
    assert all((row["low"] <= x).all() and (x <= row["high"]).all() and len(x) == 20 for x in points.values())


@pytest.mark.parametrize("name", NAMES)
def test_each_formula_can_be_built_and_is_then_worth_the_most(name):
    for score in ("inverse_nrmse", "r2"):
        env = SymbolicRegression(name, score=score)
        _, info = env.reset()
        total = 0.0
        for token in env.formula.tokens:
            action = env.tokens.index(token)
            assert info["action_mask"][action]
            observation, reward, terminated, _, info = env.step(action)
            assert env.observation_space.contains(observation)
            total += reward
        assert terminated
        assert total == pytest.approx(1 - 1e-6 * len(env.formula.tokens), abs=1e-12)
        assert total >= 0.99997  # what the grids call found


def test_random_expressions_have_the_values_of_a_recursion():
    env, rng = SymbolicRegression("Nguyen-9", max_length=12), np.random.default_rng(3)
    finite = 0
    for _ in range(50):
        play(env, rng)
        with np.errstate(all="ignore"):
            expected, left = recursive(env.chosen, IN_NUMPY, env.inputs)
        assert left == []
        found = evaluate(env.chosen, env.inputs)
        np.testing.assert_array_equal(found, expected)
        finite += np.isfinite(found).all()
    assert finite > 12


def test_the_return_is_the_fit_less_the_complexity():
    env = SymbolicRegression("Nguyen-1", complexity=0.01)
    y, x = env.targets, env.inputs["x"]
    error = np.sqrt(np.mean((y - x * x) ** 2)) / np.std(y)
    assert env.reward(["mul", "x", "x"]) == pytest.approx(1 / (1 + error) - 0.03)
    squared = SymbolicRegression("Nguyen-1", complexity=0.01, score="r2")
    assert squared.reward(["mul", "x", "x"]) == pytest.approx(max(0, 1 - error**2) - 0.03)
    assert env.reward(["log", "x"]) == -0.02  # of negative numbers: not finite
    bad = 1 - np.mean((y - np.exp(np.exp(x))) ** 2) / np.var(y)
    assert bad < 0
    assert squared.reward(["exp", "exp", "x"]) == -0.03


@pytest.mark.parametrize("lengths", ["longest", "drawn"])
@pytest.mark.parametrize(("shortest", "longest"), [(1, 2), (4, 5), (4, 12), (9, 10)])
def test_masks_keep_to_the_lengths_and_never_leave_a_dead_end(lengths, shortest, longest):
    env = SymbolicRegression("Nguyen-9", min_length=shortest, max_length=longest, lengths=lengths)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        play(env, rng)
        assert shortest <= len(env.chosen) <= env.longest <= longest
        seen.add(env.longest)
        assert_grammar(env.chosen)
    assert seen <= (set(range(shortest + 1, longest + 1)) if lengths == "drawn" else {longest})
    assert len(seen) > 1 or lengths == "longest" or longest == shortest + 1


def assert_grammar(tokens):
    """No sin or cos within another one, no exp of log and no log of exp, by recursion."""

    def walk(rest, parent, within):
        first, *rest = rest
        assert INVERSES.get(parent) != first
        assert not (within and first in TRIGONOMETRIC)
        arity = 0 if first not in OPERATORS else 1 if first in ("sin", "cos", "exp", "log") else 2
        for _ in range(arity):
            rest = walk(rest, first, within or first in TRIGONOMETRIC)
        return rest

    assert walk(tokens, None, False) == []


def test_the_observation_shows_the_tokens_the_parent_and_the_sibling():
    env = SymbolicRegression("Nguyen-9", max_length=10)
    env.reset()
    for token in ("mul", "sin", "x"):
        observation, *_ = env.step(env.tokens.index(token))
    names = env.tokens
    shown, relatives = observation[: 12 * len(names)].reshape(12, -1)[:10], observation[10 * len(names) : -3]
    assert [names[i] for i in shown[:3].argmax(1)] == ["mul", "sin", "x"]
    assert shown[3:].sum() == 0
    parent, sibling = relatives.reshape(2, -1)
    assert (names[parent.argmax()], names[sibling.argmax()]) == ("mul", "sin")
    assert observation[-3:].tolist() == pytest.approx([0.1, 0.3, 1.0])
    env.step(names.index("exp"))
    with pytest.raises(ValueError, match="the token log is masked after mul sin x exp"):
        env.step(names.index("log"))


SET = "name,formula,tokens,low,high,points\n"
BAD_SETS = {
    "missing": (None, "No such file or directory"),
    "columns": ("name,tokens\na,x\n", "have no column 'formula'"),
    "token": (SET + "a,x!,mul x z,0,1,5\n", "line 2 of the formulas .*: 'z' is no token; tokens are add, sub"),
    "short": (SET + "a,x,mul x,0,1,5\n", "line 2 .* end before the expression does"),
    "long": (SET + "a,x,x x,0,1,5\n", "line 2 .* are 2 expressions, not one"),
    "number": (SET + "a,x,x,zero,1,5\n", "line 2 .*: could not convert string to float: 'zero'"),
    "points": (SET + "a,x,x,0,1,many\n", "line 2 .*: invalid literal"),
    "constant": (SET + "a,1,div x x,0,1,5\n", "line 2 .*: 1 is constant, or not finite"),
    "cut": (SET + "a,x\n", "line 2 of the formulas"),
}


@pytest.mark.parametrize("name", BAD_SETS)
def test_a_set_of_formulas_that_cannot_be_read_is_a_sentence(name, tmp_path):
    text, said = BAD_SETS[name]
    path = tmp_path / "formulas.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidFormulas, match=said):
        read_formulas(path)
    with pytest.raises(UnsupportedTask, match=r"formulas\.csv") as refused:
        make_env(Task(FORMULAS, kwargs={"formula": "a", "formulas": str(path)}))
    assert "\n" not in str(refused.value)


def test_another_set_of_formulas_is_read(tmp_path):
    path = tmp_path / "formulas.csv"
    path.write_text(SET + "half,x/2,mul 0.5 x,0,1,7\n")
    env = SymbolicRegression("half", str(path), max_length=6)
    np.testing.assert_allclose(env.targets, env.inputs["x"] / 2)
    assert env.targets.shape == (7,)
    assert env.reward(["div", "x", "add", "div", "x", "x", "div", "x", "x"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="there is no formula 'Nguyen-1'; there are half"):
        SymbolicRegression("Nguyen-1", str(path))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"formula": "Nguyen-13"}, "there is no formula 'Nguyen-13'; there are Nguyen-1, "),
        ({"max_length": 4}, "the second one larger, not 4 and 4"),
        ({"score": "mse"}, "score must be inverse_nrmse or r2, not 'mse'"),
        ({"lengths": "short"}, "lengths must be longest or drawn, not 'short'"),
        ({"complexity": -1}, "complexity must be a finite number from 0, not -1"),
    ],
)
def test_arguments_that_cannot_be_used_are_a_sentence(kwargs, said):
    with pytest.raises(UnsupportedTask, match=said):
        make_env(Task(FORMULAS, kwargs=kwargs))


# ---------------------------------------------------------------------------------------------- folds


def walks(n):
    """Every self-avoiding walk of n places that begins (0, 0), (1, 0), by adding neighbours."""
    paths = [[(0, 0), (1, 0)]]
    for _ in range(n - 2):
        paths = [
            [*path, (path[-1][0] + i, path[-1][1] + j)]
            for path in paths
            for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1))
            if (path[-1][0] + i, path[-1][1] + j) not in path
        ]
    return paths


def slow_energy(sequence, places):
    """Pair by pair."""
    return -sum(
        sequence[a] == sequence[b] == "H" and abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) == 1
        for a, b in itertools.combinations(range(len(sequence)), 2)
        if b - a > 1
    )


HANDMADE = [  # a square has one contact, a U of six two, a straight chain none
    ("HHHH", (1, 1), -1),
    ("HPPH", (1, 1), -1),
    ("HPHP", (1, 1), 0),
    ("HHHHHH", (0, 1, 1, 0), -2),
    ("HHHHHHHH", (0,) * 6, 0),
    ("HHHHHHHHH", (1, 1, 0, -1, -1, 0, 0), -4),  # a square of 3 × 3, S-shaped
]


@pytest.mark.parametrize(("sequence", "turns", "expected"), HANDMADE)
def test_energies_of_folds_made_by_hand(sequence, turns, expected):
    env = HPFolding(sequence)
    env.reset()
    if sequence != "HHHHHHHHH":
        total = sum(env.step((1, 0, -1).index(turn))[1] for turn in turns)
        assert -total == expected
    else:
        turns = (0, 1, 1, 0, -1, -1, 0)
        assert -sum(env.step((1, 0, -1).index(turn))[1] for turn in turns) == expected
    places = fold(turns)
    assert energy(sequence, places) == slow_energy(sequence, places.tolist()) == expected
    assert places.tolist() == [list(place) for place in env.places]


@pytest.mark.parametrize("sequence", ["HHH", "HPHPH", "HPPHPPH", "HHPPHPPH", "HPHPPHHPH"])
def test_masks_allow_every_fold_and_the_best_is_that_of_enumeration(sequence):
    """All episodes that the masks allow, against all self-avoiding walks."""
    found, waiting = {}, [()]
    env = HPFolding(sequence)
    while waiting:
        actions = waiting.pop()
        _, info = env.reset()
        total = 0.0
        for action in actions:
            _, reward, ended, _, info = env.step(action)
            total += reward
        if len(actions) == len(sequence) - 2:
            assert ended
            found[tuple(env.places)] = -total
        else:
            allowed = np.flatnonzero(info["action_mask"])
            assert len(allowed)  # the shortest dead end is of eight places
            waiting += [(*actions, action) for action in allowed]
    expected = {tuple(walk): slow_energy(sequence, walk) for walk in walks(len(sequence))}
    assert found == expected
    assert min(found.values()) == min(expected.values())


def least_energy(sequence):
    """The least energy by branch and bound: an H to come makes two contacts at most, the last one three."""
    n, best = len(sequence), 0
    to_come = [sum(2 + (k == n - 1) for k in range(i, n) if sequence[k] == "H") for i in range(n + 1)]
    taken = {(0, 0): 0, (1, 0): 1}

    def grow(i, x, y, contacts, bent):
        nonlocal best
        best = max(best, contacts)
        if i == n or contacts + to_come[i] <= best:
            return
        moves = []
        for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            place = (x + dx, y + dy)
            if place not in taken and (bent or dy >= 0):  # the mirror image of the first bend is left out
                around = ((place[0] + 1, place[1]), (place[0] - 1, place[1]), (place[0], place[1] + 1))
                around += ((place[0], place[1] - 1),)
                h = sequence[i] == "H"
                gain = sum(sequence[taken[q]] == "H" for q in around if taken.get(q, i - 1) != i - 1) if h else 0
                moves.append((gain, place, bent or dy != 0))
        for gain, place, now_bent in sorted(moves, reverse=True):
            taken[place] = i
            grow(i + 1, *place, contacts + gain, now_bent)
            del taken[place]

    grow(2, 1, 0, 0, False)
    return -best


def test_the_bound_finds_the_least_energy_of_short_sequences_and_the_published_one_of_twenty():
    for sequence in ("HPHPPHHPH", "HHPPHPPH"):
        assert least_energy(sequence) == min(slow_energy(sequence, walk) for walk in walks(len(sequence)))
    sequence, published = BENCHMARKS[20]
    assert least_energy(sequence) == published


@pytest.mark.parametrize("cls", [HPFolding, HPFoldingPivot])
@pytest.mark.parametrize("length", BENCHMARKS)
def test_no_fold_beats_the_published_energy_and_no_mask_is_a_dead_end(cls, length):
    sequence, least = BENCHMARKS[length]
    env, rng = cls(sequence), np.random.default_rng(length)
    assert len(sequence) == length
    for _ in range(60 if cls is HPFolding else 1):
        _, info = env.reset()
        total = 0.0
        for _ in range(length - 2 if cls is HPFolding else 40):
            action = rng.choice(np.flatnonzero(info["action_mask"]))
            observation, reward, ended, _, info = env.step(action)
            assert env.observation_space.contains(observation)
            total += reward
            if cls is HPFoldingPivot:
                places = fold(env.turns).tolist()
                assert len({tuple(place) for place in places}) == length
                assert slow_energy(sequence, places) >= -total
        assert ended == (cls is HPFolding)
        assert 0 <= total <= -least


def test_a_residue_cannot_be_placed_on_another_one():
    env = HPFolding("HHHHHHH")
    env.reset()
    for _ in range(2):
        _, _, _, _, info = env.step(0)
    assert info["action_mask"].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"residue 4 cannot be placed on \(0, 0\), where another one is"):
        env.step(0)


def test_the_observation_is_seen_from_the_end_of_the_chain():
    """The same local surroundings in every direction: a chain that goes on straight sees itself behind."""
    seen = []
    for turns in ((1, 1, 1, 1, 1, 1), (0, 1, 1, 1, 1, 1), (2, 1, 1, 1, 1, 1)):
        env = HPFolding("HPPHPPPPPP")
        env.reset()
        for action in turns:
            observation, *_ = env.step(action)
        seen.append(observation[: 2 * 81].reshape(2, 9, 9))
    for other in seen[1:]:
        np.testing.assert_array_equal(other.sum(0)[:, 4], seen[0].sum(0)[:, 4])
        np.testing.assert_array_equal(other, seen[0])  # nothing else is within four places
    assert seen[0].sum() == 5


@pytest.mark.parametrize("task", [FOLDS, "experiments.tasks.hp_folding:HPFoldingPivot-v0"])
@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ("HPXP", "letters H and P, not 'X' in 'HPXP'"),
        ("hph", "letters H and P, not 'h' in 'hph'"),
        (20, "letters H and P, not 20"),
        ("HP", "sequence has 2 residues; it may have 3 to 1,000"),
    ],
)
def test_a_sequence_of_other_letters_is_a_sentence(task, sequence, said):
    with pytest.raises(UnsupportedTask, match=said):
        make_env(Task(task, kwargs={"sequence": sequence}))


# ---------------------------------------------------------------------------------------------- algorithms


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
def test_only_the_best_episodes_are_learned_from(epsilon):
    rollout = random_rollout(np.random.default_rng(5), 40, 4, padding=True)
    psi = RiskSeeking(epsilon=epsilon).advantages(rollout)
    returns, steps = [], []
    for i in range(rollout.rewards.shape[1]):
        start = 0
        for t in np.flatnonzero(rollout.done[:, i]):
            returns.append(rollout.rewards[start : t + 1, i].sum())
            steps.append((i, start, t))
            start = t + 1
    quantile = np.quantile(returns, 1 - epsilon)
    for value, (i, start, t) in zip(returns, steps, strict=True):
        if rollout.valid[start, i]:
            expected = (value - quantile) / epsilon if value >= quantile else 0.0
            np.testing.assert_allclose(psi[start : t + 1, i], expected, rtol=1e-9, atol=1e-12)


def test_its_gradient_is_that_of_the_mean_of_the_best_share_by_numbers():
    """A bandit whose arms pay 0, 1, …: J_ε is known, and so is its slope at each logit."""
    rng, epsilon = np.random.default_rng(0), 0.25
    pays, logits = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.3, 0.2, -0.1, 0.0])

    def best_share(logits):
        p = np.exp(logits) / np.exp(logits).sum()
        left, value = epsilon, 0.0
        for pay, share in zip(pays[::-1], p[::-1], strict=True):
            value, left = value + pay * min(share, left), left - min(share, left)
        return value / epsilon

    p = np.exp(logits) / np.exp(logits).sum()
    drawn = rng.choice(4, 400_000, p=p)
    weights = RiskSeeking(epsilon=epsilon).weights(pays[drawn])
    estimate = (weights[:, None] * (np.eye(4)[drawn] - p)).mean(0)
    slopes = [(best_share(logits + h) - best_share(logits - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(estimate, slopes, atol=0.01)


def test_epsilon_has_bounds():
    for epsilon in (0.0, -0.1, 1.5):
        with pytest.raises(InvalidSetting, match="epsilon of RiskSeeking must be"):
            RiskSeeking(epsilon=epsilon)


def test_random_search_is_uniform_over_what_the_masks_allow():
    task = Task(FOLDS, kwargs={"sequence": "HPHPPHHPH"})
    algorithm = Reinforce(policy_learning_rate=0.0, policy_gain=0.0, rollout_length=40)
    envs, learner, rng = make_learner(algorithm, task)
    rollout = collect(envs, learner.policy, learner.normalizer, rng, episodes=10)
    before = learner.policy.parameter_vector.clone()
    learner.update(learner.prepare(rollout), 0.0)
    assert (learner.policy.parameter_vector == before).all()
    run = algorithm.train(task, 0, 4_000, compile="never", evaluations=("sampled",))
    returns, expected = [e.return_ for e in run.episodes], random_returns(task, 600)
    assert np.mean(returns) == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(300))


def test_genetic_programming_counts_programs_and_returns_what_the_task_pays(monkeypatch):
    task = Task(FORMULAS, kwargs={"formula": "Nguyen-9", "max_length": 10})
    run = checked_training(
        GeneticProgramming(population_size=60), task, 3, 1500, on_update=lambda steps, episodes: None
    )
    again = checked_training(GeneticProgramming(population_size=60), task, 3, 1500)
    assert run.episodes == again.episodes
    assert run.steps_taken == sum(episode.length for episode in run.episodes) >= 1500
    assert len(run.episodes) % 60 == 0
    env = make_env(task).unwrapped
    best = max(episode.return_ for episode in run.episodes)
    assert best <= 1
    assert run.evaluation["sampled"].returns == [best] * 20
    assert all(episode.return_ == 0 for episode in run.episodes if episode.length > env.max_length)
    assert any(episode.return_ > 0 for episode in run.episodes)
    assert run.episodes != checked_training(GeneticProgramming(population_size=60), task, 4, 1500).episodes


def test_genetic_programming_says_what_it_lacks(monkeypatch):
    with pytest.raises(UnsupportedTask, match="task 'CartPole-v1' is no symbolic regression"):
        GeneticProgramming().train(Task("CartPole-v1"), 0, 10)
    monkeypatch.setattr("policy_gradient_ladder.genetic_programming.find_spec", lambda name: None)
    assert "pip install -e '.[discovery]'" in GeneticProgramming().budget_problem(10)


# ---------------------------------------------------------------------------------------------- what counts as found


def test_the_grids_have_the_formulas_the_sequences_and_their_energies():
    grid = load_grid("discovery")
    for length, (sequence, least) in BENCHMARKS.items():
        of = grid.tasks[f"hp_{length}"]
        assert (of.task.kwargs["sequence"], of.solved, of.reference_score) == (sequence, -least, -least)
        assert of.steps == of.evaluations * (length - 2)
    assert [of.task.kwargs["formula"] for of in load_grid("nguyen").tasks.values()] == NAMES


@pytest.mark.parametrize("lacking", ["solved", "evaluations"])
def test_a_solution_needs_a_number_of_evaluations_and_the_reverse(lacking, tmp_path):
    keys = {"steps": 10, "solved": 300, "evaluations": 5, "reference_score": 475, "random_score": 20}
    del keys[lacking]
    path = tmp_path / "mine.yaml"
    task = json.dumps({"CartPole-v1": keys | {"reference_source": "here"}})
    path.write_text(f"seeds: 1\ntasks: {task}\nalgorithms: [ppo]\nclaims: []\n")
    with pytest.raises(GridError, match=f"CartPole-v1 has the key '.*' without '{lacking}'"):
        load_grid(str(path))


ABOUT = {"steps": 1000, "random_score": 0.0, "reference_score": 10.0, "reference_source": "a test", "threshold": None}


def test_of_each_run_the_same_number_of_episodes_counts(tmp_path):
    about = ABOUT | {"solved": 9.0, "evaluations": 4}
    raw = write_grid(tmp_path, algorithms=("reinforce", "ppo"), tasks={"A-v0": about, "B-v0": ABOUT}, seeds=(0, 1))
    write_runs(tmp_path, raw, episodes=6)
    runs = {("reinforce", 0): [1, 9, 3, 10, 20, 0], ("reinforce", 1): [1, 2, 3, 4, 9, 9]}
    runs |= {("ppo", 0): [9.5, 0, 0, 0, 0, 0], ("ppo", 1): [0, 0, 9, 0, 0, 0]}
    for (algorithm, seed), returns in runs.items():
        path = tmp_path / f"runs/A-v0/{algorithm}/{seed}/episodes.csv"
        pd.read_csv(path).assign(**{"return": returns}).to_csv(path, index=False)
    grid = read_grid(tmp_path)
    cells = [(cell, json.loads((tmp_path / cell["directory"] / "run.json").read_text())) for cell in grid.cells]
    found = tables.discoveries(grid, cells)
    assert set(found["task"]) == {"A-v0"}
    rows = found.set_index(["algorithm", "seed"])
    assert rows.loc[("reinforce", 0), ["episodes", "best", "best_at", "solved", "solved_at"]].tolist() == [
        4,
        10,
        4,
        1,
        2,
    ]
    assert rows.loc[("reinforce", 0), ["best_score", "share_of_evaluations"]].tolist() == [1.0, 0.5]
    assert rows.loc[("reinforce", 1), ["best", "solved", "share_of_evaluations"]].tolist() == [4, 0, 1.0]
    summary = tables.discovery(grid, found).set_index("algorithm")
    assert summary.loc["reinforce", ["n", "solved", "share"]].tolist() == [2, 1, 0.5]
    assert summary["median_evaluations"].tolist()[1] == 2  # of 1 and 3
    said = sentences.page(grid, tables.discovery(grid, found))
    assert [row["solved"] for row in said["rows"]] == ["1 of 2", "2 of 2"]
    assert said["rows"][0]["reference"] == "10 (a test)"
    assert "9 on A-v0, among 4." in said["sentences"][0]
    assert len(said["sentences"]) == 2
    short = tables.discovery(grid, found.assign(episodes=3))
    assert "had fewer in some runs, at least 3" in sentences.page(grid, short)["sentences"][2]
    assert sentences.page(grid, tables.discovery(grid, found.iloc[:0]).iloc[:0]) is None


def wilson(k, n, z=1.959963984540054):
    centre, half = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return (centre - half) / (n + z * z), (centre + half) / (n + z * z)


def test_intervals_of_shares_are_those_of_wilson_and_newcombe():
    for k, n in ((0, 10), (3, 10), (10, 10), (56, 70)):
        assert share_interval(k, n) == pytest.approx(wilson(k, n))

    def runs(k, n):
        return np.repeat([1.0, 0.0], [k, n - k])

    value, low, high = difference_of_shares([runs(56, 70)], [runs(48, 80)])
    assert (value, low, high) == pytest.approx(
        (0.2, 0.0524, 0.3339), abs=1e-4
    )  # Newcombe (1998), table II (a), method 10
    value, low, high = difference_of_shares([runs(10, 10)], [runs(0, 10)])
    assert (value, high) == (1, 1)
    assert 0.5 < low < 0.65  # Welch's interval would have no width
    assert difference_of_shares([runs(3, 10)]) == pytest.approx((0.3, *wilson(3, 10)))
    over_two = difference_of_shares([runs(56, 70)] * 2, [runs(48, 80)] * 2)
    assert over_two == pytest.approx((0.2, 0.2 - 0.1476 / math.sqrt(2), 0.2 + 0.1339 / math.sqrt(2)), abs=1e-4)
    assert np.isnan(difference_of_shares([runs(1, 1)], [runs(0, 10)])[1:]).all()
    effect = effect_of_runs([(runs(10, 10), runs(0, 10))], METRICS["solved"])
    assert (effect.value, effect.low) == pytest.approx((1.0, low))
