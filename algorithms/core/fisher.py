"""The Fisher information of a policy on a batch, by its products with vectors (Schulman et al., 2015, app. C.1)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .divergence import outputs_of
from .policies import Parts


class Fisher:
    """F = E_s[ J_sᵀ M_s J_s ] of a policy that is a multilayer perceptron, by its products with vectors.

    J_s is the Jacobian of what the policy puts out at s, and M_s the Fisher information of its distribution over these
    outputs. F is also the Hessian of E_s[KL(π_old ‖ π)] where π = π_old. A product is one pass forward and one backward
    through matrices that are kept: half of what it takes to differentiate the divergence twice, without Torch's graphs.

    - `parameters` [P]: for Box the log-std [A] first, then of every layer its weight [out, in] and its bias
    - `sizes`: the units of every layer, the inputs first; `relu`: whether they are rectified (else tanh)
    - `observations` [B, D]: the states; `distribution`: the policy's at these states
    - `every`: k ≥ 1 where every k-th state is enough
    """

    def __init__(
        self,
        parameters: Tensor,
        sizes: Sequence[int],
        relu: bool,
        observations: Tensor,
        distribution: Distribution,
        every: int = 1,
    ) -> None:
        self._shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        ends = np.cumsum([length for rows, columns in self._shapes for length in (rows * columns, rows)])
        self._cuts = [len(parameters) - ends[-1], *(len(parameters) - ends[-1] + ends[:-1])]
        _, layers = self._parts_of(parameters.detach().numpy())
        self._weights = [weight for weight, _ in layers]
        self._inputs, self._slopes = [observations[::every].numpy()], list[np.ndarray]()
        for weight, bias in layers[:-1]:
            before = self._inputs[-1] @ weight.T + bias
            after = np.maximum(before, 0) if relu else np.tanh(before)
            self._slopes.append((before > 0).astype(np.float32) if relu else 1 - after * after)
            self._inputs.append(after)
        self._of_outputs = _fisher_of_outputs(distribution, every)

    def __call__(self, vector: Tensor) -> Tensor:
        """F v [P] of v [P]."""
        of_extra, layers = self._parts_of(vector.numpy())
        weight, bias = layers[0]
        moved = self._inputs[0] @ weight.T + bias
        for i, slope in enumerate(self._slopes):
            moved *= slope
            weight, bias = layers[i + 1]
            moved = moved @ self._weights[i + 1].T + (self._inputs[i + 1] @ weight.T + bias)  # J_s v
        back = self._of_outputs(moved) / np.float32(len(moved))  # M_s J_s v, and the mean over s
        pieces: list[np.ndarray] = []
        for i in reversed(range(len(self._weights))):
            pieces += [back.sum(axis=0), (back.T @ self._inputs[i]).ravel()]
            if i:
                back = (back @ self._weights[i]) * self._slopes[i - 1]
        pieces.append(2 * of_extra)  # the Fisher information of a Gaussian's log-std is 2
        return torch.from_numpy(np.concatenate(pieces[::-1]))

    def _parts_of(self, vector: np.ndarray) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """The parameters beside the layers', and (weight [out, in], bias [out]) of every layer, of a vector [P]."""
        extra, *pieces = np.split(vector, self._cuts)
        weights = [piece.reshape(shape) for piece, shape in zip(pieces[::2], self._shapes, strict=True)]
        return extra, list(zip(weights, pieces[1::2], strict=True))


def _fisher_of_outputs(distribution: Distribution, every: int) -> Callable[[np.ndarray], np.ndarray]:
    """u ↦ M_s u, both [B, O]: (p ⊙ u) − p (p·u) of logits, in each part; u / σ² of a Gaussian's means."""
    if not isinstance(distribution, Categorical | Parts):
        precision = outputs_of(distribution)[1].detach()[::every].numpy() ** -2
        return lambda u: u * precision
    logits = distribution.logits.detach()[::every]
    ends = np.cumsum(distribution.parts if isinstance(distribution, Parts) else [logits.shape[-1]])[:-1]
    probabilities = [torch.softmax(part, dim=-1).numpy() for part in torch.tensor_split(logits, ends.tolist(), dim=-1)]

    def product(u: np.ndarray) -> np.ndarray:
        weighted = [p * x for p, x in zip(probabilities, np.split(u, ends, axis=-1), strict=True)]
        return np.concatenate(
            [x - p * x.sum(axis=-1, keepdims=True) for p, x in zip(probabilities, weighted, strict=True)], axis=-1
        )

    return product
