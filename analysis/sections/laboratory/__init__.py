"""Variance, bias and direction of every algorithm's gradient, at frozen policies."""

TITLE = "Gradient laboratory"
MEASURES = (  # of an estimator at a probe, each with its interval
    *("variance", "ratio", "snr", "pairwise_cosine", "cosine", "true_cosine"),
    *("reference_norm_squared", "bias_squared", "relative_bias"),
)
TABLES = {
    "gradients": (
        "task source seed fraction step exact episodes main batches estimator kind algorithm "
        "critic advantages gae_lambda gamma "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in MEASURES)} ceiling expected verdict note"
    ),
    "critics": "task source seed fraction step exact critic gamma explained_variance rmse return_std",
}
TEXT = "task algorithm note kind source estimator critic advantages expected verdict"
FIGURES = {
    "gradient_variance": "Variance along training",
    "gradient_direction": "Direction against batch size",
    "gradient_bias_variance": "Bias against variance over λ",
    "critic_error": "What the critics know",
    "exact_problems": "Bias where the true gradient is known",
}
AVERAGES = dict.fromkeys(FIGURES, "probes") | {"exact_problems": "exact problems"}
