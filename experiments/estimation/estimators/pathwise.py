"""The pathwise or reparameterised gradient (Kingma & Welling, 2014): ∂R/∂θ through known reward and dynamics."""

TITLE = "pathwise"
COMMON_NOISE = True


def gradients(batch):
    """[N, P]."""
    return batch.pathwise
