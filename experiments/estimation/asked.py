"""The probes that a grid's `estimators` asks for, and what is wrong with those that cannot be made."""

from collections.abc import Mapping
from typing import Any

from policy_gradient_ladder.core.algorithm import nearest_first, whole

from ..cells import INITIALISATION, EstimatorProbe
from ..checks import MAPPING, GridError, is_number, section
from . import Estimator, InvalidEstimator, Variant, estimator_of, names, problem_of
from .keys import ESTIMATOR_KEYS
from .measuring import Place, Subject
from .problem import InvalidPlace, Problem


def read_estimators(path: str, data: Any) -> tuple[EstimatorProbe, ...]:
    """The probes that a grid's `estimators` asks for: one of each problem. path: the grid, as messages name it.

    Raises GridError, which names the file and the key.
    """
    keys = section(path, "estimators", data, ESTIMATOR_KEYS)
    try:
        problems = _problems(path, keys["problems"])
        variants = _variants(path, keys["only"])
        if keys["only"] is not None:
            _check_applicable(path, problems, variants, keys["seed"])
    except InvalidEstimator as error:
        raise GridError(f"{path}: estimators: {error}") from error
    sizes = tuple(sorted({keys["batch_size"], *map(whole, keys["batch_sizes"])}))
    shared = {"batches": keys["batches"], "batch_size": keys["batch_size"], "batch_sizes": sizes}
    return tuple(
        EstimatorProbe(name, INITIALISATION, keys["seed"], 0.0, places=places, variants=variants, **shared)
        for name, places in problems.items()
    )


def _problems(path: str, given: list[str] | Mapping[str, Any] | None) -> dict[str, tuple[Problem, ...]]:
    """The places of each problem."""
    known, found = names("problems"), {}
    for name in known if given is None else given:
        if name not in known:
            raise GridError(f"{path}: problems of estimators has {name!r}; {nearest_first(name, known)}")
        problem = problem_of(name)
        places = given.get(name) if isinstance(given, Mapping) else None
        if places is not None and not (isinstance(places, list) and places and all(map(MAPPING[0], places))):
            raise GridError(
                f"{path}: {name} in problems of estimators must be a list of places, each a mapping of numbers such as "
                f"{problem().numbers}, or null, not {places!r}"
            )
        read = tuple(_place(path, name, problem, place) for place in places or problem.default_places)
        repeated = next((place.place for place in read if read.count(place) > 1), None)
        if repeated is not None:
            raise GridError(f"{path}: {name} in problems of estimators has the place {repeated} twice")
        found[name] = read
    return found


def _place(path: str, name: str, problem: type[Problem], given: Mapping[str, Any]) -> Problem:
    known = list(problem().numbers)
    for key, value in given.items():
        if key not in known:
            raise GridError(
                f"{path}: {name} in problems of estimators has no number {key!r}; {nearest_first(key, known)}"
            )
        if not is_number(value):
            raise GridError(f"{path}: {key} of {name} in problems of estimators must be a number, not {value!r}")
    try:
        return problem(**{key: whole(value) for key, value in given.items()})
    except InvalidPlace as error:
        raise GridError(f"{path}: {name} in problems of estimators: {error}") from error


def _variants(path: str, given: list[str] | Mapping[str, Any] | None) -> tuple[Variant, ...]:
    """Every estimator with every combination of its settings."""
    known, found = names("estimators"), []
    for name in known if given is None else given:
        if name not in known:
            raise GridError(f"{path}: only of estimators has {name!r}; {nearest_first(name, known)}")
        estimator = estimator_of(name)
        settings = given.get(name) if isinstance(given, Mapping) else None
        found += estimator.variants(_settings(path, estimator, {} if settings is None else settings))
    return tuple(found)


def _settings(path: str, estimator: Estimator, given: Any) -> dict[str, tuple]:
    """The values of settings that take the place of those in the estimator's file."""
    where = f"{estimator.name} in only of estimators"
    if not MAPPING[0](given):
        raise GridError(f"{path}: {where} must be a mapping of settings to lists of values, or null, not {given!r}")
    found = {}
    for name, values in given.items():
        if name not in estimator.settings:
            known = list(estimator.settings)
            raise GridError(
                f"{path}: {where} has no setting {name!r}; " + (nearest_first(name, known) if known else "it has none")
            )
        own = estimator.settings[name]
        values = values if isinstance(values, list) else [values]
        for value in values:
            if all(map(is_number, own)):
                valid = (
                    is_number(value)
                    and value > 0
                    and (type(whole(value)) is int or not all(type(x) is int for x in own))
                )
                words = "a whole number above 0" if all(type(x) is int for x in own) else "a number above 0"
            else:
                valid, words = value in own, "one of " + ", ".join(map(str, own))
            if not valid:
                raise GridError(f"{path}: {name} of {where} must be {words}, not {value!r}")
        found[name] = tuple(values)
    return found


def _check_applicable(
    path: str, problems: Mapping[str, tuple[Problem, ...]], variants: tuple[Variant, ...], seed: int
) -> None:
    """Raise GridError where an estimator applies to no problem, or where a problem is left without an estimator."""
    against = {
        (variant.estimator, name): Subject(Place(places[0], 0, seed), variant, places[0]).reason_against()
        for name, places in problems.items()
        for variant in variants
        if not variant.common_noise
    }
    for estimator in dict.fromkeys(variant.estimator for variant in variants):
        reasons = [reason for (one, _), reason in against.items() if one == estimator]
        if None not in reasons:
            raise GridError(
                f"{path}: only of estimators has {estimator!r}, which applies to no problem here: {reasons[0]}"
            )
    for name in problems:
        if None not in [reason for (_, one), reason in against.items() if one == name]:
            reason = next(reason for (_, one), reason in against.items() if one == name)
            raise GridError(f"{path}: problems of estimators has {name!r}, to which no estimator applies: {reason}")
