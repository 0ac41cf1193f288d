"""What the section of claims says in every grid: its terms, how a verdict is reached, and what each metric is."""

from .evidence import (
    FEWEST_PROBED_RUNS,
    FEWEST_PROBED_TASKS,
    FEWEST_RUNS,
    FEWEST_RUNS_OF_A_NAMED_TASK,
    FEWEST_TASKS,
)
from .runs import LEARNING_STEPS

ABOUT = (
    "These are statements from the literature. Each is tested on what this grid ran and measured. Brackets are "
    "95\u00a0% intervals. How large an effect must be (“needed”) was fixed before the runs."
)
MEANINGS = {
    "Supported": "the whole interval lies where the claim needs it.",
    "Contradicted": "no part of the interval does.",
    "Undecided": "a part of it does, or there is no interval.",
    "Too little evidence": "too few runs or tasks for any verdict.",
    "Cannot be tested": "something was not run.",
}
WORDS = {
    "Frozen policy": (
        "a policy that was kept during training. Gradients are measured at it, and it does not change meanwhile."
    ),
    "Critic": (
        "the value function, also where it is only a baseline. It is “as trained”, or “fitted” to the frozen policy on "
        "separate episodes, or “exact”, or “wrong” on purpose."
    ),
    "True gradient": (
        "computed exactly on small problems. Elsewhere it is the average, over many batches, of an estimate that has "
        "no bias in theory."
    ),
}
HOW = {
    "Needed": (
        "Every claim says in advance how large an effect must be to count. A claim that two things are equal says how "
        "large a difference may be. An interval contradicts a claim where it shows the opposite, or where it shows "
        "that the effect is too small to count. A claim of several parts holds if all parts hold, unless it says "
        "otherwise."
    ),
    "Least evidence": (
        f"A verdict needs {FEWEST_RUNS} runs of each algorithm on each of {FEWEST_TASKS} tasks, or, about gradients, "
        f"frozen policies of {FEWEST_PROBED_RUNS} runs on each of {FEWEST_PROBED_TASKS} tasks. A claim that names its "
        f"tasks, and a task by itself, need {FEWEST_RUNS_OF_A_NAMED_TASK} runs. A problem whose true gradient is known "
        "needs none."
    ),
    "Sides": (
        "Two sides may be one algorithm on tasks with other preprocessing, which brackets then name; the scores of "
        "both have one scale. Two evaluations of the same runs (with sampled actions and with the mode action) are "
        "compared run by run. Tasks that are one environment with other preprocessing count as one task of the least "
        "evidence."
    ),
    "The best of several": (
        "On each task, the side with the highest mean. The highest of several means is too high by luck, so the end of "
        "the interval that is in favour of the best is moved by what luck amounts to where all are equal in truth."
    ),
    "The best of those that hold a limit": (
        "Where a limit of the cost of an episode is named, the best is that of the sides whose mean cost over runs "
        "is at most the limit; the others do not count. Which these are is taken as seen, without an interval."
    ),
    "Spread": (
        "The ratio of the standard deviations over seeds, as a geometric mean over tasks, with Bonett’s interval, "
        "which allows for scores that are not normal. With five runs on three tasks it tells ratios above about 2 "
        "from 1. Where all runs of a side end alike there is no ratio."
    ),
    "Shares of runs": (
        "Where a run succeeds or does not, the interval of a share is Wilson’s, and that of a difference of shares is "
        "Newcombe’s: it has a width even where all runs of a side end alike."
    ),
    "Equal": (
        "Where two things are claimed to be equal, they must be equal at every policy and on every problem, not only "
        "on average. The page shows the place where they differ most."
    ),
    "Averages": (
        "A claim is at best undecided, whatever its interval, in two cases: the effect changes its sign when one task "
        "is left out; or fewer than half of the frozen policies can be measured, because at the others the true "
        "gradient is too small beside the noise."
    ),
    "Runs": (
        "The effect is the difference of the means over runs, averaged over tasks with equal weight, with Welch’s "
        "interval, cut off at the largest difference that is possible. The algorithms are the grid’s entries of that "
        "name, with the settings that they have there: tuned where the grid tunes them."
    ),
    "Gradients": (
        "They are measured at frozen policies and averaged over the policies of a run, then over runs, then over "
        "tasks; ratios are averaged as logarithms. Settings are the untuned ones, and all have one discount. The "
        "intervals of the two sides are combined as if they were independent. Both sides come from the same batches, "
        "so the interval is rather too wide. The section “Gradient laboratory” says how each quantity is measured."
    ),
    "What an interval is about": (
        "An interval is about these tasks and these policies, and says nothing about others. An average can hide a "
        "task that says the opposite: see the column “by itself”. Where the verdict depends on a single task, the "
        "page says so."
    ),
    "How many tests": (
        "Intervals are not corrected for the number of claims: of forty intervals, about two miss the truth, one on "
        "either side. For a bias that is 0 in truth, both lie above it."
    ),
}
OF_QUALITY = {  # said where a grid has such claims
    "Quality of estimates": (
        "Agreement, cosines and variances of gradient estimates are averaged and combined as in the gradient "
        "laboratory. Estimates at different shares of training are compared within a run. The error of a value "
        "function has no interval at a single policy, so its interval is over runs (Student’s t). The section “How "
        "good are the gradient estimates?” says how each quantity is measured."
    ),
}
HOW_ESTIMATORS = {  # of a grid that has such claims
    "Estimators": (
        "On problems whose true gradient is known, estimators are compared at the same numbers of a problem (its "
        "dimensions, the noise of its policy), averaged over these places and then over problems. The variance of one "
        "estimator alone is a share of the score function’s."
    ),
}
WHAT = {  # what a comparison measures, for somebody who has read one chapter on policy gradients
    "final_score": "Score at the end of training (0: the task’s random score, 1: its reference score)",
    "mode_score": "Score of the mode action at the end of training (0: the random score, 1: the reference score)",
    "auc": "Return averaged over the whole of training (0: the task’s random score, 1: its reference score)",
    "learning_per_step": f"Score at the end of training per {LEARNING_STEPS:,} steps (0: random score, 1: reference)",
    "drop": "Fall of the training return from its highest point to its end (1: from reference to random score)",
    "steps_to_threshold": "Steps until the training return reaches the task’s threshold, in % of the budget (100 % for "
    "a run that never does, so differences are understated)",
    "spread": "Spread of the scores at the end of training: their standard deviation over seeds",
    "episode_spread": "Spread of a trained policy’s returns: their standard deviation over its evaluation episodes (1: "
    "from the task’s random score to its reference score)",
    "episode_cost": "Cost of an episode at the end of training: the sum of what the task counts as cost at its steps",
    "true_return": "True return of an episode at the end of training: the sum of what is wanted, of which the reward "
    "is a proxy",
    "true_drop": "Fall of the true return during training, from its highest point to its end",
    "solved": "Runs in which a training episode found a solution, in % of the runs, among equally many episodes",
    "evaluations_to_solution": "Training episodes until the first solution, in % of those that count (100 % for a run "
    "that finds none, so differences are understated)",
    "best_score": "Return of the best training episode, among equally many (0: the task’s random score, 1: its "
    "reference score)",
    "perturbed_score": "Score of the trained policy on a changed task (0: the task’s random score, 1: its reference "
    "score)",
    "perturbation_loss": "Score at the end of training that a change of the task costs the trained policy (1: from the "
    "task’s reference score to its random score)",
    "variance": "Variance of the gradient estimate: how far it scatters from batch to batch",
    "relative_bias": "Bias of the gradient estimate: distance of its mean from the true gradient, in % of the true "
    "gradient’s length",
    "bias_squared": "Squared bias of the gradient estimate: squared distance of its mean from the true gradient, in % "
    "of the true gradient’s squared length",
    "absolute_variance": "Variance of the gradient estimate, not as a share of another’s",
    "cost": "Variance of the gradient estimate times the processor time of an estimate",
    "plain_cosine": "Cosine of the angle between the mean estimate and the plain gradient (1: same direction)",
    "reparameterised": "Cosine of the angle between one step and the step from the same batch with the parameters "
    "rescaled (1: the choice of parameters makes no difference)",
    "cosine": "Cosine of the angle between one batch’s estimate and the true gradient (1: same direction, 0: at right "
    "angles)",
    "pairwise_cosine": "Agreement of gradient estimates: cosine between two from different data (1: same direction, 0: "
    "nothing in common)",
    "reference_cosine": "Cosine between a gradient estimate and the mean gradient of much other data (1: same "
    "direction, 0: nothing in common)",
    "gradient_variance": "Variance of the gradient estimate with one value function, as a share of that with another, "
    "on the same data",
    "value_error": "Error of the value function: mean distance from its target, in % of the mean size of the target",
}
