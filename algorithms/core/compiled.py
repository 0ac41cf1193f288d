"""Functions of tensors as machine code: compiled ahead of time, kept on disk, shared by all processes that need them.

What is compiled is known by the operations that it consists of. They are written down while the function runs once, so
that a changed algorithm, setting or shape does not meet code that was compiled for another; and where the code is there
already, the compiler, whose import alone takes a second, is never loaded. A function must be pure: what it takes from
elsewhere than its tensors is taken at that one time.
"""

import hashlib
import inspect
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class CannotCompile(RuntimeError):
    """Why a function could not be compiled, as half a sentence."""


class MachineCode:
    """A function of tensors that runs as machine code on batches of `size`, compiled at the first of them.

    On batches of another size, where `size` is None, and where it cannot be compiled (a warning gives the reason), the
    function runs operation by operation. `name` says what it is in that warning.

    `general(numbers, *tensors)` is the same function with some of its constants taken from a tensor. Its code serves
    all of their values, so it is what is compiled, unless it cannot be. Then the function itself is compiled, with its
    constants as they are; where `numbers_change` it is not, because it would be another function after a change.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Tensor],
        size: int | None,
        general: Callable[..., Tensor] | None = None,
        numbers: Tensor | None = None,
        numbers_change: bool = False,
    ) -> None:
        self.name, self.function, self.size = name, function, size
        self.general, self.numbers, self.numbers_change = general, numbers, numbers_change
        self.seconds = 0.0  # that compiling, or loading what was compiled before, took
        self._code: Callable[..., Tensor] | None = None
        self._inputs = 0

    @property
    def compiled(self) -> bool:
        """Whether there is machine code."""
        return self._code is not None

    def __call__(self, size: int, *tensors: Tensor) -> Tensor:
        """The function of `tensors`, contiguous, which hold a batch of `size`."""
        if size == self.size and len(tensors) != self._inputs:  # at first, and when a task begins to mask actions
            self._compile(tensors)
        code = self._code if size == self.size else None
        return self.function(*tensors) if code is None else code(*tensors)

    def set_numbers(self, numbers: Tensor) -> None:
        """Take other numbers [K] from now on; the machine code that is there serves them too."""
        assert self.numbers is not None
        self.numbers.copy_(numbers)

    def _compile(self, tensors: Sequence[Tensor]) -> None:
        began = time.perf_counter()
        try:
            self._code = self._general_code(tensors) or ahead_of_time(self.function, tensors)
            self._inputs = len(tensors)
        except CannotCompile as error:
            logging.getLogger(__name__).warning("%s: not compiled, and slower for it: %s", self.name, error)
            self._code, self.size = None, None
        self.seconds += time.perf_counter() - began

    def _general_code(self, tensors: Sequence[Tensor]) -> Callable[..., Tensor] | None:
        if self.general is None or self.numbers is None:
            return None
        try:
            return partial(ahead_of_time(self.general, [self.numbers, *tensors]), self.numbers)
        except Exception as error:  # whatever can be done with a number and not with a tensor
            if self.numbers_change:
                raise CannotCompile(f"after_update changes numbers that are no inputs of the code: {error}") from error
            logging.getLogger(__name__).info("%s: compiled for these settings alone: %s", self.name, error)
            return None


def ahead_of_time(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[..., Tensor]:
    """`function` as machine code, for tensors of the shapes and types of `inputs`.

    `function` may read and change the tensors that it is given and returns one tensor. It is run once on copies of
    `inputs`. Raises CannotCompile, also where the function's operations depend on the numbers in the tensors.
    """
    package = user_cache_path("policy-gradient-ladder") / f"{fingerprint(function, inputs)}.pt2"
    try:
        package.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(package.with_suffix(".lock")):  # one process compiles, the others wait for it
            loaded = load(package) if package.exists() else None
            if loaded is None:
                compile_to(package, function, inputs)
                loaded = load(package)
    except OSError as error:
        raise CannotCompile(f"compiled code cannot be kept in {package.parent}: {error.strerror}") from error
    if loaded is None:
        raise CannotCompile(f"{package} was just made and cannot be loaded; is there room in {tempfile.gettempdir()}?")
    return lambda *tensors: loaded.boxed_run(list(tensors))[0]


def load(package: Path) -> torch._C._aoti.AOTIModelPackageLoader | None:
    """The machine code, ready to run, or None where the file is damaged.

    `torch._inductor.aoti_load_package` returns this object in a wrapper, and takes a second to import.
    """
    try:
        return torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    except RuntimeError:
        return None


def fingerprint(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> str:
    """Names the machine code of `function`: a digest of its operations and of what turns them into machine code."""
    copies = [x.clone() for x in inputs]
    with Operations(copies) as operations:
        operations.returns(function(*copies))
    machine = [torch.__version__, torch.get_num_threads(), platform.machine(), _processor()]
    how = inspect.getsource(compile_to)
    return hashlib.sha256("\n".join(map(str, [*machine, how, *operations.lines])).encode()).hexdigest()


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down each Torch operation that is run: its name, its constants, and which tensors it read and made."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen: list[Tensor] = []  # held, so that no later tensor takes the memory of an earlier one
        self._names: dict[tuple[Any, ...], str] = {}
        self.lines = [self._describe(x, constant=False) for x in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or else Torch imports its compiler to keep it away from the next method

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if depends_on_numbers(operation, args):
            raise CannotCompile(f"what {operation} gives, and so what follows, depends on the numbers in a tensor")
        if torch.Tag.nondeterministic_seeded in operation.tags:
            raise CannotCompile(f"{operation} draws random numbers, which would not be those of the other path")
        arguments = tree_map(lambda x: self._describe(x, constant=True), (args, sorted((kwargs or {}).items())))
        result = operation(*args, **(kwargs or {}))
        results = tree_map(lambda x: self._describe(x, constant=False), result)
        self.lines.append(f"{operation} {arguments} {results}")
        return result

    def returns(self, result: Tensor) -> None:
        """Write down which tensor the function returned."""
        self.lines.append(self._describe(result, constant=True))

    def _describe(self, x: object, constant: bool) -> str:
        """A tensor by its number, type and shape (and its content, if it is from outside); anything else as it is."""
        if not isinstance(x, Tensor):
            return repr(x)
        key = (x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride(), x.dtype)
        if key not in self._names:
            self._seen.append(x)
            content = hashlib.sha256(x.detach().contiguous().numpy().tobytes()).hexdigest() if constant else ""
            self._names[key] = f"{len(self._names)}:{x.dtype}{tuple(x.shape)}{x.stride()}{content}"
        return self._names[key]


def depends_on_numbers(operation: torch._ops.OpOverload, args: Sequence[Any]) -> bool:
    """Whether an operation leads out of Torch (a test of a tensor, say) or its result's shape is not known before."""
    if operation is torch.ops.aten.index.Tensor:
        return any(x.dtype == torch.bool for x in args[1] if x is not None)
    return torch.Tag.data_dependent_output in operation.tags or torch.Tag.dynamic_output_shape in operation.tags


def compile_to(package: Path, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    """Write the machine code of `function`, whole or not at all."""
    if not shutil.which(cpp_compiler()):
        raise CannotCompile(f"there is no C++ compiler ({cpp_compiler()})")
    from torch.fx.experimental.proxy_tensor import make_fx

    with tempfile.TemporaryDirectory(dir=package.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Torch's own, about itself
        try:
            copies = tuple(x.clone() for x in inputs)
            trace = make_fx(lambda *x: function(*x), tracing_mode="fake", _allow_non_fake_inputs=True)
            program = torch.export.export(trace(*copies), copies)
            unfinished = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/{package.name}")
        except Exception as error:  # whatever an algorithm's author wrote, and whatever is amiss with the compiler
            raise CannotCompile(f"{type(error).__name__}: {str(error).strip().partition(os.linesep)[0]}") from error
        os.replace(unfinished, package)


def cpp_compiler() -> str:
    """The command that Torch compiles with."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def _processor() -> str:
    """What machine code depends on: the processor's model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
