"""Tune one algorithm on one group of tasks with Optuna, and write the study's folder.

A trial is evaluated in parts: a training with one tuning seed on one tuning task, and the score of its 20 evaluation
episodes; after each part the pruner may stop the trial. Everything that happens is in `journal.log` at once, so that a
study that was killed goes on with the part that it was killed in and becomes the study that it would have been: each
trial's sampler is seeded with the study's seed and the trial's number and sees nothing but the trials before it.

With several workers, trials do not wait for each other, and what a sampler sees depends on who was faster.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from algorithms.core.run_check import checked_run
from experiments.cells import Grid
from experiments.checks import GridError
from experiments.command import exit_with_sentence
from experiments.determinants import identity, what_determines
from experiments.grid import load_grid
from experiments.process import age, end_at_once, time_limit
from experiments.progress import Progress, named_by
from experiments.record import PACKAGES, check_writable, csv_text, provenance, write_json, write_record, write_whole
from experiments.schema import (
    BEST,
    JOURNAL,
    LOCKS,
    PART_COLUMNS,
    SCHEMA,
    SUPERSEDED,
    TRIAL_COLUMNS,
    UNTUNED,
    WRITTEN_TO,
)
from experiments.search import Dimension, InvalidStudy, Study
from experiments.sources import ROOT

FEWEST_FOR_IMPORTANCE = 4  # complete trials
SECONDS_BETWEEN_LOOKS = 1.0  # at whether other workers have ended their trials


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune an algorithm on a group of tasks. A study that was interrupted goes on where it stopped."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tune", description=main.__doc__)
    parser.add_argument("--grid", required=True, help="a name under experiments/grids/ or a path to a YAML file")
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--group", required=True, help="of tasks, in the grid's section on tuning")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the study's folder")
    parser.add_argument(
        "--join", action="store_true", help="only help a study with several workers, from another machine, say"
    )
    options = parser.parse_args(arguments)
    grid = load_grid(options.grid, options.algorithm)
    study = grid.study(options.algorithm, options.group)
    workers = study.tuning.workers
    if options.join and workers == 1:
        raise GridError(
            f"{grid.path}: a study has one worker, so that it is repeatable; --join needs 'workers' above 1"
        )
    check_writable(options.output.resolve(), options.output)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if options.join:
        Worker(grid, study, options.output).work()
        return
    try:
        with lock_of(options.output, "study").acquire(blocking=False):
            worker = Worker(grid, study, options.output)
            command = [sys.executable, "-m", "experiments.tune", *(sys.argv[1:] if arguments is None else arguments)]
            helpers = [subprocess.Popen([*command, "--join"]) for _ in range(workers - 1)]
            worker.work()
            for helper in helpers:
                helper.wait()
            worker.work_until_all_have_ended()
            worker.compare_on_fresh_seeds()
            worker.determinants.check_code(worker.code)
            write_study(options.output, worker)
    except Timeout as error:
        raise InvalidStudy(f"another process is at work in {options.output}") from error
    print(f"{worker.summary()}; {age():.0f} s{WRITTEN_TO}{options.output}")


class KernelLock:
    """Guards the journal by a lock that the system releases when its holder is killed; Optuna's own lasts for 30 s."""

    def __init__(self, directory: Path) -> None:
        self._lock = lock_of(directory, "journal")

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give it to the next."""
        self._lock.release()


def lock_of(directory: Path, what: str) -> FileLock:
    """The lock on `what`: "study", "claim", "journal" or a trial."""
    (directory / LOCKS).mkdir(parents=True, exist_ok=True)
    return FileLock(directory / LOCKS / what)


def open_journal(journal: Path) -> JournalStorage:
    """Optuna's storage in a file. Where the last line was cut off because its writer was killed, it is removed.

    Raises InvalidStudy, and changes nothing, where any other line is damaged.
    """
    lock = KernelLock(journal.parent)
    lock.acquire()
    try:
        if journal.is_symlink():
            raise _corrupted(journal, "it is a link, and what it leads to might not be a journal")
        content = journal.read_bytes() if journal.exists() else b""
        *whole, cut_off = content.split(b"\n")
        for number, line in enumerate(whole, start=1):
            try:
                json.loads(line)
            except ValueError as error:
                raise _corrupted(journal, f"line {number} is not whole ({error})") from error
        if cut_off and not cut_off.startswith(b"{"):
            raise _corrupted(journal, f"its last line, {len(whole) + 1}, is not whole and was never a record")
        try:
            storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        except Exception as error:  # whatever a journal that is JSON and yet none of Optuna's makes it do
            raise _corrupted(journal, f"Optuna cannot read it ({type(error).__name__}: {error})") from error
        if cut_off:
            with journal.open("r+b") as file:
                file.truncate(len(content) - len(cut_off))
        return storage
    finally:
        lock.release()


def _corrupted(journal: Path, what: str) -> InvalidStudy:
    return InvalidStudy(f"{journal}: {what}. Nothing was changed; move {journal.parent} away to tune anew")


def parameter(name: str, dimension: Dimension) -> str:
    """What Optuna calls the setting."""
    return f"1 - {name}" if dimension.scale == "log_one_minus" else name


def distribution(dimension: Dimension) -> BaseDistribution:
    """What Optuna draws from."""
    low, high, log = dimension.low, dimension.high, dimension.scale == "log"
    if dimension.choices:
        return CategoricalDistribution([as_choice(choice) for choice in dimension.choices])
    if dimension.scale == "log_one_minus":
        return FloatDistribution(1 - high, 1 - low, log=True)
    return IntDistribution(low, high, log=log) if type(low) is int else FloatDistribution(low, high, log=log)


def to_parameters(study: Study, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Optuna has them."""
    ends = {name: 1 - value for name, value in settings.items() if study.space[name].scale == "log_one_minus"}
    return {parameter(name, study.space[name]): ends.get(name, as_choice(value)) for name, value in settings.items()}


def as_choice(value: Any) -> Any:
    """A setting's value as Optuna's journal can hold it: a list, of hidden sizes say, as JSON."""
    return json.dumps(value) if isinstance(value, list) else value


def to_settings(study: Study, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What Optuna has drawn, as settings."""
    settings = {}
    for name, dimension in study.space.items():
        if parameter(name, dimension) in parameters:
            value = parameters[parameter(name, dimension)]
            if dimension.scale == "log_one_minus":
                value = min(max(1 - value, dimension.low), dimension.high)  # rounded, an end may lie outside
            lists = {as_choice(choice): choice for choice in dimension.choices if isinstance(choice, list)}
            value = lists.get(value, value)
            settings[name] = value
    return settings


def make_pruner(path: str, study: Study) -> optuna.pruners.BasePruner:
    """The pruner of Optuna's that the grid in `path` names. Raises GridError where it does not take the arguments."""
    name, arguments = study.tuning.pruner["name"], {k: v for k, v in study.tuning.pruner.items() if k != "name"}
    try:
        return getattr(optuna.pruners, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise GridError(f"{path}: pruner of tuning: {name} does not take {arguments}: {error}") from error


@dataclass
class Part:
    """A training with one seed on one task, and how it was scored."""

    task: str
    seed: int
    status: str  # done or diverged
    score: float  # mean return of the evaluation's episodes with sampled actions; the random score where it diverged
    normalized: float
    steps: int
    seconds: float


class Worker:
    """One process at work on a study."""

    def __init__(self, grid: Grid, study: Study, directory: Path) -> None:
        self.grid, self.study, self.directory = grid, study, directory
        self.determinants = what_determines(grid, study)
        self.code = self.determinants.code()
        self.untuned = {task: grid.resolved(study.algorithm, task) for task in study.tasks}
        self.places = [(seed, task) for seed in study.tuning.seeds for task in study.tasks]
        self.optuna = self._open()

    def _open(self) -> optuna.Study:
        """The study in the folder's journal, begun if it is not there.

        A study that was made by other code is put aside and begun anew. Raises InvalidStudy where the code is the same
        and the grid asks for another study, with another search space for example.
        """
        journal, code = self.directory / JOURNAL, self.code.name
        determines = json.loads(json.dumps(identity(self.grid, self.study)))
        name = f"{self.study.algorithm} on {self.study.group}"
        storage = open_journal(journal)
        names = {found.study_name for found in storage.get_all_studies()}
        if names - {name}:
            raise InvalidStudy(f"{journal} holds another study than {name}; move {self.directory} away to tune anew")
        of_journal = {"storage": storage, "study_name": name, "pruner": make_pruner(self.grid.path, self.study)}
        if names:
            study = optuna.load_study(**of_journal)  # create_study would write into a journal that may yet be refused
        else:
            study = optuna.create_study(**of_journal, direction="maximize", load_if_exists=True)
        if not study.get_trials(deepcopy=False):
            study.set_user_attr("determines", determines)
            study.set_user_attr("code", code)
            t = self.study.tuning
            study.set_user_attr("runs", t.trials * len(t.seeds) + 2 * len(t.fresh_seeds))  # decides about compiling
        found = study.user_attrs
        if "determines" not in found:
            raise InvalidStudy(f"{journal} was not made by this command; move {self.directory} away to tune anew")
        if found["code"] == code:
            differences = "; ".join(differing(found["determines"], determines))
            if differences:
                raise InvalidStudy(f"{journal} is a study with {differences}. To tune anew, move {self.directory} away")
            return study
        if self.study.tuning.workers > 1:
            raise InvalidStudy(f"{journal} was made by other code. To tune anew, move {self.directory} away")
        aside = next(p for i in range(1, 10**6) if not (p := journal.with_name(SUPERSEDED.format(i))).exists())
        journal.rename(aside)
        print(f"the code has changed since {journal} was begun; it is kept as {aside.name}, and tuning begins anew")
        return self._open()

    def work(self) -> None:
        """Evaluate trials until there are as many as the grid asks for."""
        while (claimed := self._claim()) is not None:
            trial, lock = claimed
            try:
                self._evaluate(trial)
            finally:
                lock.release()

    def work_until_all_have_ended(self) -> None:
        """Evaluate what killed workers have left, and wait for the workers that are still running."""
        self.work()
        while self.trials(TrialState.RUNNING):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self.work()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in one of these states, or all. No more than the grid asks for, also where there are more."""
        trials = self.optuna.get_trials(deepcopy=False)[: self.study.tuning.trials]
        return [trial for trial in trials if not states or trial.state in states]

    def _claim(self) -> tuple[FrozenTrial, FileLock] | None:
        """The next trial to evaluate, with its lock: one whose worker was killed, or a new one. None: all are done."""
        with lock_of(self.directory, "claim"):
            for trial in self.trials(TrialState.RUNNING):
                lock = lock_of(self.directory, f"trial {trial.number}")
                with contextlib.suppress(Timeout):
                    lock.acquire(blocking=False)
                    now = self.optuna.get_trials(deepcopy=False)[trial.number]
                    if now.state == TrialState.RUNNING:  # and was not ended before its lock was free
                        return now, lock
                    lock.release()
            number = len(self.optuna.get_trials(deepcopy=False))
            if number >= self.study.tuning.trials:
                return None
            lock = lock_of(self.directory, f"trial {number}")
            lock.acquire()
            if self.study.tuning.workers > 1:
                self.optuna.set_user_attr("repeatable", False)
            self.optuna.add_trial(self._new_trial(number))
            return self.optuna.get_trials(deepcopy=False)[number], lock

    def _new_trial(self, number: int) -> FrozenTrial:
        """Trial `number`, about to be evaluated: the untuned settings, or what the sampler draws."""
        distributions = {parameter(n, d): distribution(d) for n, d in self.study.space.items()}
        if number == UNTUNED:
            parameters = to_parameters(self.study, {n: v for n, v in self.untuned_settings().items() if v is not None})
        else:
            t = self.study.tuning
            seed = int(np.random.SeedSequence([t.sampler_seed, number]).generate_state(1)[0])
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=t.startup_trials)
            finished = (TrialState.COMPLETE, TrialState.PRUNED)
            drawn_from = optuna.create_study(direction="maximize", sampler=sampler)
            # Without trial 0 where it lacks a setting: TPE draws jointly only what every trial has.
            seen = [x for x in self.optuna.get_trials(states=finished) if len(x.params) == len(distributions)]
            drawn_from.add_trials(seen)
            parameters = drawn_from.ask(distributions).params
        return optuna.trial.create_trial(
            state=TrialState.RUNNING, params=parameters, distributions={n: distributions[n] for n in parameters}
        )

    def untuned_settings(self) -> dict[str, Any]:
        """Searched settings before tuning; None where they differ between tuning tasks or lie outside the space."""
        values = {name: [a.settings()[name] for a in self.untuned.values()] for name in self.study.space}
        return {
            name: vs[0] if all(v == vs[0] for v in vs) and self.study.space[name].holds(vs[0]) else None
            for name, vs in values.items()
        }

    def settings_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """The settings of a trial; empty for the trial with the untuned settings, which may differ between tasks."""
        return {} if trial.number == UNTUNED else to_settings(self.study, trial.params)

    def _evaluate(self, frozen: FrozenTrial) -> None:
        """Evaluate a trial's parts that were not evaluated yet, and end it."""
        trial = optuna.trial.Trial(self.optuna, frozen._trial_id)
        settings = self.settings_of(frozen)
        parts = parts_of(frozen)
        latest = len(parts) - 1  # after the parts before it, the pruner has let the trial go on
        for step, (seed, task) in enumerate(self.places):
            if step == len(parts):
                parts.append(self._train(settings, task, seed))
                trial.set_user_attr("parts", [vars(part) for part in parts])
            value = objective(parts[: step + 1], len(self.study.tasks), self.study.tuning.spread_penalty)
            if step not in frozen.intermediate_values:
                trial.report(value, step)
            last = step == len(self.places) - 1
            if not last and step >= latest and frozen.number != UNTUNED and trial.should_prune():
                self.optuna.tell(frozen.number, state=TrialState.PRUNED)
                break
        else:
            self.optuna.tell(frozen.number, value)
        stopped = "" if last else f", pruned after {len(parts)} of {len(self.places)} parts"
        print(f"trial {frozen.number} ({as_text(settings) or 'untuned'}): {value:.3f}{stopped}", flush=True)

    def _train(self, settings: Mapping[str, Any], task: str, seed: int) -> Part:
        """Train and score settings with one seed on one tuning task."""
        of_grid, steps = self.grid.tasks[task], self.study.tasks[task]
        algorithm = self.grid.resolved(self.study.algorithm, task, settings)
        progress = Progress(f"{task} {seed}", steps, lines=0)
        began = time.perf_counter()
        with time_limit(of_grid.time_limit, self.grid.path):
            run = algorithm.train(
                of_grid.task,
                seed,
                steps,
                compile=self.grid.compile,
                runs=self.optuna.user_attrs["runs"],
                evaluations=("sampled",),
                on_update=progress,
                **named_by(algorithm.train, on_wait=progress.wait),
            )
        run = checked_run(run, algorithm, of_grid.task, ("sampled",))
        diverged = run.evaluation is None
        score = of_grid.random_score if diverged else float(np.mean(run.evaluation["sampled"].returns))
        seconds = round(time.perf_counter() - began, 3)
        status = "diverged" if diverged else "done"
        return Part(task, seed, status, score, of_grid.normalized(score), run.steps_taken, seconds)

    def compare_on_fresh_seeds(self) -> None:
        """Train and score the winner and the untuned settings with seeds that no trial has seen."""
        for trial in {self.best.number: self.best, UNTUNED: self.trials()[UNTUNED]}.values():
            parts = self.fresh_parts(trial)
            for seed, task in self._fresh_places()[len(parts) :]:
                parts.append(self._train(self.settings_of(trial), task, seed))
                self.optuna.set_user_attr(f"fresh {trial.number}", [vars(part) for part in parts])

    def fresh_parts(self, trial: FrozenTrial) -> list[Part]:
        """The parts of a trial on fresh seeds; none where they are not the beginning of what the grid asks for."""
        parts = [Part(**part) for part in self.optuna.user_attrs.get(f"fresh {trial.number}", [])]
        as_asked = [p for p, place in zip(parts, self._fresh_places(), strict=False) if (p.seed, p.task) == place]
        return as_asked if len(as_asked) == len(parts) else []

    def _fresh_places(self) -> list[tuple[int, str]]:
        return [(seed, task) for seed in self.study.tuning.fresh_seeds for task in self.study.tasks]

    @property
    def best(self) -> FrozenTrial:
        """The complete trial with the highest score; the first of equal ones."""
        complete = self.trials(TrialState.COMPLETE)
        return max(complete, key=lambda trial: (trial.value, -trial.number))

    def importances(self) -> dict[str, float] | None:
        """The importance of each setting by PED-ANOVA; the sum is 1.

        None where fewer than FEWEST_FOR_IMPORTANCE trials are complete, or where all have the same score.
        """
        space, complete = self.study.space, self.trials(TrialState.COMPLETE)
        complete = [trial for trial in complete if len(trial.params) == len(space)]
        if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in complete}) == 1:
            return None
        study = optuna.create_study(direction="maximize")
        study.add_trials(complete)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {name: float(shares[parameter(name, d)]) for name, d in space.items()}

    def summary(self) -> str:
        """One line about a finished study."""
        trials = self.trials()
        pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
        won = "the untuned settings" if self.best.number == UNTUNED else f"trial {self.best.number}"
        return f"{len(trials)} trials, {pruned} pruned; best: {won}, {self.best.value:.3f}"


def as_text(settings: Mapping[str, Any]) -> str:
    """Settings for a person to read."""
    return ", ".join(
        f"{n} {value:.4g}" if isinstance(value, float) else f"{n} {value}" for n, value in settings.items()
    )


def parts_of(trial: FrozenTrial) -> list[Part]:
    """What was evaluated of a trial."""
    return [Part(**part) for part in trial.user_attrs.get("parts", [])]


def objective(parts: Sequence[Part], tasks: int, spread_penalty: float) -> float:
    """Mean over seeds of the mean normalised score over tasks, minus the penalty times its deviation over seeds.

    parts: of the first seed's tasks, then of the second's; the last seed may lack some. tasks: how many there are.
    """
    scores = [part.normalized for part in parts]
    by_seed = [np.mean(scores[i : i + tasks]) for i in range(0, len(scores), tasks)]
    return float(np.mean(by_seed) - spread_penalty * np.std(by_seed))


def differing(found: Any, asked: Any, where: str = "") -> Iterator[str]:
    """The differences between two nested mappings, each as half a sentence."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in [*found, *(key for key in asked if key not in found)]:
            yield from differing(found.get(key, "nothing"), asked.get(key, "nothing"), f"{where}.{key}".lstrip("."))
    elif found != asked:
        yield f"{where} {found} where the grid has {asked}"


def write_study(directory: Path, worker: Worker) -> None:
    """Write what the analysis reads: trials, parts, the winner, and last the record with what was asked for."""
    study, trials, best = worker.study, worker.trials(), worker.best
    untuned = worker.untuned_settings()
    fields = list(study.space)
    rows = []
    for trial in trials:
        parts = parts_of(trial)
        settings = untuned if trial.number == UNTUNED else worker.settings_of(trial)
        diverged = sum(part.status == "diverged" for part in parts)
        cost = sum(part.steps for part in parts), round(sum(part.seconds for part in parts), 3)
        state = "complete" if trial.state == TrialState.COMPLETE else "pruned"
        rows.append([trial.number, state, trial.value, len(parts), diverged, *cost, *(settings[f] for f in fields)])
    write_whole(directory / "trials.csv", csv_text((*TRIAL_COLUMNS, *fields), rows))
    evaluated = [("trial", trial.number, "tuning", part) for trial in trials for part in parts_of(trial)]
    for settings, trial in (("tuned", best), ("untuned", trials[UNTUNED])):
        evaluated += [(settings, trial.number, "fresh", part) for part in worker.fresh_parts(trial)]
    parts = [[*of, *vars(part).values()] for *of, part in evaluated]
    write_whole(directory / "parts.csv", csv_text(PART_COLUMNS, parts))
    found = {"schema": SCHEMA, "algorithm": study.algorithm, "group": study.group, "trial": best.number}
    found |= {"score": best.value, "settings": worker.settings_of(best)}
    write_json(directory / BEST, found)
    of_tasks = {
        task: {"steps": steps}
        | {key: getattr(worker.grid.tasks[task], key) for key in ("random_score", "reference_score")}
        for task, steps in study.tasks.items()
    }
    asked = study.description() | {"tasks": of_tasks, "repeatable": worker.optuna.user_attrs.get("repeatable", True)}
    result = {"untuned": untuned, "best": found, "importances": worker.importances(), "importance_method": "PED-ANOVA"}
    made_by = {"code": worker.code.name} | provenance(ROOT, (*PACKAGES, "optuna"))
    # The journal goes on growing; what is described here is how it begins.
    files = ("trials.csv", "parts.csv", BEST, JOURNAL)
    write_record(directory / "study.json", {"schema": SCHEMA} | asked | result | made_by, files)


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
