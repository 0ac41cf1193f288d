"""What the gradient laboratory's tables say: sentences, and the rows that the page shows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from policy_gradient_ladder.experiments.metrics import FEWEST_BATCHES

from ...reading.grid import Grid
from ...statistics.gradients import BATCH_RESAMPLES
from ...words import enumerate_text, fixed, interval, number, number_of, percents, plural, short_name
from .baseline import WORTH_SAYING, of_a_baseline
from .decided import biased_by_chance, decided
from .tables import (
    CRITICS,
    PROBE,
    UNBIASED_WITHIN,
    as_trained,
    estimator_title,
    main_size,
    place_titles,
)

UNASKED = "This grid asks for no probes, so no gradient was measured. The key “probes” of a grid file asks for them."
ABOUT = (
    "Every policy-gradient algorithm estimates the same thing: the direction in which to change the policy’s "
    "parameters so that its return rises. The estimate is noisy, because it is made from a handful of episodes. Some "
    "algorithms accept an estimate that is wrong on average, because it is less noisy. Here both errors are measured."
)
MEASURED = (
    "A policy is frozen: it is kept as it was at some point of training. Many independent batches of episodes are "
    "drawn from it, the same batches for all algorithms. Each algorithm’s own code computes its gradient from every "
    "batch. Nothing is learned meanwhile, so the estimator alone makes the difference."
)
UNTUNED = " Settings here, except for the discount, are the untuned ones."
ONE_DISCOUNT = (
    " All estimators have one discount γ, that of the run whose critic they use: {}. Entries of the grid that are then "
    "the same algorithm are measured once."
)
LEFT_OUT = (
    "A probe measures policy gradients whose only critic is V(s). It leaves out an algorithm that has other critics "
    "or is trained in a way of its own."
)
QUANTITIES = {
    "Variance": (
        "How far the gradients of single batches scatter around their mean, as a share of the scatter of REINFORCE’s. "
        "25\u00a0% means that a quarter of the episodes would be enough for the same noise. Read it with the bias: an "
        "estimate that is always zero has no variance, and a bias of 100\u00a0%."
    ),
    "Bias": (
        "How far the mean over infinitely many batches lies from the true gradient, as a share of that gradient’s "
        "length. More batches do not remove it."
    ),
    "Direction": (
        "The cosine of the angle between one batch’s gradient and the true one: 1 is the right direction, 0 is a "
        "random one."
    ),
    "Two critics": (
        "One is the value function as it was learned in training, which lags behind the policy. The other is fitted "
        "to the frozen policy on separate episodes. The difference between them shows what a better critic would "
        "bring."
    ),
}
IN_NUMBERS = (
    "In the numbers below, a probe (the measurement at one frozen policy) is {}. Variances are shares of REINFORCE’s, "
    "biases are shares of the true gradient’s length, and the critic is the one as trained unless another is named."
)
NONE_THERE = "None of the {} requested probes is there, so there is no gradient to show."


@dataclass(frozen=True)
class Said:
    """What the probes of a task, or all of them, say: a heading and its sentences."""

    heading: str
    sentences: list[str]
    folded: bool = False  # a detail, shown when asked for


def page(grid: Grid, gradients: pd.DataFrame, critics: pd.DataFrame) -> dict[str, Any]:
    """What the gradient laboratory shows; `nothing` alone where it has nothing to show."""
    if not grid.probes:
        return {"nothing": UNASKED}
    if gradients.empty:
        return {"nothing": NONE_THERE.format(len(grid.probes))}
    return {
        "nothing": "",
        "about": ABOUT,
        "baseline": of_a_baseline(grid, gradients),
        "measured": f"{MEASURED} {policies_text(grid)}{settings_text(grid, gradients)}{unmeasured(grid, gradients)}",
        "quantities": QUANTITIES,
        "in_numbers": f"{ledger_sentence(grid, gradients)} {IN_NUMBERS.format(batches_text(gradients))}",
        "said": [said for said in sentences(grid, gradients) if said.sentences],
        "tasks": compact_rows(grid, gradients),
        "exact": exact_rows(grid, gradients),
        "critics": critic_rows(grid, critics),
        "within": percents(UNBIASED_WITHIN),
        "fewest": FEWEST_BATCHES,
        "batch_resamples": BATCH_RESAMPLES,
    }


def settings_text(grid: Grid, gradients: pd.DataFrame) -> str:
    """With which settings the estimators are measured: those before tuning, and the discount of each probe's run."""
    several = (gradients.groupby(PROBE)["gamma"].nunique() > 1).any()  # as in results of earlier versions
    tasks = {gamma: of["task"].unique() for gamma, of in gradients.groupby("gamma", sort=False)}
    discounts = [f"{gamma:g} ({', '.join(map(short_name, of))})" for gamma, of in tasks.items()]
    return (UNTUNED if grid.studies else "") + ("" if several else ONE_DISCOUNT.format(enumerate_text(discounts)))


def unmeasured(grid: Grid, gradients: pd.DataFrame) -> str:
    """Which algorithms of the grid are in no probe, and why; empty where all are. An entry with the settings of another
    is measured as that one, so what counts is an algorithm's module.
    """
    measured = {grid.algorithms[name]["module"] for name in gradients["algorithm"].dropna() if name in grid.algorithms}
    absent = [grid.title(name) for name, about in grid.algorithms.items() if about["module"] not in measured]
    return f" Not measured: {enumerate_text(absent)}. {LEFT_OUT}" if absent else ""


def ledger_sentence(grid: Grid, gradients: pd.DataFrame) -> str:
    """How many of the probes that were asked for are there, and which are not."""
    there = set(gradients[PROBE].itertuples(index=False, name=None))
    missing = [probe for probe in grid.probes if tuple(probe[name] for name in PROBE) not in there]
    said = f"{len(grid.probes) - len(missing)} of the {len(grid.probes)} requested probes are there"
    return f"{said}; missing: {enumerate_text(map(probe_title, missing))}." if missing else f"{said}."


def probe_title(probe: dict[str, Any]) -> str:
    name = short_name(probe["task"])
    return name if probe["exact"] else f"{name} at {percents(probe['fraction'])} of training (seed {probe['seed']})"


def sentences(grid: Grid, gradients: pd.DataFrame) -> list[Said]:
    """In short, then task by task what was measured at the main batch size, the exact problems, and the surprises."""
    said = [Said("In short", overview(grid, gradients))]
    table = main_size(gradients, exact=False)
    trains = as_trained(gradients[(gradients["main"] == 1) & (gradients["exact"] == 0)])
    for place, title in place_titles(grid, table).items():
        here, directions = (of[(of["task"] == place[0]) & (of["source"] == place[1])] for of in (table, trains))
        found = [*variances(grid, here), *refitting(grid, here), *directions_of(grid, directions), *curves(here)]
        said.append(Said(title, found, folded=True))
    exact = main_size(gradients, exact=True)
    if len(exact):
        said.append(Said("Exact problems", exact_sentences(grid, exact)))
    return [
        *said,
        Said("Against the textbook", contradictions(grid, gradients)),
        Said("What is decided", decided(gradients)),
    ]


def overview(grid: Grid, gradients: pd.DataFrame) -> list[str]:
    """Algorithm by algorithm, over all frozen policies with the critic as trained: variance, bias and direction."""
    table = main_size(gradients, exact=False)
    table = table[(table["kind"] == "algorithm") & table["critic"].isin(["trained", "none"]) & table["ratio"].notna()]
    trains = as_trained(gradients[(gradients["main"] == 1) & (gradients["exact"] == 0)])
    trains = trains[trains["critic"].isin(["trained", "none"]) & trains["true_cosine"].notna()]
    said = []
    for algorithm, name in named_once(grid, pd.concat([table, trains])).items():
        rows, cosines = table[table["algorithm"] == algorithm], trains[trains["algorithm"] == algorithm]["true_cosine"]
        ratio = rows["ratio"]
        direction = (
            f" Median cosine of a batch with the true gradient: {fixed(cosines.median())}." if len(cosines) else ""
        )
        if (rows["ratio_low"] == rows["ratio_high"]).all():  # at every policy the same multiple: REINFORCE itself
            if direction:
                said.append(f"{name}: {direction[1].lower()}{direction[2:]}")
            continue
        below, above = int((rows["ratio_high"] < 1).sum()), int((rows["ratio_low"] > 1).sum())
        verdicts = rows["verdict"].value_counts()
        biased, unbiased, undecided = (verdicts.get(name, 0) for name in ("biased", "unbiased", "undecided"))
        said.append(
            f"{name}: less variance than REINFORCE at {below} of {len(rows)} frozen policies, more at {above}; median "
            f"{percents(ratio.median())} of it (from {percents(ratio.min())} to {percents(ratio.max())}). Biased at "
            f"{biased}, at most {percents(UNBIASED_WITHIN)} biased at {unbiased}, undecided at {undecided}.{direction}"
        )
    return said


def named_once(grid: Grid, table: pd.DataFrame) -> dict[str, str]:
    """Algorithm → title, in the table's order; of those with equal settings, whose rows are equal, the first alone with
    the titles of all.
    """
    measured = [name for name in table if name not in ("algorithm", "estimator")]
    titles: dict[str, list[str]] = {}
    rows = {name: of[measured].reset_index(drop=True) for name, of in table.groupby("algorithm", sort=False)}
    for algorithm, own in rows.items():
        first = next((name for name in titles if own.equals(rows[name])), algorithm)
        titles.setdefault(first, []).append(grid.title(algorithm))
    return {algorithm: enumerate_text(of) for algorithm, of in titles.items()}


def variances(grid: Grid, table: pd.DataFrame) -> list[str]:
    """At every fraction: each algorithm's variance as a share of REINFORCE's, and its bias."""
    said = []
    table = table[(table["kind"] == "algorithm") & (table["critic"] == "trained") & table["ratio"].notna()]
    for fraction, here in table.groupby("fraction"):
        names = named_once(grid, here)
        by_algorithm = {name: here[here["algorithm"] == name] for name in names}
        first, *further = (
            (names[name], over_seeds(rows, "ratio"), bias_text(rows)) for name, rows in by_algorithm.items()
        )
        parts = ["{} has {} of REINFORCE’s variance, {}".format(*first), *("{} {}, {}".format(*row) for row in further)]
        said.append(f"At {percents(fraction)} of training, {'; '.join(parts)}.")
    return said


def over_seeds(rows: pd.DataFrame, measure: str) -> str:
    """31 % [27, 36]; of several seeds the median and the range."""
    values = rows[measure]
    if len(rows) == 1:
        row = rows.iloc[0]
        return share(row[measure], row[f"{measure}_low"], row[f"{measure}_high"])
    return (
        f"{percents(values.median())} ({number_of(values.min())} to {number_of(values.max())} over {len(rows)} seeds)"
    )


def bias_text(rows: pd.DataFrame) -> str:
    """What is known of the bias at one probe, or how often it is seen at several."""
    if len(rows) > 1:
        counts = rows["verdict"].value_counts()
        return enumerate_text(f"{name} at {n} of {len(rows)} seeds" for name, n in counts.items())
    row = rows.iloc[0]
    if row["verdict"] == "biased":
        if pd.isna(row["relative_bias"]):
            return "biased, by an unknown share"
        return f"off by {share(row['relative_bias'], row['relative_bias_low'], row['relative_bias_high'])}"
    if row["verdict"] == "unbiased":
        at_most = row["relative_bias_high"]
        return f"unbiased within {percents(at_most)}" if at_most > 0 else "without bias"
    known = pd.notna(row["relative_bias_high"])
    return f"bias undecided (0 to {percents(row['relative_bias_high'])})" if known else "bias undecided"


def refitting(grid: Grid, table: pd.DataFrame) -> list[str]:
    """Where a critic fitted to the policy changes the variance most, if that is settled."""
    keys = [*PROBE, "algorithm", "gamma"]
    measured = table[(table["kind"] == "algorithm") & table["ratio"].notna()]
    pairs = measured[measured["critic"] == "trained"].merge(
        measured[measured["critic"] == "fitted"], on=keys, suffixes=("", "_fitted")
    )
    apart = (pairs["ratio_high"] < pairs["ratio_low_fitted"]) | (pairs["ratio_low"] > pairs["ratio_high_fitted"])
    if pairs.empty:
        return []
    if not apart.any():
        return ["A critic fitted to the frozen policy changes no variance by more than its intervals."]
    settled = pairs[apart & (pairs["ratio"] > 0) & (pairs["ratio_fitted"] > 0)]
    if settled.empty:
        return []
    row = settled.loc[np.log(settled["ratio_fitted"] / settled["ratio"]).abs().idxmax()]
    return [
        f"A critic fitted to the frozen policy matters most for {grid.title(row['algorithm'])} at "
        f"{percents(row['fraction'])} of training: {share(row['ratio'], row['ratio_low'], row['ratio_high'])} of "
        f"REINFORCE’s variance with the critic as trained, "
        f"{share(row['ratio_fitted'], row['ratio_low_fitted'], row['ratio_high_fitted'])} with the fitted one."
    ]


def directions_of(grid: Grid, table: pd.DataFrame) -> list[str]:
    """The best and the worst direction of a batch, as the algorithms train, at every fraction."""
    table = table[table["critic"].isin(["trained", "none"])]
    parts = []
    for fraction, here in table.groupby("fraction"):
        known = here[here["true_cosine"].notna()].groupby("algorithm", sort=False)["true_cosine"].median()
        if known.empty:
            parts.append(f"not known at {percents(fraction)}, where the true gradient is too small beside the noise")
            continue
        worst, best = known.idxmin(), known.idxmax()
        parts.append(
            f"from {fixed(known[worst])} ({grid.title(worst)}) to {fixed(known[best])} ({grid.title(best)}) at "
            f"{percents(fraction)}"
        )
    if not parts:
        return []
    episodes = enumerate_text(str(size) for size in sorted(table["episodes"].unique()))
    return [
        f"Cosine of a batch of {episodes} episodes with the true gradient, as the algorithms train: {'; '.join(parts)}."
    ]


def curves(table: pd.DataFrame) -> list[str]:
    """What λ does between its ends, with the critic as trained."""
    parts = []
    table = table[(table["kind"] == "gae") & (table["critic"] == "trained") & table["ratio"].notna()]
    several = table["gamma"].nunique() > 1
    for (fraction, gamma), here in table.groupby(["fraction", "gamma"]):
        low, high = (here[here["gae_lambda"] == end(here["gae_lambda"])] for end in (min, max))
        if here["gae_lambda"].nunique() > 1:
            parts.append(
                f"{over_seeds(high, 'ratio')}, {bias_text(high)} → {over_seeds(low, 'ratio')}, {bias_text(low)} at "
                f"{percents(fraction)} of training{f' (γ = {gamma:g})' if several else ''}"
            )
    if not parts:
        return []
    high, low = table["gae_lambda"].max(), table["gae_lambda"].min()
    return [
        f"Generalised advantages with the critic as trained, variance and bias at λ = {high:g} → at λ = {low:g}: "
        f"{'; '.join(parts)}."
    ]


def exact_sentences(grid: Grid, table: pd.DataFrame) -> list[str]:
    """Problem by problem, where the true gradient is known: what theory expects and what was seen."""
    said = []
    for task, here in table.groupby("task", sort=False):
        parts = []
        for expected, words in (("unbiased", "without"), ("biased", "with")):
            of = here[here["expected"] == expected]
            if len(of):
                seen, names = of["verdict"].value_counts(), {n: n for n in ("unbiased", "biased", "undecided")}
                if expected == "biased":
                    names |= {"unbiased": f"with less bias than {percents(UNBIASED_WITHIN)}, too little to be seen"}
                counts = enumerate_text(f"{seen[verdict]} {text}" for verdict, text in names.items() if verdict in seen)
                parts.append(f"of {len(of)} estimators that theory says are {words} bias, {counts}")
        biased = here[(here["verdict"] == "biased") & here["relative_bias"].notna()]
        if len(biased):
            worst = biased.loc[biased["relative_bias"].idxmax()]
            off = share(worst["relative_bias"], worst["relative_bias_low"], worst["relative_bias_high"])
            parts.append(
                f"the largest bias is that of {estimator_title(grid, worst)}: {off} of the true gradient’s length"
            )
        if parts:
            said.append(f"{short_name(task)}: {'; '.join(parts)}.")
    return said


def contradictions(grid: Grid, gradients: pd.DataFrame) -> list[str]:
    """What was measured, settled by its interval, that a text on policy gradients would not lead one to expect."""
    table = gradients[(gradients["main"] == 1) & (gradients["advantages"] == "raw")]
    meant = table[(table["ratio_low"] > 1) & (table["ratio"] > 1 + WORTH_SAYING) & (table["critic"] != "wrong")]
    said = [
        f"{where(row)}: {estimator_title(grid, row)} has more variance than REINFORCE, "
        f"{share(row['ratio'], row['ratio_low'], row['ratio_high'])}."
        for _, row in meant.iterrows()
    ]
    against = (table["expected"] == "unbiased") & (table["verdict"] == "biased")  # a bias may be too small to be seen
    said += [
        f"{where(row)}: {estimator_title(grid, row)} is {bias_text(row.to_frame().T)}, where theory says that it is "
        "unbiased."
        for _, row in table[against].iterrows()
    ]
    said += biased_by_chance(table)
    gae = table[(table["kind"] == "gae") & table["ratio"].notna()]
    for _, line in gae.groupby([*PROBE, "critic", "gamma"], sort=False):
        low, high = line.loc[line["gae_lambda"].idxmin()], line.loc[line["gae_lambda"].idxmax()]
        if low["ratio_low"] > high["ratio_high"]:
            said.append(
                f"{where(low)}, {CRITICS.get(low['critic'], low['critic'])}: λ = {low['gae_lambda']:g} has more "
                f"variance ({share(low['ratio'], low['ratio_low'], low['ratio_high'])} of REINFORCE’s) than λ = "
                f"{high['gae_lambda']:g} ({share(high['ratio'], high['ratio_low'], high['ratio_high'])})."
            )
    return said or [
        f"Nothing contradicts it. No estimator has clearly more variance than REINFORCE, by more than "
        f"{percents(WORTH_SAYING)}, except with a critic that is wrong on purpose. A lower λ never clearly means more "
        "variance. No estimator that is unbiased in theory is seen to be biased."
    ]


def where(row: Any) -> str:
    """The probe of a row of the table."""
    return probe_title({name: row[name] for name in (*PROBE, "exact")})


def share(value: float, low: float, high: float) -> str:
    """31 % [27, 36], or 31 % alone where there is no interval."""
    return (
        percents(value) if pd.isna(low) else f"{percents(value)} [{number_of(low)},\N{NO-BREAK SPACE}{number_of(high)}]"
    )


def compact_rows(grid: Grid, gradients: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Title of a place → a row per probe, algorithm and critic at the main batch size: variance and bias of the raw
    advantages, signal-to-noise ratio and cosine as the algorithm trains.
    """
    raw = main_size(gradients, exact=False)
    raw = raw[raw["kind"] == "algorithm"]
    keys = [*PROBE, "algorithm", "critic", "gamma"]
    trains = as_trained(gradients[(gradients["main"] == 1) & (gradients["exact"] == 0)]).set_index(keys)
    several = raw["seed"].nunique() > 1
    found: dict[str, list[dict[str, Any]]] = {}
    titles = place_titles(grid, raw)
    for _, row in raw.iterrows():
        as_it_trains = trains.loc[tuple(row[key] for key in keys)]
        entry = {
            "fraction": percents(row["fraction"]) + (f", seed {row['seed']}" if several else ""),
            "estimator": estimator_title(grid, row),
            "algorithm": row["algorithm"],
            "batches": row["batches"],
            "episodes": row["episodes"],
            "ratio": share(row["ratio"], row["ratio_low"], row["ratio_high"]),
            "snr": estimate(as_it_trains, "snr"),
            "cosine": estimate(as_it_trains, "true_cosine"),
            "bias": share(row["relative_bias"], row["relative_bias_low"], row["relative_bias_high"]),
            "verdict": row["verdict"],
        }
        found.setdefault(titles[row["task"], row["source"]], []).append(entry)
    return found


def exact_rows(grid: Grid, gradients: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Problem → a row per estimator at the main batch size."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, row in main_size(gradients, exact=True).iterrows():
        entry = {
            "estimator": estimator_title(grid, row),
            "ratio": share(row["ratio"], row["ratio_low"], row["ratio_high"]),
            "bias": share(row["relative_bias"], row["relative_bias_low"], row["relative_bias_high"]),
            "cosine": estimate(row, "true_cosine"),
            "expected": "biased if it bootstraps" if pd.isna(row["expected"]) else row["expected"],
            "verdict": row["verdict"],
        }
        found.setdefault(short_name(row["task"]), []).append(entry)
    return found


def estimate(row: Any, measure: str) -> str:
    """A measure of a row with its interval."""
    return interval(row[measure], row[f"{measure}_low"], row[f"{measure}_high"])


def critic_rows(grid: Grid, critics: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per probe and critic."""
    titles = {"trained": "as trained", "fitted": "fitted"}
    return [
        {
            "task": short_name(row["task"]),
            "fraction": "–" if row["exact"] else percents(row["fraction"]),
            "seed": row["seed"],
            "critic": titles.get(row["critic"], row["critic"]),
            "gamma": f"{row['gamma']:g}",
            **{name: number(row[name]) for name in ("explained_variance", "rmse", "return_std")},
        }
        for _, row in critics.iterrows()
    ]


def batches_text(gradients: pd.DataFrame) -> str:
    """128 batches of 4 (CartPole-v1, Hopper-v5) or 2 episodes (HalfCheetah-v5): the main batch size of every task."""
    main = gradients[gradients["main"] == 1][["task", "batches", "episodes"]].drop_duplicates()
    tasks = {
        size: ", ".join(map(short_name, of["task"])) for size, of in main.groupby(["batches", "episodes"], sort=False)
    }
    if len(tasks) == 1:
        ((batches, episodes),) = tasks
        return f"{batches:,} batches of {plural(episodes, 'episode')}"
    one_number = main["batches"].nunique() == 1
    parts = [
        f"{'' if one_number and index else f'{batches:,} batches of '}{episodes:,}"
        f"{' episodes' if index == len(tasks) - 1 else ''} ({named})"
        for index, ((batches, episodes), named) in enumerate(tasks.items())
    ]
    return f"{', '.join(parts[:-1])} or {parts[-1]}"


def sample_text(figure: str, gradients: pd.DataFrame) -> str:
    """n of a figure: the batches of the policies that it shows; those of several sizes, and episodes, are in view."""
    shown = gradients[gradients["exact"] == int(figure == "exact_problems")]
    if figure in ("gradient_direction", "critic_error") or shown.empty:
        return ""
    return f"n = {batches_text(shown)} per frozen policy."


def policies_text(grid: Grid) -> str:
    """Whose policies the probes are about, and from how many runs."""
    trained = [probe for probe in grid.probes if not probe["exact"]]
    if not trained:
        return ""
    runs = {(probe["task"], probe["source"], probe["seed"]) for probe in trained}
    tasks = [task for task, _, _ in runs]
    n = {tasks.count(task) for task in tasks}
    several = plural(max(n), "training run") if len(n) == 1 else f"{min(n)} to {max(n)} training runs"
    seeds = sorted({str(seed) for _, _, seed in runs}, key=int)
    sources = dict.fromkeys(probe["source"] for probe in trained)
    titles = enumerate_text(grid.title(source) if source in grid.algorithms else source for source in sources)
    return (
        f"The policies are kept from {several} per task ({titles}; seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(seeds)}), and “the critic as trained” is that run’s, whichever estimator uses it."
    )
