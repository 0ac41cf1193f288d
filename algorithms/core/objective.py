"""A network's loss on a minibatch, as an algorithm's own `gradients` and `step` see it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """The loss of one network on one minibatch of B steps, at the P parameters that it has now."""

    network: str  # "policy" or the name of a critic
    parameters: Tensor  # float32 [P], a leaf that requires its gradient
    loss: Tensor  # scalar: for the policy with its regularizer
    outputs: tuple[Tensor, ...]  # each [B, …]: what the network puts out at each step; the loss is a function of it
    loss_at: Callable[[Tensor], Tensor]  # the loss at other parameters [P]
    kl_at: Callable[[Tensor], Tensor]  # the batch's mean KL(π_old ‖ π) at other parameters [P]; a critic has none
    adam: Callable[[Tensor], Tensor]  # takes Adam's step along a gradient [P] and returns the parameters [P] after it

    @cached_property
    def per_step(self) -> Tensor:
        """The loss in pieces, float32 [B]: the gradient of their sum is the loss's.

        The piece of step t is Σ ∂L/∂y_t · y_t, where y_t is what the network puts out at that step. It holds for every
        loss, also where a step's share depends on the others, as with normalised advantages.
        """
        slopes = torch.autograd.grad(
            self.loss, self.outputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        products = [slope * output for slope, output in zip(slopes, self.outputs, strict=True)]
        return torch.stack([x.reshape(len(x), -1).sum(1) for x in products]).sum(0)

    def gradients_of(self, weights: Tensor) -> Tensor:
        """The gradients of weighted sums of the pieces, float32 [K, P]; `weights` is float32 [K, B]."""
        return torch.autograd.grad(self.per_step, self.parameters, weights, is_grads_batched=True, retain_graph=True)[0]

    def episode_gradients(self, episode_ids: Tensor) -> Tensor:
        """The gradient of each episode's pieces, float32 [E, P]; their sum is the gradient of the loss.

        `episode_ids` is int64 [B]; the rows are in the order of the numbers that occur in it.
        """
        _, rows = torch.unique(episode_ids, return_inverse=True)
        return self.gradients_of(torch.nn.functional.one_hot(rows).T.to(self.parameters.dtype))
