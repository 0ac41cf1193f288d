"""What is measured and what a claim may say of it: known to `experiments` and `analysis`.

Each constant stands here once. This module imports nothing.
"""

COMMON_CLAIMS = "experiments/claims.yaml"  # the file of claims that every grid tests; others are a grid's own
FEWEST_BATCHES = 8  # of a probe: a variance from fewer says nothing
CHUNK = 1_000  # state-action pairs that are drawn at once for estimates of a gradient: their numbers are multiples
VALUE_FUNCTIONS = ("trained", "fitted", "none")  # of estimates of a gradient; none: returns alone
VALUE_TARGETS = ("gae", "returns")  # what value functions are judged against: what they are fitted to, and the truth
TRUE_METRICS = ("true_return", "true_drop")  # where the task reports true rewards, in their unit
RUN_METRICS = (
    *("final_score", "mode_score", "auc", "learning_per_step", "drop", "steps_to_threshold", "spread"),
    "episode_spread",
    "episode_cost",  # where the task reports costs
    *TRUE_METRICS,
    *("solved", "evaluations_to_solution", "best_score"),  # where the grid says what counts as a solution
    *("perturbed_score", "perturbation_loss"),  # where the grid evaluates under changes
)
UNDER_METRICS = ("perturbed_score", "perturbation_loss")  # a comparison says under which change
GRADIENT_METRICS = ("variance", "relative_bias", "bias_squared", "cosine")  # of the gradient laboratory
QUALITY_METRICS = ("pairwise_cosine", "reference_cosine", "gradient_variance", "value_error")  # of probes of quality
ESTIMATOR_METRICS = ("absolute_variance", "cost", "plain_cosine", "reparameterised")  # of estimators alone
OF_ESTIMATORS = ("variance", "relative_bias", "cosine", *ESTIMATOR_METRICS)  # what a claim may say of estimators
# The effect is a ratio; that of the others is a difference.
RATIO_METRICS = ("variance", "spread", "absolute_variance", "cost", "gradient_variance")
PAIRED_METRICS = (
    "steps_to_threshold",
    "evaluations_to_solution",
    "spread",
    "absolute_variance",
    "cost",
)  # one side alone says nothing
EVALUATED_METRICS = ("final_score", "learning_per_step", "spread")  # a side may say of which evaluation
# An effect may be held against another number than 0 or 1: `than`.
HELD_METRICS = (*QUALITY_METRICS, "episode_cost", *TRUE_METRICS, "solved", "best_score")
BEST_METRICS = ("final_score", "mode_score", "auc", "learning_per_step")  # more is better: a side may be a best one
# Keys of a task that two compared runs have to share for a metric, beside random and reference score.
SCALES = {
    "steps_to_threshold": ("threshold",),
    **dict.fromkeys(("solved", "evaluations_to_solution"), ("solved", "evaluations")),
    "best_score": ("evaluations",),
}
RULES = ("all", "any")  # how many of a claim's comparisons must support it
DIRECTIONS = ("higher", "lower", "equal")
TASK_GROUPS = ("all", "exact")  # words that a comparison may have in place of a list of tasks
CRITICS = ("trained", "fitted", "exact", "wrong")
