"""Claims: statements about policy gradients with the comparisons that test them, read from YAML and checked.

`experiments/claims.yaml` holds those that every grid tests, and a grid may name further files. Here they are only read;
`analysis.claims` computes the verdicts from what has been measured.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first

from .checks import (
    MAPPING,
    REQUIRED,
    TEXT,
    Check,
    GridError,
    all_different,
    is_name,
    is_number,
    read_yaml,
    section,
)
from .metrics import (
    CRITICS,
    DIRECTIONS,
    GRADIENT_METRICS,
    PAIRED_METRICS,
    RATIO_METRICS,
    RULES,
    RUN_METRICS,
    TASK_GROUPS,
)

CLAIMS = Path(__file__).with_name("claims.yaml")
SHIPPED = Path(__file__).with_name("grids")


@dataclass(frozen=True)
class Side:
    """What is compared: an entry of the grid's algorithms, or generalised advantages at a λ."""

    algorithm: str | None
    gae_lambda: float | None
    critic: str | None  # in the gradient laboratory; None: as trained, and exact on the exact problems


@dataclass(frozen=True)
class Comparison:
    """One test of a claim: is the metric of the first side higher than, lower than or equal to that of the second?"""

    metric: str
    sides: tuple[Side, ...]  # one alone is held against 0, or against REINFORCE's variance
    direction: str
    smallest_effect: float  # of interest: a difference, or the distance of a ratio from 1
    tasks: str | tuple[str, ...]  # "all", "exact" or names
    from_fraction: float  # of a frozen policy's training; earlier ones are left out
    differing_in: tuple[str, ...]  # where it is not empty: the settings, and the only ones, in which the sides differ


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
    for key, valid in (("metric", (*RUN_METRICS, *GRADIENT_METRICS)), ("direction", DIRECTIONS)):
        if keys[key] not in valid:
            raise GridError(f"{path}: {key} of {where} is {keys[key]!r}; {nearest_first(keys[key], list(valid))}")
    if isinstance(tasks, str) and tasks not in TASK_GROUPS:
        raise GridError(f"{path}: tasks of {where} is {tasks!r}; it is all, exact, or a list of tasks")
    if of_runs and tasks == "exact":
        raise GridError(f"{path}: tasks of {where} is exact, which is for {' and '.join(GRADIENT_METRICS)} alone")
    for key, given, kind in (("from_fraction", of_runs, GRADIENT_METRICS), ("differing_in", not of_runs, RUN_METRICS)):
        if given and key in entry:
            raise GridError(f"{path}: {where} has {key}, which is for {', '.join(kind)}, not for {metric}")
    if metric in RATIO_METRICS and keys["smallest_effect"] >= 1:
        raise GridError(
            f"{path}: smallest_effect of {where} is {keys['smallest_effect']}; the effect is a ratio, and this its "
            f"distance from 1, which must be below 1"
        )
    sides = tuple(_side(path, where, side, of_runs) for side in keys["sides"])
    if len(sides) == 1 and metric in PAIRED_METRICS:
        raise GridError(f"{path}: {where} has one side; {metric} compares two")
    if len(set(sides)) < len(sides):
        raise GridError(f"{path}: both sides of {where} are the same")
    names = {key: tuple(keys[key]) for key in ("differing_in",)}
    return Comparison(**keys | names | {"sides": sides, "tasks": tasks if isinstance(tasks, str) else tuple(tasks)})


def _side(path: str, where: str, entry: Any, of_runs: bool) -> Side:
    keys = section(path, f"a side of {where}", {"algorithm": entry} if isinstance(entry, str) else entry, SIDE_KEYS)
    if (keys["algorithm"] is None) == (keys["gae_lambda"] is None):
        raise GridError(f"{path}: a side of {where} must have one of algorithm and gae_lambda")
    if of_runs and (keys["algorithm"] is None or keys["critic"] is not None):
        raise GridError(
            f"{path}: a side of {where} must be an algorithm alone; runs have no other critic or λ to choose"
        )
    return Side(**keys)


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
}
COMPARISON_KEYS: dict[str, Check] = {
    "metric": (*TEXT, REQUIRED),
    "sides": (lambda v: isinstance(v, list) and len(v) in (1, 2), "a list of one or two sides", REQUIRED),
    "direction": (*TEXT, REQUIRED),
    "smallest_effect": (lambda v: is_number(v) and v > 0, "a number above 0", REQUIRED),
    "tasks": (lambda v: isinstance(v, str) or (LIST_OF_TEXT[0](v) and len(v) > 0), "all, exact, or a list", "all"),
    "from_fraction": (lambda v: is_number(v) and 0 <= v <= 1, "a fraction of a run between 0 and 1", 0.0),
    "differing_in": (*LIST_OF_TEXT, []),
}
SIDE_KEYS: dict[str, Check] = {
    "algorithm": (lambda v: v is None or isinstance(v, str), "the name of a grid's algorithm", None),
    "gae_lambda": (lambda v: v is None or (is_number(v) and 0 <= v <= 1), "a number between 0 and 1", None),
    "critic": (lambda v: v is None or v in CRITICS, f"one of {', '.join(CRITICS)}", None),
}
