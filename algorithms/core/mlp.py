"""A multilayer perceptron: made and trained in Torch, evaluated in NumPy, on the same memory."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .acting import Layers, forward_in_numpy

HIDDEN_SIZES = (64, 64)
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def multilayer_perceptron(
    inputs: int,
    outputs: int,
    last_gain: float | None,
    generator: torch.Generator,
    hidden_sizes: Sequence[int] = HIDDEN_SIZES,
    activation: str = "tanh",
) -> nn.Sequential:
    """A network of linear layers with an activation after each but the last; `hidden_sizes` may be empty.

    Weights are orthogonal, of gain √2 and in the last layer `last_gain`; biases are zero. Without a `last_gain` weights
    and biases are from U(−1/√n, 1/√n) with n the layer's inputs (Lillicrap et al., 2016, section 7; Torch's own, which
    the code of TD3 and SAC has, too). `activation` is one of ACTIVATIONS.
    """
    sizes = [inputs, *hidden_sizes, outputs]
    gains = [None if last_gain is None else math.sqrt(2)] * len(hidden_sizes) + [last_gain]
    layers: list[nn.Module] = []
    for size_in, size_out, gain in zip(sizes[:-1], sizes[1:], gains, strict=True):
        linear = nn.Linear(size_in, size_out)
        if gain is None:
            for parameters in (linear.weight, linear.bias):
                nn.init.uniform_(parameters, -(size_in**-0.5), size_in**-0.5, generator=generator)
        else:
            nn.init.orthogonal_(linear.weight, gain, generator=generator)
            nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def flatten_parameters(module: nn.Module) -> Tensor:
    """Move a module's parameters into one vector [P] and make each of them a view of it; return the vector."""
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    nn.utils.vector_to_parameters(vector, module.parameters())
    return vector


class ValueFunction(nn.Module):
    """A critic: V(s), or Q(s, ·) of `actions` discrete actions; the policy's architecture, its own parameters.

    V_k(s) of K parts has `actions` K: it is as many numbers.
    """

    inputs = ("observations",)  # the tensors of a batch that `forward` takes

    def __init__(
        self,
        observation_size: int,
        generator: torch.Generator,
        hidden_sizes: Sequence[int] = HIDDEN_SIZES,
        activation: str = "tanh",
        *,
        actions: int | None = None,
    ) -> None:
        super().__init__()
        self.actions = actions
        self.network = multilayer_perceptron(
            observation_size, 1 if actions is None else actions, 1.0, generator, hidden_sizes, activation
        )
        self.parameter_vector = flatten_parameters(self)
        self._layers = numpy_layers(self.network)
        self._activation = activation

    def values(self, observations: np.ndarray) -> np.ndarray:
        """float32 [B], or [B, A] of actions, at observations [B, D]; without Torch's cost per call."""
        outputs = forward_in_numpy(self._layers, observations, self._activation)
        return outputs[:, 0] if self.actions is None else outputs

    def forward(self, observations: Tensor) -> Tensor:
        """float32 [B], or [B, A] of actions, at observations [B, D]."""
        return self.of_outputs(self.network(observations))

    def of_outputs(self, outputs: Tensor) -> Tensor:
        """The values, [B] or [B, A], of the network's `outputs` [B, O]."""
        return outputs.squeeze(-1) if self.actions is None else outputs


class ChoicesFunction(nn.Module):
    """A critic Q_k(s, ·, a_−k): for each of K parts of an action the values of its choices, given the other parts'.

    One network serves all parts. For part k its input is s and the actions as indicators, those of part k left out; of
    its outputs for all parts, those of part k are taken (Foerster et al., 2018, section 4).
    """

    inputs = ("observations", "actions")

    def __init__(
        self,
        observation_size: int,
        generator: torch.Generator,
        hidden_sizes: Sequence[int] = HIDDEN_SIZES,
        activation: str = "tanh",
        *,
        parts: Sequence[int],
    ) -> None:
        super().__init__()
        self.shape = len(parts), max(parts)
        inputs, outputs = observation_size + math.prod(self.shape), math.prod(self.shape)
        # The last layer's gain is a policy's: values that are nearly alike mislead no policy before they are learned.
        self.network = multilayer_perceptron(inputs, outputs, 0.01, generator, hidden_sizes, activation)
        self.parameter_vector = flatten_parameters(self)
        exists = torch.arange(self.shape[1]) < torch.tensor(list(parts))[:, None]
        self.register_buffer("exists", exists)

    @torch.no_grad()
    def values(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """As `forward`, of and in NumPy."""
        result: np.ndarray = self.forward(torch.from_numpy(observations), torch.from_numpy(actions)).numpy()
        return result

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """float32 [B, K, max n_k] at observations [B, D] and actions int64 [B, K]; 0 where a part lacks a choice."""
        parts, choices = self.shape
        taken = nn.functional.one_hot(actions, choices).float()
        others = taken[:, None] * (1 - torch.eye(parts))[..., None]  # [B, K, K, max n_k]: for part k, all but its own
        seen = torch.cat([observations[:, None].expand(-1, parts, -1), others.flatten(2)], dim=-1)
        of_all = self.network(seen).unflatten(-1, self.shape)  # [B, K, K, max n_k]
        values: Tensor = of_all.diagonal(dim1=1, dim2=2).movedim(-1, 1) * self.exists
        return values


def numpy_layers(network: nn.Sequential) -> Layers:
    """(weight [in, out], bias [out]) of each linear layer: views of the parameters' own memory."""
    return [
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]
