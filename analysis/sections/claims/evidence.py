"""The least evidence of a verdict. Below it a claim has no verdict, whatever its interval says.

A claim about all tasks needs FEWEST_RUNS runs of each side on FEWEST_TASKS tasks. In the gradient laboratory it needs
frozen policies of FEWEST_PROBED_RUNS runs on FEWEST_PROBED_TASKS tasks. Tasks that are one environment with other
preprocessing count as one. A claim that names its tasks, and a task by
itself, need FEWEST_RUNS_OF_A_NAMED_TASK runs on each. An exact problem needs none: its true gradient is known.
"""

from ...words import enumerate_text, plural, short_name
from .sides import of_each
from .verdicts import Place, Tested

FEWEST_RUNS, FEWEST_TASKS = 5, 3
FEWEST_PROBED_RUNS, FEWEST_PROBED_TASKS = 3, 2
FEWEST_RUNS_OF_A_NAMED_TASK = 10


def missing_evidence(found: Tested) -> str:
    """What a comparison rests on and what would be enough for a verdict, in words; empty where there is enough."""
    measured = found.present or [place for place in found.places if not place.lacking]
    if all(place.exact for place in measured):
        return ""
    of = f"runs {of_each(found.comparison)}" if len(found.sides) > 1 else f"runs of {found.sides[0]}"
    of = of if found.metric.of_runs else "runs whose frozen policies can be measured"
    if not isinstance(found.comparison["tasks"], str):
        short = [place for place in found.places if not enough_alone(place)]
        if not short:
            return ""
        there = enumerate_text(f"{plural(place.runs, 'run')} on {short_name(place.task)}" for place in short)
        return (
            f"{there}; a claim that names its tasks needs at least {FEWEST_RUNS_OF_A_NAMED_TASK} {of} on each of them"
        )
    runs, tasks = (FEWEST_RUNS, FEWEST_TASKS) if found.metric.of_runs else (FEWEST_PROBED_RUNS, FEWEST_PROBED_TASKS)
    # Where no task says anything by itself, more runs are not what is missing.
    counted = [place for place in measured if place.decides] or measured
    if len({environment(place) for place in counted if place.runs >= runs}) >= tasks:
        return ""
    n = [place.runs for place in counted]
    there = plural(n[0], "run") if min(n) == max(n) else f"{min(n)} to {max(n)} runs"
    where = f"on {'each of ' if len(n) > 1 else ''}{plural(len(n), 'task')}"
    silent = len(measured) - len(counted)
    without = f" (without {plural(silent, 'task')} on which no run reached the threshold)" if silent else ""
    one = len({environment(place) for place in counted})
    without += f" ({plural(one, 'environment')})" if one < len(counted) else ""
    return f"{there} {where}{without}; a verdict needs at least {runs} {of} on each of {tasks} tasks"


def enough_alone(place: Place) -> bool:
    """Whether a task by itself has the evidence of a verdict."""
    return place.exact or place.runs >= FEWEST_RUNS_OF_A_NAMED_TASK


def environment(place: Place) -> str:
    """What tells a task from those that are the same environment with other preprocessing."""
    return place.environment or place.task
