"""The gradient steps of an update in one call: networks in C++ (fused.cpp), losses compiled by Torch."""

import ctypes
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .batch import Batch
from .compiled import (
    CannotCompile,
    DependsOnSize,
    Function,
    MachineCode,
    ahead_of_time,
    cpp,
    read_by,
    resized,
)
from .hooks import Hooks

SOURCE = Path(__file__).with_suffix(".cpp")
MOST_AXES = 3  # of a batch's tensors
ADAM_BETAS = (0.9, 0.999)  # Kingma & Ba, 2015, algorithm 1
# What Torch calls the types of a batch's tensors in its C interface: the numbers of c10/core/ScalarType.h.
TYPES = {torch.float32: 6, torch.int64: 4, torch.bool: 11}
# The losses as a function of the algorithm, of what the networks put out, and of the batch: the scalars to record, then
# for every network the gradients of the sum of all losses with respect to each of its tensors.
Head: TypeAlias = Callable[[Hooks, Sequence[Tensor], Batch], tuple[Tensor, ...]]
Module = Callable[..., Any]  # a network as a function of its inputs
# The scalar to minimise, the scalars to record by name, and the network's output: a distribution or values.
Loss = tuple[Tensor, dict[str, Tensor], Distribution | Tensor]
LossFunction = Callable[[Hooks, Module, Batch], Loss]
State = tuple[Tensor, ...]  # as `Trainable.tensors` returns it
Address = ctypes.c_void_p
Count = ctypes.c_int64
Single = ctypes.c_float


class Parameters:
    """A network's parameters as one vector [P], with their Adam state."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.vector: Tensor = module.parameter_vector  # type: ignore[assignment]
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.step_count, self.learning_rate = torch.zeros(()), torch.zeros(())
        self._shapes = {name: p.shape for name, p in module.named_parameters()}
        network: Any = module.network
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        self.sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]  # units of each layer
        self.size_array = np.array(self.sizes, np.int64)
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

    def state(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: p.detach().numpy().copy() for name, p in self.module.named_parameters()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy parameters by name into the module; the vector has the same memory, so it changes, too."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))


class Trainable(Parameters):
    """A network's parameters with the loss that they minimise.

    `loss(algorithm, module, batch)` returns the loss of the network `module`, a function of its inputs, on a batch.
    """

    def __init__(self, name: str, module: nn.Module, loss: LossFunction) -> None:
        super().__init__(name, module)
        self.loss = loss

    def tensors_of_head(self, rows: int) -> list[Tensor]:
        """Tensors like those that the loss is a function of: outputs [rows, O], and parameters beside the layers'."""
        outputs = torch.zeros(rows, self.sizes[-1])
        return [outputs, self.vector[: self.extra]] if self.extra else [outputs]

    @property
    def rows_of_head(self) -> tuple[bool, ...]:
        """Of each of `tensors_of_head`, whether its first axis is of a batch's steps."""
        return (True, False) if self.extra else (True,)

    def head(self, tensors: Sequence[Tensor]) -> Module:
        """The module as a function of its inputs whose outputs are known: `tensors` as of `tensors_of_head`."""
        return lambda observations, *masks: self.module.of_outputs(tensors[0], *tensors[1:], *masks)  # type: ignore


class NetworkStructure(ctypes.Structure):
    """`Network` in fused.hpp."""

    _fields_ = [
        *((name, Count) for name in ("layers", "relu", "extra")),
        *((name, Address) for name in ("sizes", "vector", "mean", "square", "step_count")),
        ("learning_rate", Single),
    ]

    def describe(self, network: Parameters) -> None:
        """Say where the parameters and the Adam state of a network are; the learning rate is told at each step."""
        self.layers, self.relu, self.extra = len(network.sizes) - 1, network.relu, network.extra
        self.sizes = network.size_array.ctypes.data
        for name in ("vector", "mean", "square", "step_count"):
            setattr(self, name, getattr(network, name).data_ptr())


class AdamStructure(ctypes.Structure):
    """`Adam` in fused.hpp."""

    _fields_ = [(name, Single) for name in ("beta_1", "beta_2", "epsilon")]


class _Field(ctypes.Structure):
    """`Field` in fused.cpp."""

    _fields_ = [
        ("data", Address),
        ("dimensions", Count),
        ("sizes", Count * MOST_AXES),
        ("row_bytes", Count),
        ("type", ctypes.c_int32),
    ]


class _Update(ctypes.Structure):
    """`Update` in fused.cpp."""

    _fields_ = [
        *((name, Address) for name in ("head", "container", "numbers")),
        *((name, Count) for name in ("number_count", "network_count", "field_count", "record_count", "rows")),
        *((name, Address) for name in ("networks", "fields", "observations")),
        ("largest_norm", Single),
        ("clip_together", Count),
        ("adam", AdamStructure),
    ]


class FusedUpdate:
    """The gradient steps of networks that learn from the same minibatches, as machine code.

    - `name`: what a warning calls them
    - `networks`: whose parameters and Adam states are changed in place
    - `head`: the losses and their gradients
    - `size`: of the minibatches, but for the last one of an epoch; None: every batch has another
    - `numbers_change`: whether the algorithm's settings that are floats may change from one update to the next

    The first batch compiles. Where compiling is impossible, a warning gives the reason, once, and no step is taken.
    """

    def __init__(
        self, name: str, networks: Sequence[Trainable], head: Head, size: int | None, *, numbers_change: bool
    ) -> None:
        self.name, self.networks, self.head = name, networks, head
        self.size, self.numbers_change = size, numbers_change
        self.seconds = 0.0  # spent on compiling, or on loading code that was compiled before
        self._code: _Code | None = None
        self._fields: tuple[str, ...] = ()  # the names of the batch's tensors for which there is code

    @property
    def compiled(self) -> bool:
        """Whether there is machine code."""
        return self._code is not None

    def reads(self, field: str) -> bool:
        """Whether the losses read a tensor of the batch; True as long as nothing is compiled."""
        return self._code is None or field in self._code.fields

    def compile(self, algorithm: Hooks, batch: Batch) -> None:
        """Make the code for batches like this one, unless it is there; where that is impossible, warn."""
        fields = tuple(batch.tensors())
        if fields == self._fields:  # otherwise it is the first time, or the task has begun to mask actions
            return
        began = time.perf_counter()
        self._fields = fields
        try:
            self._code = self._compiled(algorithm, batch)
        except CannotCompile as error:
            logging.getLogger(__name__).warning("%s: not compiled, and slower for it: %s", self.name, error)
            self._code = None
        self.seconds += time.perf_counter() - began

    def takes(self, size: int) -> bool:
        """Whether the code is for minibatches of `size` steps."""
        return self._code is not None and (size == self._code.size if self._code.size else size > 1)

    def steps(self, algorithm: Hooks, batch: Batch, order: np.ndarray | None, starts: np.ndarray) -> np.ndarray:
        """Take the gradient steps of minibatches, all of sizes that are taken; returns their scalars, float32 [S, R].

        Minibatch s has the rows order[starts[s]:starts[s + 1]] of the batch; without an `order` (int64) there is one
        step, from the whole batch as it is.
        """
        assert self._code is not None
        return self._code.run(algorithm, batch, order, starts)

    def _compiled(self, algorithm: Hooks, batch: Batch) -> "_Code":
        """The code, with the algorithm's floats as inputs, or else as constants where they cannot change.

        Raises CannotCompile.
        """
        library = cpp(SOURCE)
        try:
            return self._made(library, self.traced(algorithm, batch))
        except DependsOnSize:
            raise
        except Exception as error:  # of any kind: the author of the algorithm wrote for numbers, not for tensors
            if self.numbers_change:
                reason = f"after_update changes numbers that the machine code cannot take as inputs: {error}"
                raise CannotCompile(reason) from error
            logging.getLogger(__name__).info("%s: compiled for these settings alone: %s", self.name, error)
        return self._made(library, self.traced(algorithm, batch, general=False))

    def _made(self, library: ctypes.CDLL, traced: "Traced") -> "_Code":
        """The code for minibatches of any size from 2, or only of `size` where it is 1 or where the losses need it."""
        only = self.size if self.size == 1 else None
        if only is None:
            try:
                head = ahead_of_time(traced.function, traced.inputs, traced.rows)
            except DependsOnSize:
                if self.size is None:
                    raise
                only = self.size
        if only is not None:
            head = ahead_of_time(traced.function, resized(traced.inputs, traced.rows, only))
        return _Code(library, head, self.networks, traced, only)

    def traced(self, algorithm: Hooks, batch: Batch, *, general: bool = True) -> "Traced":
        """The head as a function of tensors like those of `batch`, with the algorithm's floats first if `general`."""
        numbers = [algorithm.numbers()] if general else []
        given = [*numbers, *(x for network in self.networks for x in network.tensors_of_head(len(batch)))]
        of_batch = batch.tensors()

        def head_of(names: Sequence[str]) -> Function:
            unread: dict[str, Any] = {name: _Unread() for name in of_batch if name not in names}

            def head(*tensors: Tensor) -> tuple[Tensor, ...]:
                a = algorithm.with_numbers(tensors[0]) if numbers else algorithm
                part = Batch.from_tensors([*names, *unread], [*tensors[len(given) :], *unread.values()])
                return self.head(a, tensors[len(numbers) : len(given)], part)

            return head

        fields = list(of_batch)
        read = read_by(head_of(fields), [*given, *of_batch.values()])[len(given) :]
        # The count of steps is that of the advantages.
        needed = [name for name, is_read in zip(fields, read, strict=True) if is_read or name == "advantages"]
        try:
            results = head_of(needed)(*given, *(of_batch[name] for name in needed))
            fields = needed
        except Exception:  # of any kind: something of a tensor is read that is no number, its shape, say
            results = head_of(fields)(*given, *of_batch.values())
            logging.getLogger(__name__).debug("%s: the machine code takes every tensor of the batch", self.name)
        for name in fields:
            if of_batch[name].dtype not in TYPES or of_batch[name].ndim > MOST_AXES:
                raise CannotCompile(f"its batch has {name!r} of {of_batch[name].dtype}, which machine code cannot take")
        rows = [False] * len(numbers) + [has for network in self.networks for has in network.rows_of_head]
        rows += [of_batch[name].ndim > 0 for name in fields]
        inputs = [*given, *(of_batch[name] for name in fields)]
        return Traced(head_of(fields), inputs, rows, fields, len(results[0]), general)


class Traced(NamedTuple):
    """A head as a function of tensors."""

    function: Function
    inputs: list[Tensor]  # examples of what it takes: numbers, of every network its `tensors_of_head`, of the batch
    rows: list[bool]  # of each input, whether its first axis is of the batch's steps
    fields: list[str]  # the names of the batch's tensors among the inputs
    scalars: int  # how many it records
    general: bool  # whether the algorithm's floats are its first input


class _Unread:
    """In place of a tensor of the batch that the losses do not read; whatever is asked of it raises an error."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class _Code:
    """The machine code of gradient steps, ready to be called; `size` is that of its minibatches, None any from 2."""

    def __init__(
        self,
        library: ctypes.CDLL,
        head: MachineCode,
        networks: Sequence[Trainable],
        traced: Traced,
        size: int | None,
    ) -> None:
        fields = traced.fields
        self.library, self.head, self.networks, self.fields, self.size = library, head, networks, fields, size
        self._algorithm: Hooks | None = None  # whose numbers `_numbers` are
        self._numbers, self._general = torch.empty(0), traced.general
        self._networks, self._fields = (NetworkStructure * len(networks))(), (_Field * len(fields))()
        for structure, network in zip(self._networks, networks, strict=True):
            structure.describe(network)
        self._update = _Update(
            head=head.run,
            container=head.container,
            network_count=len(networks),
            field_count=len(fields),
            record_count=traced.scalars + len(networks),
            networks=ctypes.addressof(self._networks),
            fields=ctypes.addressof(self._fields),
            adam=AdamStructure(*ADAM_BETAS),
        )
        self._at = ctypes.byref(self._update)
        self._call = library.pgl_update
        self._call.restype, self._call.argtypes = Count, [Address, Address, Address, Count, Address]

    def run(self, algorithm: Hooks, batch: Batch, order: np.ndarray | None, starts: np.ndarray) -> np.ndarray:
        """As FusedUpdate.steps."""
        update = self._update
        if algorithm is not self._algorithm:
            self._algorithm, self._numbers = algorithm, algorithm.numbers()
            update.numbers, update.number_count = self._numbers.data_ptr(), len(self._numbers)
            if not self._general:
                update.number_count = -1
            update.largest_norm = -1.0 if algorithm.max_grad_norm is None else algorithm.max_grad_norm
            update.clip_together, update.adam.epsilon = algorithm.clip_together, algorithm.adam_epsilon
        for structure, network in zip(self._networks, self.networks, strict=True):
            structure.learning_rate = float(network.learning_rate)
        tensors = batch.tensors()
        held = [tensors[name].contiguous() for name in self.fields]
        for structure, tensor in zip(self._fields, held, strict=True):
            structure.data, structure.dimensions, structure.type = tensor.data_ptr(), tensor.ndim, TYPES[tensor.dtype]
            structure.sizes[: tensor.ndim] = tensor.shape
            structure.row_bytes = tensor[0].nbytes if tensor.ndim else 0
        observations = batch.observations.contiguous()
        update.observations, update.rows = observations.data_ptr(), len(batch)
        records = np.empty((len(starts) - 1, update.record_count), np.float32)
        at_order = None if order is None else order.ctypes.data
        if failed := self._call(self._at, at_order, starts.ctypes.data, len(records), records.ctypes.data):
            raise RuntimeError(f"the machine code of a loss failed in gradient step {failed} of an update")
        return records
