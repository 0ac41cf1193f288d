"""When a trial is stopped: by one of Optuna's pruners, by what it has reached with the parts that it was given."""

import copy
import math

import optuna
from optuna.trial import FrozenTrial, TrialState

from .checks import GridError
from .schema import UNTUNED
from .search import Study


class ByTheLatest(optuna.pruners.BasePruner):
    """Shows a pruner of Optuna's only the latest of the values that a trial has reported, and that as comparable.

    Optuna compares the best value of a trial so far with the other trials' values at this step. It is made for a score
    that training raises. But here a value is a mean over the parts so far, and the parts are of different tasks: the
    best is the mean of an easy task that came first. The values at one step are of the same parts in all trials.

    A fixed threshold is compared with what the trial reaches if the untuned settings' scores of the parts after this
    step are its own, too: the latest value + the untuned settings' last − theirs at this step.
    """

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self.pruner = pruner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the pruner would stop the trial."""
        latest = copy.copy(trial)
        latest.intermediate_values = dict.fromkeys(trial.intermediate_values, math.nan)
        value = trial.intermediate_values[trial.last_step]
        if isinstance(self.pruner, optuna.pruners.ThresholdPruner):
            value += self._to_come(study, trial.last_step)
        latest.intermediate_values[trial.last_step] = value
        return self.pruner.prune(study, latest)

    def _to_come(self, study: optuna.Study, step: int) -> float:
        """By how much the parts after a step change the value of the untuned settings; 0 while that is not known."""
        untuned = study.get_trials(deepcopy=False)[UNTUNED]
        complete = untuned.state == TrialState.COMPLETE
        return untuned.value - untuned.intermediate_values[step] if complete else 0.0


def make_pruner(path: str, study: Study) -> ByTheLatest:
    """The pruner of Optuna's that the grid in `path` names. Raises GridError where it does not take the arguments."""
    name, arguments = study.tuning.pruner["name"], {k: v for k, v in study.tuning.pruner.items() if k != "name"}
    try:
        return ByTheLatest(getattr(optuna.pruners, name)(**arguments))
    except (TypeError, ValueError) as error:
        raise GridError(f"{path}: pruner of tuning: {name} does not take {arguments}: {error}") from error
