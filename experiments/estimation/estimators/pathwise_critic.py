"""Pathwise through a fitted critic (Heess et al., 2015; Haarnoja et al., 2018): Σ_t γ^t ∇_a Q_w(s_t, a_t) ∂a_t/∂θ.

Q_w is a polynomial of the action, fitted to returns by least squares.
"""

import numpy as np

TITLE = "pathwise, fitted critic"
SETTINGS = {"degree": (1, 2, 4)}


def fit_critic(batch):
    """w [F], from samples of its own."""
    features, _ = batch.action_features(batch.chosen, batch.settings["degree"])
    return np.linalg.lstsq(features.reshape(-1, features.shape[-1]), batch.returns_to_go.ravel())[0]


def gradients(batch):
    """[N, P]."""
    _, slopes = batch.action_features(batch.chosen, batch.settings["degree"])
    return batch.through_actions(np.einsum("ntfm,f->ntm", slopes, batch.fitted(fit_critic)))
