"""Linear equations whose matrix is known by its products alone: conjugate gradients (Hestenes & Stiefel, 1952)."""

from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE = 1e-5  # of ‖b − A x‖ / ‖b‖, about what single precision can reach


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """x ≈ A⁻¹ b after at most `steps` products with A, and A x, which costs no further one; both float32 [P].

    `product` is v ↦ A v of a symmetric matrix A [P, P] that is positive definite. SciPy's `cg` returns x alone, so that
    the length of a natural-gradient step would take one product more.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    norm = residual @ residual
    enough = TOLERANCE**2 * norm
    for _ in range(steps):
        if norm <= enough:  # at once where b = 0
            break
        image = product(direction)
        length = norm / (direction @ image)
        x += length * direction
        residual = residual - length * image
        before, norm = norm, residual @ residual
        direction = residual + norm / before * direction
    return x, b - residual
