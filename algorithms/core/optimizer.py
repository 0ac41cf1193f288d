"""Parameters with their Adam states, and the step that moves them along a loss's gradient."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from algorithms.core.algorithm import Algorithm
from algorithms.core.batch import Batch
from algorithms.core.compiled import MachineCode

ADAM_BETAS = (0.9, 0.999)


class Trainable:
    """A network's parameters as one vector [P], Adam's state of them, and the loss that they are to minimise.

    `loss(algorithm, module, batch)` returns the scalar to minimise and a dict of scalars to record.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        loss: Callable[[Algorithm, Callable, Batch], tuple[Tensor, dict[str, Tensor]]],
    ) -> None:
        self.name, self.module, self.loss = name, module, loss
        self.vector: Tensor = module.parameter_vector
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.step_count, self.learning_rate = torch.zeros(()), torch.zeros(())
        self._shapes = {name: p.shape for name, p in module.named_parameters()}

    def tensors(self) -> tuple[Tensor, ...]:
        """What a step reads and changes."""
        return self.vector, self.mean, self.square, self.step_count, self.learning_rate

    def module_with(self, vector: Tensor) -> Callable:
        """The module as a function of its inputs, with its parameters taken from `vector` [P]."""
        pieces = vector.split([shape.numel() for shape in self._shapes.values()])
        parameters = {n: x.view(shape) for (n, shape), x in zip(self._shapes.items(), pieces, strict=True)}
        return lambda *inputs: torch.func.functional_call(self.module, parameters, inputs)

    def state(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: p.detach().numpy().copy() for name, p in self.module.named_parameters()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over parameters by name; those that act share their memory."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))


class Optimizer:
    """Adam on networks that learn from the same minibatches, each with its own learning rate.

    Gradients are clipped by their norm: each network's own, or that of all together. On a batch of `compiled_size` the
    whole step (forward, gradients, clipping, Adam) runs as machine code, which is the same for all values of the
    algorithm's settings that are floats.
    """

    def __init__(
        self,
        networks: Sequence[Trainable],
        algorithm: Algorithm,
        epochs: int,
        minibatch_size: int | None,
        compiled_size: int | None,
    ) -> None:
        self.networks, self.epochs, self.minibatch_size = networks, epochs, minibatch_size
        self.recorded: tuple[str, ...] = ()
        self.code = MachineCode(
            f"{' and '.join(n.name for n in networks)} steps",
            partial(self._step, algorithm),
            compiled_size,
            general=lambda numbers, *tensors: self._step(algorithm.with_numbers(numbers), *tensors),
            numbers=algorithm.numbers(),
        )

    def step(self, batch: Batch) -> Tensor:
        """One gradient step; returns the scalars `recorded`: the losses', and the gradients' norms before clipping."""
        states = [tensor for network in self.networks for tensor in network.tensors()]
        return self.code(len(batch), *states, *batch.tensors())

    def _step(self, algorithm: Algorithm, *tensors: Tensor) -> Tensor:
        size = len(self.networks[0].tensors())
        states = [tensors[i * size : (i + 1) * size] for i in range(len(self.networks))]
        batch = Batch(*tensors[len(states) * size :])
        parameters = [vector.detach().requires_grad_() for vector, *_ in states]
        losses, record = [], {}
        for network, vector in zip(self.networks, parameters, strict=True):
            loss, scalars = network.loss(algorithm, network.module_with(vector), batch)
            losses.append(loss)
            record |= scalars
        gradients = torch.autograd.grad(losses, parameters)
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        record |= {f"{n.name}_gradient_norm": norm for n, norm in zip(self.networks, norms, strict=True)}
        if algorithm.max_grad_norm is not None:
            if algorithm.clip_together:
                norms = [torch.linalg.vector_norm(torch.stack(norms))] * len(norms)
            scales = [torch.clamp(algorithm.max_grad_norm / (norm + 1e-6), max=1.0) for norm in norms]
            gradients = [gradient * scale for gradient, scale in zip(gradients, scales, strict=True)]
        with torch.no_grad():
            for (vector, mean, square, step_count, learning_rate), gradient in zip(states, gradients, strict=True):
                adam(
                    [vector],
                    [gradient],
                    [mean],
                    [square],
                    [],
                    [step_count],
                    foreach=False,
                    differentiable=True,  # computes with the step count as a tensor, which a compiler cannot know
                    amsgrad=False,
                    beta1=ADAM_BETAS[0],
                    beta2=ADAM_BETAS[1],
                    lr=learning_rate,
                    weight_decay=0.0,
                    eps=algorithm.adam_epsilon,
                    maximize=False,
                )
        self.recorded = tuple(record)
        return torch.stack([value.detach().float() for value in record.values()])
