"""Gradient steps: those of an update in one call of machine code, or one by one in Torch."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from .batch import Batch
from .divergence import kl_from_old, outputs_of
from .fisher import Fisher
from .fused import ADAM_BETAS, FusedUpdate, State, Trainable
from .hook_checks import checked_vector
from .hooks import Hooks, Objective


class Optimizer:
    """Takes gradient steps for networks that learn from the same minibatches, each with its own learning rate.

    Gradients are clipped by the norm of each network's gradient, or by the norm over all networks. An algorithm may
    replace the gradient of the loss (`Hooks.gradients`, which draws its noise from `generator`) and Adam's step
    (`Hooks.step`): for all networks of an optimizer or for none.

    After `fuse`, all gradient steps of an update (forward, gradients, clipping, Adam) are one call of machine code. The
    same code serves all values of the settings that are floats, and all sizes of minibatches. Steps with `gradients` or
    `step` of the algorithm's own, and those of networks that see more than observations, are taken operation by
    operation.
    """

    def __init__(
        self,
        networks: Sequence[Trainable],
        algorithm: Hooks,
        generator: torch.Generator | None = None,
    ) -> None:
        self.networks, self.algorithm = networks, algorithm
        self.generator = generator or torch.Generator()
        self.recorded: tuple[str, ...] = ()
        name = networks[0].name
        self._own_gradients, self._own_step = algorithm.has_own("gradients", name), algorithm.has_own("step", name)
        self.fused: FusedUpdate | None = None

    def fuse(self, size: int | None) -> None:
        """From now on take the steps of an update in one call of machine code, if the algorithm's can be compiled.

        `size` is that of the minibatches, but for the last one of an epoch; None: every batch has another.
        """
        sees_more = any("actions" in getattr(network.module, "inputs", ()) for network in self.networks)
        if not (sees_more or self._own_gradients or self._own_step):
            name = f"{' and '.join(n.name for n in self.networks)} steps"
            numbers_change = self.algorithm.overrides("after_update")
            self.fused = FusedUpdate(name, self.networks, self._head, size, numbers_change=numbers_change)

    def use(self, algorithm: Hooks) -> None:
        """Use another algorithm from now on; it may differ from the present one only in settings that are floats."""
        self.algorithm = algorithm

    def learn(self, batch: Batch, order: np.ndarray | None, starts: np.ndarray) -> np.ndarray:
        """Take a gradient step for every network from each minibatch; returns the scalars of the steps, [S, R].

        Minibatch s has the rows order[starts[s]:starts[s + 1]] of the batch; without an `order` (int64) there is one
        step, from the whole batch. `recorded` names the scalars: those of the losses, and the gradients' norms before
        clipping.
        """
        if self.fused is not None:
            sizes = np.diff(starts)
            self.fused.compile(self.algorithm, batch)
            if all(map(self.fused.takes, {int(sizes.min()), int(sizes.max())})):
                return self.fused.steps(self.algorithm, batch, order, starts)
        records = []
        for begin, end in itertools.pairwise(starts):
            if self.fused is not None and self.fused.takes(int(end - begin)):
                records.append(self.fused.steps(self.algorithm, batch, order, np.array([begin, end])))
            else:
                records.append(self.step(batch if order is None else batch.minibatch(order[begin:end]))[None])
        return np.concatenate(records)

    def step(self, batch: Batch) -> np.ndarray:
        """Take one gradient step for every network, operation by operation; returns the scalars, [R]."""
        algorithm = self.algorithm
        parameters = [network.vector.detach().requires_grad_() for network in self.networks]
        losses: list[Tensor] = []
        objectives: list[Objective] = []
        record: dict[str, Tensor] = {}
        for network, vector in zip(self.networks, parameters, strict=True):
            loss, scalars, made = network.loss(algorithm, network.module_with(vector), batch)
            losses.append(loss)
            record |= scalars
            if self._own_gradients or self._own_step:
                objectives.append(_objective(algorithm, network, vector, loss, made, batch))
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
        for i, (network, gradient) in enumerate(zip(self.networks, gradients, strict=True)):
            if self._own_step:
                after = algorithm.step(objectives[i], gradient, batch)
                network.vector.copy_(checked_vector(after, algorithm, "step", network.name, len(network.vector)))
                record |= {name: torch.tensor(value) for name, value in objectives[i].record.items()}
            else:
                take_adam_step(network.tensors(), gradient, algorithm.adam_epsilon)
        self.recorded = tuple(record)
        return torch.stack([value.detach().float() for value in record.values()]).numpy()

    def _head(self, algorithm: Hooks, tensors: Sequence[Tensor], batch: Batch) -> tuple[Tensor, ...]:
        """The losses as a function of what the networks put out: see `fused.Head`."""
        leaves = [x.detach().requires_grad_() for x in tensors]
        losses: list[Tensor] = []
        record: dict[str, Tensor] = {}
        remaining = iter(leaves)
        for network in self.networks:
            of_network = [next(remaining) for _ in network.rows_of_head]
            loss, scalars, _ = network.loss(algorithm, network.head(of_network), batch)
            losses.append(loss)
            record |= scalars
        gradients = torch.autograd.grad(losses, leaves, allow_unused=True, materialize_grads=True)
        self.recorded = (*record, *(f"{network.name}_gradient_norm" for network in self.networks))
        return torch.stack([x.detach().float() for x in record.values()]), *(x.contiguous() for x in gradients)


def _objective(
    algorithm: Hooks, network: Trainable, vector: Tensor, loss: Tensor, made: Distribution | Tensor, batch: Batch
) -> Objective:
    """The network's loss on the batch, as the methods `gradients` and `step` of an algorithm get it."""

    def loss_at(parameters: Tensor) -> Tensor:
        return network.loss(algorithm, network.module_with(parameters), batch)[0]

    def of_policy(wanted: str) -> Distribution:
        if isinstance(made, Tensor):
            raise ValueError(f"the critic {network.name!r} is no policy, and only the policy has {wanted}")
        return made

    def kl_at(parameters: Tensor) -> Tensor:
        of_policy("a KL divergence")
        distribution = network.module_with(parameters)(batch.observations, batch.action_masks)
        return kl_from_old(distribution, batch).mean()

    @torch.no_grad()
    def loss_and_kl_at(parameters: Tensor) -> tuple[float, float]:
        of_policy("a KL divergence")
        there, _, distribution = network.loss(algorithm, network.module_with(parameters), batch)
        assert isinstance(distribution, Distribution)
        return float(there), float(kl_from_old(distribution, batch).mean())

    def fisher(every: int) -> Fisher:
        distribution = of_policy("a Fisher information")
        return Fisher(vector, network.sizes, network.relu, batch.observations, distribution, every)

    def take_step(gradient: Tensor) -> Tensor:
        take_adam_step(network.tensors(), gradient, algorithm.adam_epsilon)
        return network.vector

    return Objective(
        network.name,
        vector,
        loss,
        outputs_of(made),
        loss_at,
        kl_at,
        loss_and_kl_at,
        fisher,
        take_step,
        float(network.learning_rate),
    )


@torch.no_grad()
def take_adam_step(state: State, gradient: Tensor, epsilon: float) -> None:
    """Change the parameters and their Adam state by one step of Adam (Kingma & Ba, 2015) along a gradient [P].

        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   θ ← θ − α m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)

    `state` is what `Trainable.tensors` returns; `epsilon` is added to the square root of Adam's second moment.
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


def adam_of_number(
    gradient: float, mean: float, square: float, steps: float, epsilon: float
) -> tuple[float, float, float, float]:
    """m̂ / (√v̂ + ε) of a single number, as of `take_adam_step`, then its mean, square and number of steps."""
    beta_1, beta_2 = ADAM_BETAS
    steps += 1
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    direction = mean / (1 - beta_1**steps) / (math.sqrt(square / (1 - beta_2**steps)) + epsilon)
    return direction, mean, square, steps
