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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from policy_gradient_ladder.core.run_check import checked_training

from .cells import Grid, identity
from .checks import GridError
from .command import exit_with_sentence
from .determinants import code_of, what_determines
from .grid import load_grid
from .importance import METHOD, importances
from .journal import Part, differing, lock_of, objective, open_journal, parts_of, problem_of
from .parameters import distributions_of, enqueued, to_parameters, to_settings
from .process import age, end_at_once, time_limit
from .progress import Progress, named_by
from .pruning import make_pruner
from .record import PACKAGES, check_writable, csv_text, provenance, write_json, write_record, write_whole
from .schema import (
    BEST,
    DETERMINED_BY,
    JOURNAL,
    PART_COLUMNS,
    SCHEMA,
    SUPERSEDED,
    TASK_CODE,
    TRIAL_COLUMNS,
    UNTUNED,
    WRITTEN_TO,
)
from .search import InvalidStudy, Study
from .sources import ROOT

AGAIN = "again"  # the attribute of a trial with the number of the failed one whose settings it has
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
            worker.check_trials()
            worker.compare_on_fresh_seeds()
            worker.determinants.check_code(worker.code)
            write_study(options.output, worker)
    except Timeout as error:
        raise InvalidStudy(f"another process is at work in {options.output}") from error
    if waiting := worker.optuna.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        print(f"note: {len(waiting)} enqueued trials wait: the grid asks for {study.tuning.trials}, and more run them")
    print(f"{worker.summary()}; {age():.0f} s{WRITTEN_TO}{options.output}")


class Worker:
    """One process at work on a study."""

    def __init__(self, grid: Grid, study: Study, directory: Path) -> None:
        self.grid, self.study, self.directory = grid, study, directory
        self.determinants = what_determines(grid, study)
        self.code = self.determinants.code()
        self.untuned = {task: grid.resolved(study.algorithm, task) for task in study.tasks}
        self.places = [(seed, task) for seed in study.tuning.seeds for task in study.tasks]
        self.optuna = self._open()
        self.check_trials()

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
        if missing := {"determines", "code", "runs"} - found.keys():
            raise InvalidStudy(
                f"{journal} was not made by this command; move {self.directory} away to tune anew"
                f" (no attribute {min(missing)!r})"
            )
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
        """The trials in one of these states, or all. No more than the grid asks for, also where there are more.

        A trial that was marked as failed is none of them: another takes its place.
        """
        trials = [trial for trial in self.optuna.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]
        return [trial for trial in trials[: self.study.tuning.trials] if not states or trial.state in states]

    def check_trials(self) -> None:
        """Raise InvalidStudy where a trial in the journal is none that this command can have made or can evaluate."""
        for trial in self.optuna.get_trials(deepcopy=False):
            self._check(trial)

    def _check(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.WAITING and trial.number != UNTUNED:
            self._enqueued(trial)
        elif problem := problem_of(trial, self.study, self.untuned_settings(), self.places):
            raise InvalidStudy(
                f"{self.directory / JOURNAL}: trial {trial.number} {problem}. Nothing was changed; "
                f"move {self.directory} away to tune anew; what is to be tried can be enqueued (Optuna's enqueue_trial)"
            )

    def _enqueued(self, trial: FrozenTrial) -> dict[str, Any]:
        """The parameters that a waiting trial was given; the sampler draws the others.

        Marks the trial as failed and raises InvalidStudy where one of them is not searched or lies outside the space.
        """
        try:
            given = enqueued(self.study, trial.system_attrs.get("fixed_params", trial.params))
            for task in self.study.tasks:
                self.grid.resolved(self.study.algorithm, task, to_settings(self.study, given))
        except (InvalidStudy, GridError) as error:
            self.optuna._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise InvalidStudy(
                f"{self.directory / JOURNAL}: trial {trial.number} was enqueued with {error}. It is marked as "
                "failed now: the same command goes on without it; enqueue it again with what the study searches"
            ) from error
        return given

    def _claim(self) -> tuple[FrozenTrial, FileLock] | None:
        """The next trial to evaluate, with its lock: one whose worker was killed, or a new one. None: all are done."""
        with lock_of(self.directory, "claim"):
            for trial in self.trials(TrialState.RUNNING):
                lock = lock_of(self.directory, f"trial {trial.number}")
                with contextlib.suppress(Timeout):
                    lock.acquire(blocking=False)
                    now = self.optuna.get_trials(deepcopy=False)[trial.number]
                    if now.state == TrialState.RUNNING:  # and was not ended before its lock was free
                        self._check(now)
                        return now, lock
                    lock.release()
            waiting, failed = self.trials(TrialState.WAITING), self._failed()
            if self.study.tuning.workers > 1 or waiting or failed:
                self.optuna.set_user_attr("repeatable", False)
            if waiting:
                trial_id = self._begin(waiting[0])
            elif len(self.trials()) < self.study.tuning.trials:
                new = _again(failed[0]) if failed else self._new_trial(len(self.optuna.get_trials(deepcopy=False)))
                trial_id = self.optuna._storage.create_new_trial(self.optuna._study_id, template_trial=new)
            else:
                return None
            trial = self.optuna._storage.get_trial(trial_id)
            lock = lock_of(self.directory, f"trial {trial.number}")
            lock.acquire()
            return trial, lock

    def _failed(self) -> list[FrozenTrial]:
        """The trials that were marked as failed, had all their settings, and were not begun again."""
        trials = self.optuna.get_trials(deepcopy=False)
        again = {trial.user_attrs.get(AGAIN) for trial in trials}
        failed = (trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in again)
        return [trial for trial in failed if trial.distributions == distributions_of(self.study)]

    def _begin(self, waiting: FrozenTrial) -> int:
        """Give an enqueued trial the parameters that it lacks, and let it be about to be evaluated; its id."""
        storage, new = self.optuna._storage, self._new_trial(waiting.number, self._enqueued(waiting))
        for name, of in new.distributions.items():
            storage.set_trial_param(waiting._trial_id, name, of.to_internal_repr(new.params[name]), of)
        storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)
        return waiting._trial_id

    def _new_trial(self, number: int, given: Mapping[str, Any] | None = None) -> FrozenTrial:
        """Trial `number`, about to be evaluated: the untuned settings, or what is given and the sampler draws."""
        distributions = distributions_of(self.study)
        if number == UNTUNED:
            parameters = to_parameters(self.study, self.untuned_settings())
        else:
            t = self.study.tuning
            seed = int(np.random.SeedSequence([t.sampler_seed, number]).generate_state(1)[0])
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=t.startup_trials)
            finished = (TrialState.COMPLETE, TrialState.PRUNED)
            drawn_from = optuna.create_study(direction="maximize", sampler=sampler)
            # Without trial 0 where it lacks a setting: TPE draws jointly only what every trial has.
            seen = [x for x in self.optuna.get_trials(states=finished) if len(x.params) == len(distributions)]
            drawn_from.add_trials(seen)
            if given:
                drawn_from.enqueue_trial(dict(given))
            parameters = drawn_from.ask(distributions).params
        return optuna.trial.create_trial(
            state=TrialState.RUNNING, params=parameters, distributions={n: distributions[n] for n in parameters}
        )

    def untuned_settings(self) -> dict[str, Any]:
        """Searched settings before tuning, without those that differ between tuning tasks or lie outside the space."""
        values = {name: [a.settings()[name] for a in self.untuned.values()] for name in self.study.space}
        return {
            name: first
            for name, (first, *others) in values.items()
            if all(other == first for other in others) and self.study.space[name].holds(first)
        }

    def settings_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """The settings of a trial; empty for the trial with the untuned settings, which may differ between tasks."""
        return {} if trial.number == UNTUNED else to_settings(self.study, trial.params)

    def _evaluate(self, frozen: FrozenTrial) -> None:
        """Evaluate a trial's parts that were not evaluated yet, and end it, unless someone else has ended it."""
        try:
            self._evaluate_parts(frozen)
        except optuna.exceptions.UpdateFinishedTrialError:
            print(f"trial {frozen.number} was ended from elsewhere", flush=True)

    def _evaluate_parts(self, frozen: FrozenTrial) -> None:
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
                self.optuna.tell(frozen.number, state=TrialState.PRUNED, skip_if_finished=True)
                break
        else:
            self.optuna.tell(frozen.number, value, skip_if_finished=True)
        stopped = "" if last else f", pruned after {len(parts)} of {len(self.places)} parts"
        print(f"trial {frozen.number} ({as_text(settings) or 'untuned'}): {value:.3f}{stopped}", flush=True)

    def _train(self, settings: Mapping[str, Any], task: str, seed: int) -> Part:
        """Train and score settings with one seed on one tuning task."""
        of_grid, steps = self.grid.tasks[task], self.study.tasks[task]
        algorithm = self.grid.resolved(self.study.algorithm, task, settings)
        progress = Progress(f"{task} {seed}", steps, lines=0)
        began = time.perf_counter()
        with time_limit(of_grid.time_limit, self.grid.path):
            run = checked_training(
                algorithm,
                of_grid.task,
                seed,
                steps,
                compile=self.grid.compile,
                runs=self.optuna.user_attrs["runs"],
                evaluations=("sampled",),
                on_update=progress,
                **named_by(algorithm.train, on_wait=progress.wait),
            )
        scored = run.evaluation is not None
        score = float(np.mean(run.evaluation["sampled"].returns)) if scored else of_grid.random_score
        seconds = round(time.perf_counter() - began, 3)
        return Part(task, seed, run.status, score, of_grid.normalized(score), run.steps_taken, seconds)

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

    def summary(self) -> str:
        """One line about a finished study."""
        trials = self.trials()
        pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
        won = "the untuned settings" if self.best.number == UNTUNED else f"trial {self.best.number}"
        return f"{len(trials)} trials, {pruned} pruned; best: {won}, {self.best.value:.3f}"


def _again(failed: FrozenTrial) -> FrozenTrial:
    """A trial with a failed one's settings, about to be evaluated."""
    attributes = {AGAIN: failed.number}
    parts = {"params": failed.params, "distributions": failed.distributions, "user_attrs": attributes}
    return optuna.trial.create_trial(state=TrialState.RUNNING, **parts)


def as_text(settings: Mapping[str, Any]) -> str:
    """Settings for a person to read."""
    return ", ".join(
        f"{n} {value:.4g}" if isinstance(value, float) else f"{n} {value}" for n, value in settings.items()
    )


def write_study(directory: Path, worker: Worker) -> None:
    """Write what the analysis reads: trials, parts, the winner, and last the record with what was asked for."""
    study, trials, best = worker.study, worker.trials(), worker.best
    untuned = worker.untuned_settings()
    fields = list(study.space)
    rows = []
    for trial in trials:
        parts = parts_of(trial)
        settings = untuned if trial.number == UNTUNED else worker.settings_of(trial)
        diverged = sum(part.status != "done" for part in parts)
        cost = sum(part.steps for part in parts), round(sum(part.seconds for part in parts), 3)
        state = "complete" if trial.state == TrialState.COMPLETE else "pruned"
        values = (
            ("null" if settings[name] is None else settings[name]) if name in settings else None for name in fields
        )
        rows.append([trial.number, state, trial.value, len(parts), diverged, *cost, *values])
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
        task: {"steps": steps, TASK_CODE: code_of(worker.grid.tasks[task].task).record()}
        | {key: getattr(worker.grid.tasks[task], key) for key in ("random_score", "reference_score")}
        for task, steps in study.tasks.items()
    }
    asked = study.description() | {"tasks": of_tasks, "repeatable": worker.optuna.user_attrs.get("repeatable", True)}
    asked["determines"] = identity(worker.grid, study)
    result = {
        "untuned": {name: untuned.get(name) for name in fields},
        "best": found,
        "importances": importances(study, worker.trials(TrialState.COMPLETE)),
        "importance_method": METHOD,
    }
    made_by = {"code": worker.code.name, DETERMINED_BY: worker.determinants.digest(worker.code)}
    made_by |= provenance(ROOT, (*PACKAGES, "optuna"))
    # The journal goes on growing; what is described here is how it begins.
    files = ("trials.csv", "parts.csv", BEST, JOURNAL)
    write_record(directory / "study.json", {"schema": SCHEMA} | asked | result | made_by, files)


if __name__ == "__main__":
    exit_with_sentence(main)
    end_at_once()
