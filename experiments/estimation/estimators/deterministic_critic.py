"""The deterministic policy gradient with a fitted critic (Lillicrap et al., 2016): ∇_a Q_w(s_t, μ(s_t)) ∂μ(s_t)/∂θ.

Q_w is a polynomial of the action, fitted to returns by least squares.
"""

import numpy as np

TITLE = "deterministic, fitted critic"
SETTINGS = {"degree": (1, 2, 4)}


def fit_critic(batch):
    """w = (Φᵀ Φ)⁺ Φᵀ G of each step, [T, F], from samples of its own."""
    features = batch.action_features(batch.chosen, batch.settings["degree"])[0].swapaxes(0, 1)  # Φ, [T, N, F]
    products = features.swapaxes(1, 2) @ features
    return np.einsum(
        "tfg,tng,nt->tf", np.linalg.pinv(products, hermitian=True), features, batch.returns_to_go, optimize=True
    )


def gradients(batch):
    """[N, P]."""
    _, slopes = batch.action_features(batch.means, batch.settings["degree"])
    return batch.through_actions(np.einsum("ntfm,tf->ntm", slopes, batch.fitted(fit_critic)))
