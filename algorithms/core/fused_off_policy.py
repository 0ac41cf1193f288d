"""The gradient steps of off-policy algorithms as machine code: networks in C++, losses compiled by Torch."""

import ctypes
import enum
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from .acting import LARGEST_LOG_STD, SMALLEST_LOG_STD
from .compiled import CannotCompile, Function, MachineCode, ahead_of_time, cpp, read_by
from .fused import ADAM_BETAS, AdamStructure, Address, Count, NetworkStructure, Single
from .hook_checks import checked_loss, checked_tensor
from .off_policy_hooks import OffPolicyHooks
from .off_policy_update import Networks, Noise, OffPolicyUpdate
from .replay import Transitions

SOURCE = Path(__file__).with_suffix(".cpp")
MOST_AXES = 2  # of what heads read


class Slot(enum.IntEnum):
    """What heads read, as in fused_off_policy.cpp: the batch and its noise, and what networks and heads have made."""

    NUMBERS, OBSERVATIONS, ACTIONS, REWARDS, NEXT_OBSERVATIONS, TERMINATED, NEXT_NOISE, NOISE = range(8)
    POLICY_ACTIONS, LOG_PROBS, NEXT_VALUES, VALUES = range(8, 12)


OF_BATCH = tuple(Slot(i) for i in range(Slot.OBSERVATIONS, Slot.TERMINATED + 1))  # in the order of Transitions
Tensors: TypeAlias = Mapping[Slot, Tensor]
Head: TypeAlias = Callable[[OffPolicyHooks, Tensors], tuple[Tensor, ...]]


class _Tensor(ctypes.Structure):
    """`Tensor` in fused_off_policy.cpp."""

    _fields_ = [("data", Address), ("dimensions", Count), ("sizes", Count * MOST_AXES)]


class _Call(ctypes.Structure):
    """`Call` in fused_off_policy.cpp."""

    _fields_ = [
        ("head", Address),
        ("container", Address),
        ("input_count", Count),
        ("inputs", Count * len(Slot)),
        ("output_count", Count),
    ]


class _Step(ctypes.Structure):
    """`Step` in fused_off_policy.cpp."""

    _fields_ = [
        *((n, Count) for n in ("rows", "observation_size", "action_size", "critic_count", "stochastic")),
        *((n, Address) for n in ("policy", "critics", "target_critics", "target_policy", "tensors", "calls")),
        *((n, Single) for n in ("tau", "smallest_log_std", "largest_log_std")),
        ("adam", AdamStructure),
    ]


class FusedOffPolicyUpdate(OffPolicyUpdate):
    """As OffPolicyUpdate, in one call of machine code for each gradient step.

    The first step compiles. Where compiling is impossible, a warning gives the reason, once, and the steps are Torch's.
    """

    def __init__(self, networks: Networks) -> None:
        super().__init__(networks)
        self._code: _Code | None = None
        self._tried = False

    @property
    def compiled(self) -> bool:
        """Whether there is machine code."""
        return self._code is not None

    def step(
        self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise, *, moves_policy: bool
    ) -> dict[str, float]:
        """As OffPolicyUpdate.step."""
        if not self._tried:
            self._compile(algorithm, batch, noise)
        if self._code is None or len(batch.rewards) != self._code.rows:
            return super().step(algorithm, batch, noise, moves_policy=moves_policy)
        return self._code.run(algorithm, batch, noise, moves_policy=moves_policy)

    def _compile(self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise) -> None:
        began = time.perf_counter()
        self._tried = True
        log = logging.getLogger(__name__)
        try:
            library = cpp(SOURCE)
            try:
                self._code = _Code(library, self.networks, algorithm, batch, noise, general=True)
            except Exception as error:  # of any kind: the author of the algorithm wrote for numbers, not for tensors
                if algorithm.overrides("after_update"):
                    reason = f"after_update changes numbers that the machine code cannot take as inputs: {error}"
                    raise CannotCompile(reason) from error
                log.info("gradient steps: compiled for these settings alone: %s", error)
                self._code = _Code(library, self.networks, algorithm, batch, noise, general=False)
        except CannotCompile as error:
            log.warning("gradient steps: not compiled, and slower for it: %s", error)
        self.seconds += time.perf_counter() - began


def target_actions(algorithm: OffPolicyHooks, tensors: Tensors) -> tuple[Tensor, ...]:
    """The actions a' [B, A] at which targets are computed."""
    noise, batch = tensors[Slot.NEXT_NOISE], _batch(tensors)
    actions = algorithm.target_actions(tensors[Slot.POLICY_ACTIONS], noise, batch)
    return (checked_tensor(actions, algorithm, "target_actions", batch.actions.shape).contiguous(),)


def critic_loss(algorithm: OffPolicyHooks, tensors: Tensors) -> tuple[Tensor, ...]:
    """The scalars to record, and ∂loss/∂values [C, B]."""
    batch = _batch(tensors)
    targets = algorithm.targets(batch, tensors[Slot.NEXT_VALUES], tensors[Slot.LOG_PROBS])
    checked_tensor(targets, algorithm, "targets", batch.rewards.shape)
    values = tensors[Slot.VALUES].detach().requires_grad_()
    loss = checked_loss(algorithm.critic_loss(values, targets, batch), algorithm, "critic_loss", "values", values)
    (slopes,) = torch.autograd.grad(loss, values)
    return torch.stack([loss.detach().float(), values.detach().mean()]), slopes.contiguous()


def policy_loss(algorithm: OffPolicyHooks, tensors: Tensors) -> tuple[Tensor, ...]:
    """The scalars to record, ∂loss/∂values [C, B] and ∂loss/∂log π [B]."""
    a, batch = algorithm, _batch(tensors)
    values, log_probs = (tensors[slot].detach().requires_grad_() for slot in (Slot.VALUES, Slot.LOG_PROBS))
    loss = checked_loss(a.policy_loss(values, log_probs, batch), a, "policy_loss", "values", values)
    slopes = torch.autograd.grad(loss, [values, log_probs], allow_unused=True, materialize_grads=True)
    scalars = [loss.detach().float(), -log_probs.detach().mean()]
    return torch.stack(scalars[: 1 + a.stochastic]), *(x.contiguous() for x in slopes)


HEADS: tuple[Head, ...] = (target_actions, critic_loss, policy_loss)  # as `Part` in fused_off_policy.cpp


def _batch(tensors: Tensors) -> Transitions:
    return Transitions(*(tensors[slot] for slot in OF_BATCH))


class _Code:
    """The machine code of a gradient step on batches of `rows` transitions, ready to be called."""

    def __init__(
        self,
        library: ctypes.CDLL,
        networks: Networks,
        algorithm: OffPolicyHooks,
        batch: Transitions,
        noise: Noise,
        *,
        general: bool,  # whether the algorithm's floats are inputs
    ) -> None:
        self._algorithm: OffPolicyHooks | None = None  # whose numbers `_numbers` are
        self._numbers, self._general, self._stochastic = torch.empty(0), general, algorithm.stochastic
        self.rows, count = len(batch.rewards), algorithm.critic_count
        values, log_probs = torch.zeros(count, self.rows), torch.zeros(self.rows)
        given = [algorithm.numbers(), *batch, *noise, batch.actions, log_probs, values, values]
        found = {slot: x.contiguous() for slot, x in zip(Slot, given, strict=True) if x is not None}
        self._tensors, self._calls = (_Tensor * len(Slot))(), (_Call * len(HEADS))()
        for slot, x in found.items():
            structure = self._tensors[slot]
            structure.dimensions = x.ndim
            structure.sizes[: x.ndim] = x.shape
        self._code = [
            self._compiled(call, head, algorithm, found)
            for call, head in zip(self._calls, HEADS, strict=True)
            if head is not target_actions or algorithm.overrides("target_actions")
        ]
        self._networks = [networks.of_policy, *networks.of_critics, *networks.of_targets]
        self._structures = (NetworkStructure * len(self._networks))()
        for structure, network in zip(self._structures, self._networks, strict=True):
            structure.describe(network)
        self._learning = list(zip(self._structures, self._networks, strict=True))[: 1 + count]
        self._records = np.zeros(4, np.float32)
        of_critics, of_targets = 1, 1 + count
        self._step = _Step(
            rows=self.rows,
            observation_size=batch.observations.shape[1],
            action_size=batch.actions.shape[1],
            critic_count=count,
            stochastic=algorithm.stochastic,
            policy=self._at(0),
            critics=self._at(of_critics),
            target_critics=self._at(of_targets),
            target_policy=None if networks.target_policy is None else self._at(of_targets + count),
            tensors=ctypes.addressof(self._tensors),
            calls=ctypes.addressof(self._calls),
            smallest_log_std=SMALLEST_LOG_STD,
            largest_log_std=LARGEST_LOG_STD,
            adam=AdamStructure(*ADAM_BETAS),
        )
        self._call = library.pgl_off_policy_step
        self._call.restype, self._call.argtypes = Count, [Address, Count, Address]

    def _at(self, index: int) -> int:
        return ctypes.addressof(self._structures[index])

    def _compiled(self, call: _Call, head: Head, algorithm: OffPolicyHooks, found: Tensors) -> MachineCode:
        """The code of a head, of which `call` is told; it takes the tensors that the head reads."""
        slots = [slot for slot in found if self._general or slot != Slot.NUMBERS]

        def of(read: list[Slot]) -> Function:
            def function(*tensors: Tensor) -> tuple[Tensor, ...]:
                given = dict(zip(read, tensors, strict=True))
                a = algorithm.with_numbers(given[Slot.NUMBERS]) if Slot.NUMBERS in given else algorithm
                return head(a, {**found, **given})

            return function

        inputs = [found[slot] for slot in slots]
        is_read = read_by(of(slots), inputs)
        read = [slot for slot, reads in zip(slots, is_read, strict=True) if reads]
        inputs = [found[slot] for slot in read]
        code = ahead_of_time(of(read), inputs)
        call.head, call.container, call.input_count = code.run, code.container, len(read)
        call.inputs[: len(read)] = read
        call.output_count = len(of(read)(*inputs))
        return code

    def run(
        self, algorithm: OffPolicyHooks, batch: Transitions, noise: Noise, *, moves_policy: bool
    ) -> dict[str, float]:
        """As OffPolicyUpdate.step."""
        step, tensors = self._step, self._tensors
        if algorithm is not self._algorithm:
            self._algorithm, self._numbers = algorithm, algorithm.numbers()
            tensors[Slot.NUMBERS].data = self._numbers.data_ptr()
            step.tau, step.adam.epsilon = algorithm.tau, algorithm.adam_epsilon
        for structure, network in self._learning:
            structure.learning_rate = float(network.learning_rate)
        held = [x if x is None else x.contiguous() for x in (*batch, *noise)]
        for slot, x in enumerate(held, Slot.OBSERVATIONS):
            if x is not None:
                tensors[slot].data = x.data_ptr()
        records = self._records
        if failed := self._call(ctypes.byref(step), moves_policy, records.ctypes.data):
            raise RuntimeError(f"the machine code of a gradient step failed in its part {failed}")
        critic_loss, value_mean, policy_loss, entropy = records.tolist()
        record = {"critic_loss": critic_loss, "value_mean": value_mean}
        if moves_policy:
            record["policy_loss"] = policy_loss
            if self._stochastic:
                record["entropy"] = entropy
        return record
