"""∇_θ log π_θ(a_t|s_t), the score, of every step of a policy's episodes: all steps of a batch in one pass.

The gradient of a linear layer's weights at one step is δ_t h_tᵀ: δ_t is that of the layer's outputs and h_t its inputs.
So one pass backwards through the sum over the steps gives all that is needed. `torch.func.vmap` does the same in three
times the time, and its import takes a second and 60 MB.
"""

from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from policy_gradient_ladder.core.policies import Policy


class Scores:
    """The scores of a policy's steps; a context, because it watches the policy's layers.

    policy: its parameters are used as they are. most: steps that are asked for at once, at most.
    """

    def __init__(self, policy: Policy, most: int) -> None:
        self.policy = policy
        self._layers = {name: module for name, module in policy.named_modules() if isinstance(module, nn.Linear)}
        self._parameters = {name: parameter.detach() for name, parameter in policy.named_parameters()}
        of_layers = {f"{name}.{of}" for name in self._layers for of in ("weight", "bias")}
        self._others = {name: p for name, p in self._parameters.items() if name not in of_layers}
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}  # the inputs and outputs of each layer
        self._scores = torch.zeros(most, policy.parameter_vector.numel())

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._hooks = [layer.register_forward_hook(self._watch(name)) for name, layer in self._layers.items()]
        return self

    def __exit__(self, *exception: object) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()

    def _watch(self, name):
        def see(layer, inputs, outputs):
            self._seen[name] = inputs[0].detach(), outputs

        return see

    def of(self, observations: np.ndarray, actions: np.ndarray, action_masks: np.ndarray | None) -> np.ndarray:
        """float32 [B, P], which the next call overwrites; of steps with observations [B, D], actions and masks."""
        steps = len(observations)
        inputs = tuple(torch.from_numpy(x) for x in (observations, action_masks) if x is not None)
        # A parameter of no layer, as log σ: each step has its own copy, so that it has its own gradient.
        copies = {name: p.expand(steps, *p.shape).clone().requires_grad_() for name, p in self._others.items()}
        log_prob = torch.func.functional_call(self.policy, copies, inputs).log_prob(torch.from_numpy(actions))
        asked = {name: outputs for name, (_, outputs) in self._seen.items()} | copies
        gradients = dict(zip(asked, torch.autograd.grad(log_prob.sum(), list(asked.values())), strict=True))
        for name, place in self._places(steps):
            layer, _, of = name.rpartition(".")
            if of == "weight" and layer in self._layers:
                torch.mul(gradients[layer][:, :, None], self._seen[layer][0][:, None, :], out=place)
            else:
                place.copy_(gradients[layer if layer in self._layers else name])
        return self._scores[:steps].numpy()

    def _places(self, steps: int) -> Iterator[tuple[str, Tensor]]:
        """Where the scores of a parameter are, [B, …], by its name: in the order of the policy's parameter vector."""
        end = 0
        for name, parameter in self._parameters.items():
            begin, end = end, end + parameter.numel()
            yield name, self._scores[:steps, begin:end].unflatten(1, parameter.shape)
