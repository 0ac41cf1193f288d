"""The deterministic policy gradient with a fitted critic (Lillicrap et al., 2016): ∇_a Q_w(s_t, μ(s_t)) ∂μ(s_t)/∂θ.

Q_w is a polynomial of the action, fitted to returns under a policy that is `width` times as wide: as with replay.
"""

from dataclasses import replace

import numpy as np

TITLE = "deterministic, fitted critic"
SETTINGS = {"degree": (1, 4), "width": (1, 3)}


def fit_critic(batch):
    """w = (Φᵀ Φ)⁺ Φᵀ G of each step, [T, F], from samples of its own."""
    wider = replace(batch.problem, sigma=batch.settings["width"] * batch.problem.sigma)
    samples = wider.draw(len(batch), batch.rng)
    features = samples.action_features(samples.chosen, batch.settings["degree"])[0].swapaxes(0, 1)  # Φ, [T, N, F]
    moments = np.einsum("tnf,nt->tf", features, samples.returns_to_go)
    inverse = np.linalg.pinv(features.swapaxes(1, 2) @ features, hermitian=True)
    return np.einsum("tfg,tg->tf", inverse, moments)


def gradients(batch):
    """[N, P]."""
    _, slopes = batch.action_features(batch.means, batch.settings["degree"])
    return batch.through_actions(np.einsum("ntfm,tf->ntm", slopes, batch.fitted(fit_critic)))
