"""The Gumbel-softmax relaxation (Jang et al., 2017; Maddison et al., 2017): ∂r(y)/∂θ with y = softmax((θ + g) / τ)."""

TITLE = "Gumbel-softmax"
SETTINGS = {"temperature": (0.1, 0.5, 1.0)}


def gradients(batch):
    """∂r/∂θ_i = y_i (∂r/∂y_i − y · ∂r/∂y) / τ, with ∂r/∂y at y, [N, P]."""
    temperature = batch.settings["temperature"]
    y = batch.relaxed(temperature)
    slopes = batch.mixture_gradient(y)
    return y * (slopes - (y * slopes).sum(1, keepdims=True)) / temperature
