"""Where a run's time went, and the benchmark."""

from policy_gradient_ladder.experiments.schema import RIVALS

TITLE = "Speed"
TABLES = {
    "benchmark": (
        "task contestant title side status reason n steps_per_second low high stepping acting learning rest compiled "
        f"{' '.join(f'{rival} {rival}_ratio {rival}_low {rival}_high' for rival in RIVALS)} "
        "limit_share gymnasium_share peak_memory_mb start_up overhead"
    ),
}
TEXT = f"task status contestant title side reason {' '.join(RIVALS)}"
FIGURES = {
    "speed": "Where a run’s time went",
    "benchmark": "All of the benchmark",
}
AVERAGES = {"speed": "runs"}
