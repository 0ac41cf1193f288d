"""Learning curves, sample efficiency, and what happened inside training."""

from policy_gradient_ladder.experiments.schema import DIAGNOSTICS

TITLE = "Learning curves"
TABLES = {
    "curves": "task algorithm seed step return moving_average normalized episodes",
    "curve_intervals": "task algorithm step n mean low high std",
    "evaluation_curves": "task algorithm seed kind step asked return episodes",
    "evaluation_intervals": "task algorithm kind step n mean low high",
    "efficiency": "algorithm fraction iqm low high",
    "diagnostics": f"task algorithm seed step {' '.join(DIAGNOSTICS)} …",
}
TEXT = "task algorithm kind"
FIGURES = {
    "learning_curves": "Return against steps",
    "evaluation_curves": "Evaluations against steps",
    "sample_efficiency": "Sample efficiency",
    "seed_spread": "What the seed decides",
    "diagnostics": "Inside training",
}
AVERAGES = "runs"
