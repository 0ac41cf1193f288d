"""A network's parameters with their Adam state, and the loss that they minimise."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from algorithms.core.batch import Batch
from algorithms.core.hooks import Hooks

Module = Callable[..., Any]  # a network as a function of its inputs
# The scalar to minimise, the scalars to record by name, and the network's output: a distribution or values.
Loss = tuple[Tensor, dict[str, Tensor], Distribution | Tensor]
LossFunction = Callable[[Hooks, Module, Batch], Loss]
State = tuple[Tensor, ...]  # as `Trainable.tensors` returns it


class Trainable:
    """A network's parameters as one vector [P], with their Adam state and the loss that they minimise.

    `loss(algorithm, module, batch)` returns the loss of the network `module`, a function of its inputs, on a batch.
    """

    def __init__(self, name: str, module: nn.Module, loss: LossFunction) -> None:
        self.name, self.module, self.loss = name, module, loss
        self.vector: Tensor = module.parameter_vector  # type: ignore[assignment]
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.step_count, self.learning_rate = torch.zeros(()), torch.zeros(())
        self._shapes = {name: p.shape for name, p in module.named_parameters()}
        network: Any = module.network
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        self.sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]  # units of each layer
        self.relu = any(isinstance(layer, nn.ReLU) for layer in network)
        self.extra = sum(len(p) for name, p in module.named_parameters() if "." not in name)  # parameters beside layers

    def tensors(self) -> State:
        """The tensors that a step reads and changes: parameters, Adam's mean, square and step count, learning rate."""
        return self.vector, self.mean, self.square, self.step_count, self.learning_rate

    def module_with(self, vector: Tensor) -> Module:
        """The module as a function of its inputs, with its parameters taken from `vector` [P]."""
        pieces = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        parameters = {n: x.view(shape) for (n, shape), x in zip(self._shapes.items(), pieces, strict=True)}
        return lambda *inputs: torch.func.functional_call(self.module, parameters, inputs)

    def tensors_of_head(self, rows: int) -> list[Tensor]:
        """Tensors like those that the loss is a function of: outputs [rows, O], and parameters beside the layers'."""
        outputs = torch.zeros(rows, self.sizes[-1])
        return [outputs, self.vector[: self.extra]] if self.extra else [outputs]

    def head(self, tensors: Sequence[Tensor]) -> Module:
        """The module as a function of its inputs whose outputs are known: `tensors` as of `tensors_of_head`."""
        return lambda observations, *masks: self.module.of_outputs(tensors[0], *tensors[1:], *masks)  # type: ignore

    def state(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: p.detach().numpy().copy() for name, p in self.module.named_parameters()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy parameters by name into the module; the vector has the same memory, so it changes, too."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))
