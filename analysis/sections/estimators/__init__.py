"""Estimators of the policy gradient on problems whose true gradient is known: variance, bias, direction and cost."""

TITLE = "Estimators against the truth"
MEASURES = (  # of an estimator, each with its interval
    *("variance", "ratio", "bias_squared", "relative_bias", "true_cosine", "cost", "plain_cosine", "reparameterised"),
)
TABLES = {
    "estimators": (
        "problem place numbers size main batches estimator title settings truth truth_norm_squared "
        f"{' '.join(f'{name} {name}_low {name}_high' for name in MEASURES)} milliseconds fit_milliseconds verdict note"
    ),
    "estimators_left_out": "problem place estimator reason",
}
TEXT = "problem place numbers estimator title settings truth verdict note reason"
FIGURES = {
    "estimator_variance": "Variance of every estimator",
    "variance_growth": "Variance in more dimensions and with more agents",
    "estimator_sigma": "Variance and bias as the policy’s noise vanishes",
    "estimator_bias": "Bias of every estimator",
    "estimator_settings": "Bias against variance over a setting",
    "estimator_cosine": "Direction against the number of samples",
    "estimator_cost": "Variance and time",
    "natural_gradient": "The natural gradient’s direction",
}
