"""Claims: statements about policy gradients with the comparisons that test them, read from YAML and checked.

`experiments/claims.yaml` holds those that every grid tests, and a grid may name further files. Here they are only read;
`analysis.claims` computes the verdicts from what has been measured.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first
from policy_gradient_ladder.core.task import Task

from .checks import (
    MAPPING,
    REQUIRED,
    TEXT,
    Check,
    GridError,
    Whole,
    all_different,
    is_name,
    is_number,
    read_yaml,
    section,
)
from .keys import TASK_KEYS
from .metrics import (
    BEST_METRICS,
    COMMON_CLAIMS,
    CRITICS,
    DIRECTIONS,
    ESTIMATOR_METRICS,
    EVALUATED_METRICS,
    GRADIENT_METRICS,
    HELD_METRICS,
    OF_ESTIMATORS,
    PAIRED_METRICS,
    QUALITY_METRICS,
    RATIO_METRICS,
    RULES,
    RUN_METRICS,
    TASK_GROUPS,
    TRUE_METRICS,
    UNDER_METRICS,
    VALUE_FUNCTIONS,
    VALUE_TARGETS,
)
from .schema import EVALUATIONS
from .sources import ROOT

CLAIMS = ROOT / COMMON_CLAIMS
SHIPPED = Path(__file__).with_name("grids")


@dataclass(frozen=True)
class Side:
    """What is compared: an entry of the grid's algorithms, generalised advantages at a λ, or the best of several sides;
    or an estimator of the gradient, on problems whose true gradient is known.

    With `on`, places are Gymnasium ids, and the side is on the grid's task that has the place's id and these values of
    its keys. `experiments.places` says which task that is. Without it, the side is on the task with the place's name.
    """

    algorithm: str | None
    gae_lambda: float | None
    critic: str | None  # in the gradient laboratory; None: as trained, and exact on the exact problems
    on: dict[str, Any] | None = None  # values of keys of its task; a key that is not here has its default
    score: str | None = None  # of which evaluation its final score is; None: of the one with sampled actions
    best_of: tuple["Side", ...] = ()
    cost_at_most: float | None = None  # of best_of: those whose mean cost of an episode is above it do not count
    tasks: dict[str, str] = field(default_factory=dict)  # with `on`: its tasks, by place
    # Of the quality of gradient estimates at frozen policies of the algorithm:
    pairs: int | None = None  # state–action pairs of an estimate
    value_function: str | None = None  # None: as trained
    fraction: float | None = None  # of the frozen policy's training; None: all that there are
    against: str | None = None  # what the value function is compared with
    estimator: str | None = None
    settings: dict[str, Any] | None = None  # of the estimator; a switch that is not here is off
    at: dict[str, Any] | None = None  # numbers of the places at which the estimator is compared; None: all places

    def single(self) -> tuple["Side", ...]:
        """The sides of which this is the best; or this one alone."""
        return self.best_of or (self,)


OF_QUALITY = ("pairs", "value_function", "fraction", "against")  # keys of sides
OF_ESTIMATOR = ("estimator", "settings", "at")  # likewise
OF_SOME_SIDES = (
    "on",
    "score",
    "best_of",
    "cost_at_most",
    "tasks",
    *OF_QUALITY,
    *OF_ESTIMATOR,
)  # left out of a manifest where a side does not have them


@dataclass(frozen=True)
class Comparison:
    """One test of a claim: is the metric of the first side higher than, lower than or equal to that of the second?"""

    metric: str
    sides: tuple[Side, ...]  # one alone is held against 0, or against REINFORCE's variance
    direction: str
    smallest_effect: float  # of interest: a difference, or the distance of a ratio from 1
    tasks: str | tuple[str, ...]  # "all", "exact" or names
    from_fraction: float  # of a frozen policy's training; earlier ones are left out
    # Where it is not empty: the settings and task keys, and the only ones, in which the sides differ.
    differing_in: tuple[str, ...]
    than: float | None = None  # what the effect is held against; None: 0, or 1 where it is a ratio
    under: dict[str, float] | None = None  # the change of the task, and its size

    def singles(self) -> Iterator[Side]:
        """Every side that is one of the grid's algorithms, or generalised advantages at a λ."""
        for side in self.sides:
            yield from side.single()


@dataclass(frozen=True)
class Claim:
    """A statement with its source and the comparisons that test it."""

    id: str
    file: str
    statement: str
    source: str
    rule: str  # whether "all" of the comparisons or "any" of them must support it
    comparisons: tuple[Comparison, ...]
    variants: dict[str, dict[str, Any]]  # entries of a grid's algorithms that would make it testable
    grid: str | None  # a shipped grid that has them
    checked: str | None  # what was looked at after runs contradicted the statement

    def described(self) -> dict[str, Any]:
        """The claim as it stands in a manifest."""
        entry = asdict(self)
        for comparison in entry["comparisons"]:
            for key in ("than", "under"):
                if comparison[key] is None:
                    del comparison[key]
            comparison["sides"] = [_described(side) for side in comparison["sides"]]
        if self.checked is None:
            del entry["checked"]
        return entry


def _described(side: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in side.items() if key not in OF_SOME_SIDES or value not in (None, (), {})}
    if side["on"] is not None:
        shown |= {"on": side["on"], "tasks": side["tasks"]}
    if side["best_of"]:
        shown["best_of"] = [_described(one) for one in side["best_of"]]
    return shown


def read_all_claims(paths: list[tuple[Path, str]]) -> tuple[Claim, ...]:
    """The claims of several files. A path comes with the name that messages call the file by.

    Raises GridError where a file cannot be read, has a mistake, or has a claim whose name is in another file.
    """
    claims: dict[str, Claim] = {}
    for path, shown in paths:
        for claim in read_claims(path, shown):
            if claim.id in claims:
                raise GridError(
                    f"{shown}: claim {claim.id} is also in {claims[claim.id].file}; give yours another name"
                )
            claims[claim.id] = claim
    return tuple(claims.values())


def read_claims(path: Path, shown: str) -> list[Claim]:
    """The claims of one file, which messages call `shown`.

    Raises GridError, which names the file, the claim and the key.
    """
    if not path.is_file():
        raise GridError(f"there is no file of claims {shown}")
    data = read_yaml(path, shown)
    if not MAPPING[0](data) or not data:
        raise GridError(f"{shown} must be a mapping from a name of each claim to the claim")
    return [_claim(shown, name, entry) for name, entry in data.items()]


def _claim(path: str, name: str, entry: Any) -> Claim:
    if not is_name(name):
        raise GridError(f"{path}: a claim's name may hold letters, digits, _ . + - only, not {name!r}")
    keys = section(path, f"claim {name}", entry, CLAIM_KEYS)
    shipped = sorted(grid.stem for grid in SHIPPED.glob("*.yaml"))
    if keys["grid"] is not None and keys["grid"] not in shipped:
        raise GridError(f"{path}: grid of claim {name} is {keys['grid']!r}; {nearest_first(keys['grid'], shipped)}")
    comparisons = [
        _comparison(path, f"comparison {number} of claim {name}", comparison)
        for number, comparison in enumerate(keys.pop("comparisons"), start=1)
    ]
    return Claim(id=name, file=path, comparisons=tuple(comparisons), **keys)


def _comparison(path: str, where: str, entry: Any) -> Comparison:
    keys = section(path, where, entry, COMPARISON_KEYS)
    metric, tasks, of_runs = keys["metric"], keys["tasks"], keys["metric"] in RUN_METRICS
    of_gradients = (*GRADIENT_METRICS, *ESTIMATOR_METRICS, *QUALITY_METRICS)
    for key, valid in (("metric", (*RUN_METRICS, *of_gradients)), ("direction", DIRECTIONS)):
        if keys[key] not in valid:
            raise GridError(f"{path}: {key} of {where} is {keys[key]!r}; {nearest_first(keys[key], list(valid))}")
    if isinstance(tasks, str) and tasks not in TASK_GROUPS:
        raise GridError(f"{path}: tasks of {where} is {tasks!r}; it is all, exact, or a list of tasks")
    if (of_runs or metric in QUALITY_METRICS) and tasks == "exact":
        raise GridError(f"{path}: tasks of {where} is exact, which is for {' and '.join(GRADIENT_METRICS)} alone")
    for key, given, kind in (
        ("from_fraction", of_runs, (*GRADIENT_METRICS, *QUALITY_METRICS)),
        ("differing_in", not of_runs, RUN_METRICS),
        ("than", metric not in HELD_METRICS, HELD_METRICS),
        ("under", metric not in UNDER_METRICS, UNDER_METRICS),
    ):
        if given and key in entry:
            raise GridError(f"{path}: {where} has {key}, which is for {', '.join(kind)}, not for {metric}")
    if metric in UNDER_METRICS and keys["under"] is None:
        raise GridError(
            f"{path}: {where} has no under, the change of the task, such as {{mass: 2}}, which {metric} needs"
        )
    if metric in RATIO_METRICS and keys["smallest_effect"] >= 1:
        raise GridError(
            f"{path}: smallest_effect of {where} is {keys['smallest_effect']}; the effect is a ratio, and this its "
            f"distance from 1, which must be below 1"
        )
    sides = _with_defaults(tuple(_side(path, where, side, metric) for side in keys["sides"]))
    if len(sides) == 1 and metric in PAIRED_METRICS:
        raise GridError(f"{path}: {where} has one side; {metric} compares two")
    if len(sides) == 2 and sides[0] == sides[1]:
        raise GridError(f"{path}: both sides of {where} are the same")
    _check_best(path, where, metric, sides, tasks)
    if metric in TRUE_METRICS and (isinstance(tasks, str) or len(tasks) != 1):
        raise GridError(
            f"{path}: {where} is about {metric}, and true returns of several tasks are no common number; let tasks "
            "name one task"
        )
    if metric in QUALITY_METRICS:
        _check_quality(path, where, metric, sides, "from_fraction" in entry)
    _check_estimators(path, where, sides)
    names = {key: tuple(keys[key]) for key in ("differing_in",)}
    return Comparison(**keys | names | {"sides": sides, "tasks": tasks if isinstance(tasks, str) else tuple(tasks)})


def _side(path: str, where: str, entry: Any, metric: str) -> Side:
    of_runs = metric in RUN_METRICS
    keys = section(path, f"a side of {where}", {"algorithm": entry} if isinstance(entry, str) else entry, SIDE_KEYS)
    several, most = keys.pop("best_of"), keys.pop("cost_at_most")
    if several is None and most is not None:
        raise GridError(f"{path}: a side of {where} has cost_at_most without best_of, whose sides it is about")
    if several is not None:
        if beside := [key for key, value in keys.items() if value is not None]:
            raise GridError(
                f"{path}: a side of {where} has {beside[0]} beside best_of; say it of the sides that best_of lists"
            )
        best_of = tuple(_side(path, where, one, metric) for one in several)
        return Side(None, None, None, best_of=best_of, cost_at_most=most)
    if metric in QUALITY_METRICS:
        return _quality_side(path, where, keys, metric)
    if keys["estimator"] is not None:
        return _estimator(path, where, keys, metric)
    for key in ("settings", "at"):
        if keys[key] is not None:
            raise GridError(f"{path}: a side of {where} has {key} without the estimator that it is about")
    if metric in ESTIMATOR_METRICS:
        raise GridError(f"{path}: a side of {where} must have an estimator; {metric} is measured of estimators alone")
    if (keys["algorithm"] is None) == (keys["gae_lambda"] is None):
        raise GridError(f"{path}: a side of {where} must have one of algorithm and gae_lambda")
    if of_runs and (keys["algorithm"] is None or keys["critic"] is not None):
        raise GridError(
            f"{path}: a side of {where} must be an algorithm alone; runs have no other critic or λ to choose"
        )
    of_quality = [(key, QUALITY_METRICS) for key in OF_QUALITY]
    for key, valid in (("on", RUN_METRICS), ("score", EVALUATED_METRICS), *of_quality):
        if keys[key] is not None and metric not in valid:
            raise GridError(f"{path}: a side of {where} has {key}, which is for {', '.join(valid)}, not for {metric}")
    if keys["on"] is not None:
        said = section(path, f"on of a side of {where}", keys["on"], ON_KEYS)
        keys["on"] = {key: said[key] for key in keys["on"]}
    return Side(**keys)


def _quality_side(path: str, where: str, keys: dict[str, Any], metric: str) -> Side:
    """A side about the quality of gradient estimates. Raises GridError where it lacks a key or has one too many."""
    needed = {"algorithm", "against" if metric == "value_error" else "pairs"}
    for key in keys:
        if key in needed and keys[key] is None:
            raise GridError(f"{path}: a side of {where} has no {key}, which {metric} needs")
        if key not in needed | {"value_function", "fraction"} and keys[key] is not None:
            raise GridError(f"{path}: a side of {where} has {key}, which is not for {metric}")
    if metric == "value_error" and keys["value_function"] == "none":
        raise GridError(f"{path}: a side of {where} has value_function none, which has no error to measure")
    return Side(**keys)


def _check_quality(path: str, where: str, metric: str, sides: tuple[Side, ...], from_fraction: bool) -> None:
    """Raise GridError where sides about the quality of gradient estimates cannot be compared policy by policy."""
    if len({side.algorithm for side in sides}) > 1:
        raise GridError(f"{path}: {where} compares two algorithms; {metric} compares at the policies of one")
    fractions = {side.fraction for side in sides}
    if len(fractions) > 1 and None in fractions:
        raise GridError(f"{path}: one side of {where} has fraction; say it of both sides, or of neither")
    if from_fraction and fractions != {None}:
        raise GridError(f"{path}: {where} has from_fraction, and its sides have fraction; say one of them")
    if metric == "gradient_variance" and len({(side.pairs, side.fraction) for side in sides}) > 1:
        raise GridError(f"{path}: the sides of {where} differ in pairs or fraction; {metric} compares value functions")


def _estimator(path: str, where: str, keys: dict[str, Any], metric: str) -> Side:
    if beside := [key for key, value in keys.items() if value is not None and key not in OF_ESTIMATOR]:
        raise GridError(f"{path}: a side of {where} has {beside[0]} beside estimator; it may have settings and at")
    if metric not in OF_ESTIMATORS:
        raise GridError(
            f"{path}: a side of {where} has estimator, which is for {', '.join(OF_ESTIMATORS)}, not for {metric}"
        )
    return Side(None, None, None, **{key: keys[key] for key in OF_ESTIMATOR})


def _check_estimators(path: str, where: str, sides: tuple[Side, ...]) -> None:
    """Raise GridError where an estimator is compared with something else, or at places that cannot be paired."""
    if len({side.estimator is None for side in sides}) > 1:
        raise GridError(f"{path}: {where} compares an estimator with something else; both sides must be estimators")
    if len({frozenset(side.at or ()) for side in sides}) > 1:
        raise GridError(
            f"{path}: the sides of {where} have at with different numbers; give both sides a value of the same ones"
        )


def _with_defaults(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides of a comparison; what one of them says of its task, the others with `on` say, too: the default."""
    said = dict.fromkeys(key for side in sides for one in side.single() for key in one.on or {})

    def whole_of(side: Side) -> Side:
        if side.best_of:
            return replace(side, best_of=tuple(map(whole_of, side.best_of)))
        return side if side.on is None else replace(side, on={key: ON_KEYS[key].default for key in said} | side.on)

    return tuple(map(whole_of, sides))


def _check_best(path: str, where: str, metric: str, sides: tuple[Side, ...], tasks: str | list[str]) -> None:
    """Raise GridError where a side cannot be the best of those that it lists, on these `tasks`."""
    for number, side in enumerate(sides):
        if not side.best_of:
            continue
        if metric not in BEST_METRICS:
            raise GridError(
                f"{path}: a side of {where} has best_of, which is for {', '.join(BEST_METRICS)}, not for {metric}"
            )
        if len(sides) == 1 or sides[1 - number].best_of:
            raise GridError(f"{path}: {where} compares the best of several sides; its other side must be a single one")
        if side.cost_at_most is not None and (isinstance(tasks, str) or len(tasks) != 1):
            raise GridError(
                f"{path}: a side of {where} has cost_at_most, and costs of several tasks are no common number; let "
                "tasks name one task"
            )
        if any(one.best_of for one in side.best_of):
            raise GridError(f"{path}: best_of of {where} lists another best_of; list single sides")
        if any(one in side.best_of[:place] for place, one in enumerate(side.best_of)):
            raise GridError(f"{path}: best_of of {where} lists a side twice")
        if sides[1 - number] in side.best_of:
            raise GridError(
                f"{path}: best_of of {where} lists the side with which the best is compared; list the others alone"
            )


LIST_OF_TEXT = (lambda v: all_different(v, lambda x: isinstance(x, str)), "a list of different names")
CLAIM_KEYS: dict[str, Check] = {
    "statement": (*TEXT, REQUIRED),
    "source": (*TEXT, REQUIRED),
    "rule": (lambda v: v in RULES, " or ".join(RULES), "all"),
    "comparisons": (lambda v: isinstance(v, list) and len(v) > 0, "a list of at least one comparison", REQUIRED),
    "variants": (
        lambda v: MAPPING[0](v) and all(MAPPING[0](entry) for entry in v.values()),
        "a mapping from names to entries of a grid's algorithms",
        {},
    ),
    "grid": (lambda v: v is None or isinstance(v, str), "the name of a shipped grid", None),
    "checked": (lambda v: v is None or (isinstance(v, str) and not v.isspace() and v != ""), "text", None),
}
COMPARISON_KEYS: dict[str, Check] = {
    "metric": (*TEXT, REQUIRED),
    "sides": (lambda v: isinstance(v, list) and len(v) in (1, 2), "a list of one or two sides", REQUIRED),
    "direction": (*TEXT, REQUIRED),
    "smallest_effect": (lambda v: is_number(v) and v > 0, "a number above 0", REQUIRED),
    "tasks": (lambda v: isinstance(v, str) or (LIST_OF_TEXT[0](v) and len(v) > 0), "all, exact, or a list", "all"),
    "from_fraction": (lambda v: is_number(v) and 0 <= v <= 1, "a fraction of a run between 0 and 1", 0.0),
    "differing_in": (*LIST_OF_TEXT, []),
    "than": (lambda v: v is None or is_number(v), "a number", None),
    "under": (
        lambda v: v is None or (MAPPING[0](v) and len(v) == 1 and all(map(is_number, v.values()))),
        "a mapping of one change to its size",
        None,
    ),
}
SIDE_KEYS: dict[str, Check] = {
    "algorithm": (lambda v: v is None or isinstance(v, str), "the name of a grid's algorithm", None),
    "gae_lambda": (lambda v: v is None or (is_number(v) and 0 <= v <= 1), "a number between 0 and 1", None),
    "critic": (lambda v: v is None or v in CRITICS, f"one of {', '.join(CRITICS)}", None),
    "on": (lambda v: v is None or MAPPING[0](v), "a mapping of keys of a task to values", None),
    "score": (lambda v: v is None or v in EVALUATIONS, f"one of {', '.join(EVALUATIONS)}", None),
    "pairs": (Whole(least=1, or_null=True), "a whole number above 0", None),
    "value_function": (lambda v: v is None or v in VALUE_FUNCTIONS, f"one of {', '.join(VALUE_FUNCTIONS)}", None),
    "fraction": (lambda v: v is None or (is_number(v) and 0 <= v <= 1), "a fraction of a run between 0 and 1", None),
    "against": (lambda v: v is None or v in VALUE_TARGETS, f"one of {', '.join(VALUE_TARGETS)}", None),
    "best_of": (lambda v: v is None or (isinstance(v, list) and len(v) > 1), "a list of at least two sides", None),
    "cost_at_most": (lambda v: v is None or is_number(v), "a number", None),
    "estimator": (lambda v: v is None or isinstance(v, str), "the name of an estimator", None),
    "settings": (lambda v: v is None or MAPPING[0](v), "a mapping of the estimator's settings to values", None),
    "at": (
        lambda v: v is None or (MAPPING[0](v) and all(map(is_number, v.values()))),
        "a mapping of a place's numbers to values",
        None,
    ),
}
# The keys that `on` may have: those of a task's preprocessing.
ON_KEYS = {
    name.name: TASK_KEYS[name.name] for name in fields(Task) if name.name not in ("id", "name", "allow_normalised")
}
