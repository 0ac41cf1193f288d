"""Writes a comparison of two results folders as Markdown."""

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from policy_gradient_ladder.experiments.schema import RUN_STATES, STOPPED

from ..reading.jobs import STATES
from ..sections.ranking.tables import ALL_TASKS
from ..words import count, enumerate_text, fixed, interval, number, p_text, plural, setting_text
from .pairs import (
    DIFFERENT,
    MEASURES,
    SCALE,
    UNKNOWN,
    Change,
    Comparison,
    RunPair,
    ScorePair,
    all_identical,
    grouped,
    name_of,
)

WIDTH = 100  # columns of the text
NAMED = 8  # names in a list; of the others only the number is said


def text_of(found: Comparison) -> str:
    """The whole comparison as Markdown that reads well in a terminal, the verdict first."""
    parts = ["# Two results compared", wrapped(f"**{found.verdict}**"), folders_text(found.folders, found.titles)]
    sections = {
        "What was asked for": asked_text(found),
        "Run by run": runs_text(found),
        "Scores": scores_text(found),
        "What made them": made_by_text(found.made_by),
    }
    for title, paragraphs in sections.items():
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def verdict_text(found: Comparison) -> str:
    """The verdict on all scores together, in one or two sentences."""
    alone = [pair for pair in found.scores if pair.task != ALL_TASKS]
    verdicts = {name: [pair.verdict for pair in own] for name, own in grouped(alone, name_of).items()}
    pairs = f"{plural(len(verdicts), 'pair')} of an algorithm and a task"
    if not verdicts:
        return "Cannot be compared: no algorithm has runs on the same task in both."
    differ = [name for name, own in verdicts.items() if "differs" in own]
    untested = [name for name, own in verdicts.items() if "too few runs" in own]
    moved = [name for name, own in verdicts.items() if set(own) != {"identical"}]
    if found.status == DIFFERENT:
        names = names_text(differ, found.titles)
        said = f"Not the same: {len(differ)} of {pairs} {verb('differ', differ)} by more than chance: {names}."
        if not differ:
            together = dict.fromkeys(pair.algorithm for pair in found.scores if pair.verdict == "differs")
            names = enumerate_text(found.titles[algorithm] for algorithm in together)
            said = f"Not the same: no pair alone differs by more than chance, but with all tasks together: {names}."
        return f"{said} {asked_sentence(found, differ)}".strip()
    if not moved:
        whole = all(len(found.runs) == folder["requested"] for folder in found.folders.values())
        which = f"all {plural(len(found.runs), 'run')}{'' if whole else ' that are in both'}"
        return f"The same numbers: {which} {verb('have', found.runs)} identical episodes and evaluations."
    if found.status == UNKNOWN:
        return (
            f"Not the same numbers, and nothing says whether by more than chance: {plural(len(untested), 'pair')} "
            f"{verb('differ', untested)} and {verb('have', untested)} no test, with a single run in a or in b or "
            "a spread too large for numbers."
        )
    same = [name for name in moved if all(p.same_within <= found.margin for p in alone if name_of(p) == name)]
    most = f"{len(moved)} of {pairs} {verb('are', moved)} not identical"
    none = f"none of {pairs} is identical"
    parts = [most if len(moved) < len(verdicts) else none] if found.runs else [f"of {pairs}"]
    parts += [f"{len(same)} {verb('are', same)} the same within ± {found.margin:g}"] if same else []
    parts += [f"{len(untested)} cannot be tested"] if untested else []
    numbers = "Not the same numbers" if found.runs else "No run has the same seed in both"
    return f"{numbers}, but no score differs by more than chance: {', '.join(parts)}."


def asked_sentence(found: Comparison, differ: list[tuple[str, str]]) -> str:
    """Whether the folders ask for different things where scores differ."""
    if not differ:
        return ""
    asked = {name_of(pair): pair.asked for pair in found.scores if pair.asked and name_of(pair) in differ}
    if not asked:
        return "Both ask for the same there."
    kinds = ", ".join(dict.fromkeys(kind for own in asked.values() for kind in own))
    if len(asked) == len(differ):
        return f"They ask for different things there too ({kinds})."
    return f"For {len(asked)} of them a and b ask for different things ({kinds})."


def folders_text(folders: dict[str, dict[str, Any]], titles: dict[str, str]) -> str:
    """Both folders with their grids and numbers of runs, and the cells without a run."""
    said = []
    for letter, folder in folders.items():
        present = sum(folder[state] for state in RUN_STATES)
        other = ", ".join(f"{count(folder[state])} {state}" for state in STATES[1:] if folder[state])
        runs = f"{count(present)} of {plural(folder['requested'], 'run')}{f' ({other})' if other else ''}"
        said.append(bullet(f"{letter}: `{folder['folder']}`, grid {folder['grid']}, {runs}"))
        if folder["absent"]:
            said.append(bullet(f"no run in {letter}: {cells_text(folder['absent'], titles)}"))
    return "\n".join(said)


def cells_text(cells: list[dict[str, Any]], titles: dict[str, str]) -> str:
    """PPO on Hopper-v5 (seeds 3, 4), and so on."""
    by_pair = grouped(cells, lambda cell: (cell["task"], cell["algorithm"]))
    return few(
        f"{titles[algorithm]} on {task} (seed{'s' if len(own) > 1 else ''} {', '.join(str(c['seed']) for c in own)})"
        for (task, algorithm), own in by_pair.items()
    )


def asked_text(found: Comparison) -> list[str]:
    """What only one folder asks for, and what the two ask for differently."""
    said = []
    for letter, only in found.only.items():
        said += [
            f"only in {letter}, {what}: {few(map(str, only[what]))}"
            for what in ("tasks", "algorithms", "seeds")
            if only[what]
        ]
        if only["cells"]:
            said.append(f"only in {letter}, cells: {cells_text(only['cells'], found.titles)}")
    plain = [change for change in found.changes if change.kind != "setting"]
    for (kind, name), own in grouped(plain, lambda change: (change.kind, change.name)).items():
        title = f"tuning of {name.replace(' ', ' on ')}" if kind == "study" else name
        said.append(f"{title}: {changes_text(own)}")
    settings = [change for change in found.changes if change.kind == "setting"]
    shared = grouped([p for p in found.scores if p.task != ALL_TASKS], lambda pair: pair.algorithm)
    for (algorithm, *tasks), own in grouped(settings, lambda change: (change.name, *change.tasks)).items():
        every = {pair.task for pair in shared.get(algorithm, ())} == set(tasks) and len(tasks) > 1
        where = f"all {len(tasks)} tasks" if every else enumerate_text(tasks)
        said.append(f"{found.titles[algorithm]} on {where}: {changes_text(own)}")
    if not said:
        return [wrapped("Both ask for the same: tasks, steps, preprocessing, algorithms, settings, seeds and tuning.")]
    return ["\n".join(bullet(line) for line in said)]


def changes_text(changes: list[Change]) -> str:
    """`clip` 0.2 → 0.1, `gamma` 0.99 → 0.98 (tuned)."""
    return ", ".join(f"`{change.key}` {change_text(change)}" for change in changes)


def change_text(change: Change) -> str:
    """Both values of a change, and whether a study chose them."""
    a, b = asked_value(change.a), asked_value(change.b)
    if a == b:
        a, b = repr(change.a), repr(change.b)
    if all(change.tuned):
        return f"{a} → {b} (tuned)"
    a, b = (f"{text} (tuned)" if tuned else text for text, tuned in zip((a, b), change.tuned, strict=True))
    return f"{a} → {b}"


def asked_value(value: Any) -> str:
    """A value that a grid asks for; whole numbers with thousands separators."""
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else setting_text(value)


def runs_text(found: Comparison) -> list[str]:
    """How many runs are identical in both, and up to which step the others agree."""
    if not found.runs:
        return ["No cell (task, algorithm and seed) has a run in both."]
    same = [run for run in found.runs if run.identical]
    total = f"{plural(len(found.runs), 'run')} {verb('are', found.runs)} of the same task, algorithm and seed in both"
    if len(same) == len(found.runs):
        return [wrapped(f"{total}: all identical, to the last episode and evaluation.")]
    said = wrapped(
        f"{total}: {count(len(same))} identical to the last episode and evaluation, "
        f"{count(len(found.runs) - len(same))} not. How far these agree, in environment steps:"
    )
    rows = []
    for algorithm, own in grouped(found.runs, lambda run: run.algorithm).items():
        moved = {task: runs for task, runs in grouped(own, lambda run: run.task).items() if not all_identical(runs)}
        rows += [[f"**{found.titles[algorithm]}**", "", ""]] if moved else []
        rows += [
            [task, f"{sum(r.identical for r in runs)} of {len(runs)}", until_text(runs)] for task, runs in moved.items()
        ]
    return [said, table(["", "identical", "the others agree until step"], rows, "lrl")]


def until_text(runs: list[RunPair]) -> str:
    """The range of steps up to which runs agree that are not identical."""
    steps = sorted(run.same_until for run in runs if run.same_until is not None)
    evaluations = sum(not run.identical and run.same_until is None for run in runs)
    said = []
    if steps:
        first, last = steps[0], steps[-1]
        from_start = "0: the first episode differs"
        said.append((from_start if last == 0 else count(last)) if first == last else f"{count(first)} to {count(last)}")
    if evaluations:
        said.append(f"the end, {plural(evaluations, 'evaluation')} {'differs' if evaluations == 1 else 'differ'}")
    return ", ".join(said)


def scores_text(found: Comparison) -> list[str]:
    """The tables of both measures, without identical pairs."""
    if not found.scores:
        return ["No algorithm has runs on the same task in both."]
    shown = [pair for pair in found.scores if pair.verdict != "identical"]
    identical = len({name_of(pair) for pair in found.scores if pair.verdict == "identical"})
    if not shown:
        return [
            f"All {plural(identical, 'pair')} of an algorithm and a task are identical, so there is nothing to test."
        ]
    notes = scores_notes(found, shown, identical)
    said = [wrapped(how_to_read(found, shown)), *(["\n".join(map(bullet, notes))] if notes else [])]
    for measure, own in grouped(shown, lambda pair: pair.measure).items():
        said += [
            f"### {MEASURES[measure]}",
            table(["", "a", "b", "b − a [95 %]", "p", ""], score_rows(found, own), "lrrrrl"),
        ]
    return said


def how_to_read(found: Comparison, shown: list[ScorePair]) -> str:
    """What the columns of the tables are."""
    sizes = {n for pair in shown if pair.task != ALL_TASKS for n in (pair.n_a, pair.n_b)}
    fewer = ", or as many as stand in brackets," if len(sizes) > 1 else ""
    if sizes == {1}:
        return (
            "Means of raw scores in a and b, and b − a of normalised ones (random 0, reference 1). Every mean is a "
            "single run, whose spread is unknown: there is no interval and no test. More seeds give both."
        )
    tests = sum(not np.isnan(pair.p) for pair in shown)
    return (
        f"Means over {max(sizes)} runs{fewer} of raw scores in a and b (of several tasks: of normalised ones), and "
        f"b − a of normalised scores (random 0, reference 1) with Welch’s 95 % interval. p is corrected for all "
        f"{plural(tests, 'test')} in both tables (Holm): a single false “differs” has a chance of at most 5 %."
    )


def scores_notes(found: Comparison, shown: list[ScorePair], identical: int) -> list[str]:
    """What a reader of the tables must know, of that which holds here."""
    notes = []
    undecided = [pair.same_within for pair in shown if pair.verdict == "not told apart"]
    if undecided:
        notes.append(
            f"“Not told apart” means that no difference was found, not that they are equal: their intervals reach "
            f"differences of {fixed(float(np.median(undecided)))} at the median and {fixed(max(undecided))} at most. "
            f"“Same” means that the whole interval, of this pair alone, is within ± {found.margin:g}."
        )
    together = [p for p in shown if (p.task, p.measure) == (ALL_TASKS, "score") and p.verdict != "differs"]
    if together:
        within = enumerate_text(f"± {fixed(pair.same_within)} ({found.titles[pair.algorithm]})" for pair in together)
        notes.append(f"With the tasks taken together, final scores are the same within {within}.")
    tested = {name_of(pair) for pair in shown if not np.isnan(pair.p)}
    if any(name_of(run) in tested for run in found.runs):
        notes.append(
            "The test takes all runs as independent. Runs of the same seed share their initial weights and the seeds "
            "of their environments. If that makes them alike, the intervals are wider than necessary."
        )
    few_runs = {name_of(pair): None for pair in shown if pair.verdict == "too few runs"}
    if few_runs and tested:
        notes.append(
            f"Too few runs: with one run in a or in b (or a spread too large for numbers) there is no interval and no "
            f"test: "
            f"{names_text(list(few_runs), found.titles)}."
        )
    if any(pair.verdict == "equal" for pair in shown):
        notes.append("“Equal” says little: every run of both has the same score, so there is no spread to judge by.")
    diverged = [p for p in shown if p.measure == "score" and p.task != ALL_TASKS and p.diverged_a + p.diverged_b]
    if diverged:
        counts = few(
            f"{found.titles[p.algorithm]} on {p.task} ({p.diverged_a} of {p.n_a} in a, {p.diverged_b} of {p.n_b} in b)"
            for p in diverged
        )
        stopped = any(folder[STOPPED] for folder in found.folders.values())
        also = " Runs that were stopped by their task count among them." if stopped else ""
        notes.append(f"Diverged runs, which have the random score: {counts}.{also}")
    if any(pair.asked for pair in shown):
        notes.append("† a and b ask for different things: see above.")
    scales = dict.fromkeys(change.name for change in found.changes if change.kind == "task" and change.key in SCALE)
    if scales:
        notes.append(
            f"{enumerate_text(scales)}: random or reference score is another in b. Everything here is normalised with "
            f"those of a. Diverged runs, and curves before the first episode, count as a’s random score on both sides."
        )
    if identical:
        notes.append(f"Not shown and not tested: {plural(identical, 'identical pair')}.")
    return notes


def score_rows(found: Comparison, pairs: list[ScorePair]) -> list[list[str]]:
    """The rows of the table of one measure, grouped by algorithm."""
    most = max(max(pair.n_a, pair.n_b) for pair in pairs if pair.task != ALL_TASKS)
    alone = [pair for pair in found.scores if pair.measure == pairs[0].measure and pair.task != ALL_TASKS]
    tasks = {algorithm: len(own) for algorithm, own in grouped(alone, lambda pair: pair.algorithm).items()}
    rows = []
    for algorithm, own in grouped(pairs, lambda pair: pair.algorithm).items():
        rows.append([f"**{found.titles[algorithm]}**", *5 * [""]])
        for pair in own:
            form: Callable[[float], str] = fixed if pair.task == ALL_TASKS else number
            difference = interval(pair.difference, pair.low, pair.high, fixed)
            every = pair.task != ALL_TASKS or len(pair.tasks) == tasks[algorithm]
            name = pair.task if every else f"{len(pair.tasks)} tasks together"
            name += f"{' †' if pair.asked else ''}{n_text(pair, most)}"
            rows.append([name, form(pair.a), form(pair.b), difference, p_text(pair.p_adjusted), judgement(pair, found)])
    return rows


def n_text(pair: ScorePair, most: int) -> str:
    """The numbers of runs in a and b, unless both are the largest number of the table."""
    return f" ({pair.n_a}, {pair.n_b})" if pair.task != ALL_TASKS and (pair.n_a, pair.n_b) != (most, most) else ""


def judgement(pair: ScorePair, found: Comparison) -> str:
    """The verdict on a pair as the table shows it."""
    if pair.verdict == "differs":
        return "**differs**"
    return f"same (± {found.margin:g})" if pair.verdict == "same" else pair.verdict


def made_by_text(made_by: list[dict[str, Any]]) -> list[str]:
    """What made the runs: first what differs, then what is the same."""
    differ = [entry for entry in made_by if set(entry["a"]) != set(entry["b"])]
    same = [entry for entry in made_by if entry not in differ]
    said = []
    if differ:
        values = {side: [values_text(entry, side) for entry in differ] for side in ("a", "b")}
        lines = (
            bullet(f"{entry['name']}: {a} in a; {b} in b")
            for entry, a, b in zip(differ, values["a"], values["b"], strict=True)
        )
        said.append("\n".join(lines))
    if same:
        values = ", ".join(f"{entry['name']} {values_text(entry, 'a')}" for entry in same)
        said.append(wrapped(f"The same in both: {values}."))
    return said or ["No run has finished."]


def values_text(entry: dict[str, Any], side: str) -> str:
    """The values of a side; if there are several, each with its number of runs."""
    values = entry[side]
    short = {value[:10] if entry["name"] == "commit" else value: runs for value, runs in values.items()}
    if len(short) > 1:
        return enumerate_text(f"{value} ({plural(runs, 'run')})" for value, runs in short.items())
    return next(iter(short), "no" if entry["name"] == "uncommitted changes" else "not recorded")


def names_text(names: list[tuple[str, str]], titles: dict[str, str]) -> str:
    """PPO on Hopper-v5 and Reacher-v5, A2C on Acrobot-v1."""
    shown = grouped(names[:NAMED], lambda name: name[1])
    said = [f"{titles[algorithm]} on {enumerate_text(task for task, _ in own)}" for algorithm, own in shown.items()]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return "; ".join([*said, *more])


def few(things: Iterable[str]) -> str:
    """All things if they are few, else the first ones and the number of the others."""
    things = list(things)
    more = [f"{count(len(things) - NAMED)} more"] if len(things) > NAMED else []
    return enumerate_text([*things[:NAMED], *more])


def verb(plural_form: str, things: Any) -> str:
    """The verb in the singular or plural, for so many things."""
    if len(things) != 1:
        return plural_form
    return {"have": "has", "are": "is", "were": "was"}.get(plural_form, f"{plural_form}s")


def wrapped(text: str) -> str:
    """The text in lines of at most WIDTH columns."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullet(text: str) -> str:
    """The text as an item of a list."""
    options = {"initial_indent": "- ", "subsequent_indent": "  "}
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False, **options)


def table(header: list[str], rows: list[list[str]], alignment: str) -> str:
    """A Markdown table with columns of even width. alignment: l or r for each column."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [
        [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, alignment, strict=True)
        ]
        for row in (header, *rows)
    ]
    rule = [f"{'-' * (width - 1)}{':' if side == 'r' else '-'}" for width, side in zip(widths, alignment, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
