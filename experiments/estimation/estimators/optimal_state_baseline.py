"""The state-dependent baseline of least variance (Greensmith et al., 2004): b(s) = w · features(s).

w minimises E ‖Σ_t γ^t ∇log π(a_t|s_t) (G_t − b(s_t))‖², which differs from the variance by a constant.
"""

import numpy as np

TITLE = "optimal state baseline"


def optimal_weights(batch):
    """w [F], from samples of its own, by least squares."""
    features = np.moveaxis(batch.state_features, -1, 0)
    directions = np.stack([batch.weighted_scores(feature) for feature in features], axis=-1)  # [N, P, F]
    estimates = batch.weighted_scores(batch.returns_to_go)
    return np.linalg.lstsq(directions.reshape(-1, len(features)), estimates.ravel())[0]


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.returns_to_go - batch.state_features @ batch.fitted(optimal_weights))
