"""Where a run's time went, and the benchmark."""

TITLE = "Speed"
TABLES = {
    "benchmark": (
        "task contestant title side status reason n steps_per_second low high "
        "stepping acting learning rest reference reference_ratio reference_low reference_high "
        "peer peer_ratio peer_low peer_high limit_share gymnasium_share peak_memory_mb start_up overhead"
    ),
}
TEXT = "task status contestant title side reason reference peer"
FIGURES = {
    "speed": "Where a run’s time went",
    "benchmark": "All of the benchmark",
}
AVERAGES = {"speed": "runs"}
