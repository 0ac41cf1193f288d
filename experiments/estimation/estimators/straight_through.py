"""Straight-through Gumbel-softmax (Jang et al., 2017): the reward's slope at the pulled arm, passed through y."""

TITLE = "straight-through"
SETTINGS = {"temperature": (0.1, 0.5, 1.0)}


def gradients(batch):
    """∂r/∂θ_i = y_i (∂r/∂y_i − y · ∂r/∂y) / τ, with ∂r/∂y at the pulled arm, [N, P]."""
    temperature = batch.settings["temperature"]
    y = batch.relaxed(temperature)
    slopes = batch.mixture_gradient(batch.choices)
    return y * (slopes - (y * slopes).sum(1, keepdims=True)) / temperature
