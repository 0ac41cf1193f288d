"""Parameters with their Adam states, and the gradient step that changes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from algorithms.core.batch import Batch
from algorithms.core.compiled import MachineCode
from algorithms.core.divergence import kl_from_old, outputs_of
from algorithms.core.hook_checks import checked_vector
from algorithms.core.hooks import Hooks
from algorithms.core.objective import Objective

ADAM_BETAS = (0.9, 0.999)  # Kingma & Ba, 2015, algorithm 1
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

    def tensors(self) -> State:
        """The tensors that a step reads and changes: parameters, Adam's mean, square and step count, learning rate."""
        return self.vector, self.mean, self.square, self.step_count, self.learning_rate

    def module_with(self, vector: Tensor) -> Module:
        """The module as a function of its inputs, with its parameters taken from `vector` [P]."""
        pieces = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        parameters = {n: x.view(shape) for (n, shape), x in zip(self._shapes.items(), pieces, strict=True)}
        return lambda *inputs: torch.func.functional_call(self.module, parameters, inputs)

    def state(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: p.detach().numpy().copy() for name, p in self.module.named_parameters()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy parameters by name into the module; the vector has the same memory, so it changes, too."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))


class Optimizer:
    """Takes gradient steps for networks that learn from the same minibatches, each with its own learning rate.

    Gradients are clipped by the norm of each network's gradient, or by the norm over all networks. An algorithm may
    replace the gradient of the loss (`Hooks.gradients`, which draws its noise from `generator`) and Adam's step
    (`Hooks.step`).

    On a batch of `compiled_size` steps, the whole gradient step (forward, gradients, clipping, Adam) runs as machine
    code. The same code serves all values of the settings that are floats. The steps of an algorithm with its own
    `gradients` or `step` are not compiled.
    """

    def __init__(
        self,
        networks: Sequence[Trainable],
        algorithm: Hooks,
        compiled_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.networks, self.algorithm = networks, algorithm
        self.generator = generator or torch.Generator()
        self.recorded: tuple[str, ...] = ()
        self._own_gradients, self._own_step = (algorithm.overrides(name) for name in ("gradients", "step"))
        self._fields: tuple[str, ...] = ()  # the names of the batch's tensors, in their order
        self.code = MachineCode(
            f"{' and '.join(n.name for n in networks)} steps",
            lambda *tensors: self._step(self.algorithm, *tensors),
            None if self._own_gradients or self._own_step else compiled_size,
            general=lambda numbers, *tensors: self._step(self.algorithm.with_numbers(numbers), *tensors),
            numbers=algorithm.numbers(),
            numbers_change=algorithm.overrides("after_update"),
        )

    def use(self, algorithm: Hooks) -> None:
        """Use another algorithm from now on; it may differ from the present one only in settings that are floats."""
        self.algorithm = algorithm
        self.code.set_numbers(algorithm.numbers())

    def step(self, batch: Batch) -> Tensor:
        """Take one gradient step for every network.

        Returns the scalars that `recorded` names: those of the losses, and the gradients' norms before clipping.
        """
        states = [tensor for network in self.networks for tensor in network.tensors()]
        tensors = batch.tensors()
        self._fields = tuple(tensors)
        return self.code(len(batch), *states, *tensors.values())

    def _step(self, algorithm: Hooks, *tensors: Tensor) -> Tensor:
        """Take a gradient step as a function of tensors: every network's `Trainable.tensors`, then the batch's tensors.

        The tensors of the networks are changed in place. Returns the scalars that `recorded` names.
        """
        size = len(self.networks[0].tensors())
        states = [tensors[i * size : (i + 1) * size] for i in range(len(self.networks))]
        batch = Batch.from_tensors(self._fields, tensors[len(states) * size :])
        parameters = [vector.detach().requires_grad_() for vector, *_ in states]
        losses: list[Tensor] = []
        objectives: list[Objective] = []
        record: dict[str, Tensor] = {}
        for network, state, vector in zip(self.networks, states, parameters, strict=True):
            loss, scalars, made = network.loss(algorithm, network.module_with(vector), batch)
            losses.append(loss)
            record |= scalars
            if self._own_gradients or self._own_step:
                objectives.append(self._objective(algorithm, network, state, vector, loss, made, batch))
        if self._own_gradients:
            gradients = [
                checked_vector(
                    algorithm.gradients(objective, batch, self.generator),
                    *(algorithm, "gradients", objective.network, len(objective.parameters)),
                )
                for objective in objectives
            ]
        else:
            gradients = list(torch.autograd.grad(losses, parameters))
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        record |= {f"{n.name}_gradient_norm": norm for n, norm in zip(self.networks, norms, strict=True)}
        if algorithm.max_grad_norm is not None:
            if algorithm.clip_together:
                norms = [torch.linalg.vector_norm(torch.stack(norms))] * len(norms)
            scales = [torch.clamp(algorithm.max_grad_norm / (norm + 1e-6), max=1.0) for norm in norms]
            gradients = [gradient * scale for gradient, scale in zip(gradients, scales, strict=True)]
        if self._own_step:
            for objective, state, gradient in zip(objectives, states, gradients, strict=True):
                after = algorithm.step(objective, gradient, batch)
                state[0].copy_(checked_vector(after, algorithm, "step", objective.network, len(objective.parameters)))
        else:
            with torch.no_grad():
                for state, gradient in zip(states, gradients, strict=True):
                    take_adam_step(state, gradient, algorithm.adam_epsilon)
        self.recorded = tuple(record)
        return torch.stack([value.detach().float() for value in record.values()])

    def _objective(
        self,
        algorithm: Hooks,
        network: Trainable,
        state: State,
        vector: Tensor,
        loss: Tensor,
        made: Distribution | Tensor,
        batch: Batch,
    ) -> Objective:
        """The network's loss on the batch, as the methods `gradients` and `step` of an algorithm get it."""

        def loss_at(parameters: Tensor) -> Tensor:
            return network.loss(algorithm, network.module_with(parameters), batch)[0]

        def kl_at(parameters: Tensor) -> Tensor:
            if isinstance(made, Tensor):
                raise ValueError(f"the critic {network.name!r} is no policy, and only the policy has a KL divergence")
            distribution = network.module_with(parameters)(batch.observations, batch.action_masks)
            return kl_from_old(distribution, batch).mean()

        def take_step(gradient: Tensor) -> Tensor:
            with torch.no_grad():
                take_adam_step(state, gradient, algorithm.adam_epsilon)
            return state[0]

        return Objective(network.name, vector, loss, outputs_of(made), loss_at, kl_at, take_step)


def take_adam_step(state: State, gradient: Tensor, epsilon: float) -> None:
    """Change the parameters and their Adam state by one step of Adam (Kingma & Ba, 2015) along a gradient [P].

        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   θ ← θ − α m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)

    `state` is what `Trainable.tensors` returns; `epsilon` is added to the square root of Adam's second moment. The step
    count and the learning rate are tensors, so that the machine code does not fix their values.
    """
    vector, mean, square, step_count, learning_rate = state
    step_count += 1
    mean.lerp_(gradient, 1 - ADAM_BETAS[0])
    square.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1 - ADAM_BETAS[1])
    # As in Torch's `adam(differentiable=True)`, −α is in both parts of the denominator. Where α is 0, an infinite
    # denominator leaves the parameters as they are; Torch would compute 0/0 where the gradient was always 0.
    rate = (learning_rate / (1 - ADAM_BETAS[0] ** step_count)).neg()
    scale = (1 - ADAM_BETAS[1] ** step_count).sqrt() * rate
    still = scale == 0
    root = square.sqrt() / torch.where(still, -1.0, scale)
    vector.addcdiv_(mean, root.add_(torch.where(still, -torch.inf, epsilon / rate)))
