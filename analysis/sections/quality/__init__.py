"""How well gradient estimates agree with each other and with the true gradient, by the number of pairs."""

TITLE = "How good are the gradient estimates?"
MEASURES = ("pairwise_cosine", "reference_cosine", "true_cosine", "variance", "ratio")  # each with its interval
TABLES = {
    "quality": (
        "task source seed fraction step value_function pairs estimates blocks reference_pairs "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in MEASURES)} note"
    ),
    "value_quality": (
        "task source seed fraction step value_function against explained_variance relative_error rmse std steps"
    ),
}
TEXT = "task source value_function against note"
FIGURES = {
    "quality_agreement": "Do two estimates agree?",
    "quality_reference": "Do they point along the true gradient?",
    "quality_training": "Estimates along training",
    "quality_baselines": "What a value function is worth",
    "quality_variance": "What a value function leaves of the variance",
    "quality_values": "What the value function has learned",
}
AVERAGES = "quality probes"
