"""Functions of tensors as machine code: compiled ahead of time, kept on disk, shared by all processes that need them.

The file of the machine code is named after the operations of the function, which are recorded while the function runs
once. So a changed algorithm, setting or shape never gets machine code that was compiled for another one. Where the file
exists, the compiler is not loaded; its import alone takes a second. A function must be pure: a value that it does not
get from its tensors stays as it was when the operations were recorded.
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
    """Raised where a function cannot be compiled; the message gives the reason as part of a sentence."""


class MachineCode:
    """A function of tensors that runs as machine code on batches of one size.

    - `name`: what a warning calls the function
    - `function`: takes tensors and returns one tensor
    - `size`: the batch size; None: nothing is compiled
    - `general`: the same function with some of its constants as a first argument, the tensor `numbers` [K]
    - `numbers_change`: whether `set_numbers` may be called

    The first batch of `size` compiles the function. On batches of another size, and where compiling is impossible (a
    warning gives the reason), the function runs operation by operation.

    `general` is compiled rather than `function`, because the code of `general` serves all values of the constants. If
    `general` cannot be compiled, `function` is compiled with the present values of its constants. But where
    `numbers_change`, that code would be wrong after a change, so nothing is compiled.
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
        self.seconds = 0.0  # spent on compiling, or on loading code that was compiled before
        self._code: Callable[..., Tensor] | None = None
        self._inputs = 0  # how many tensors the code takes

    @property
    def compiled(self) -> bool:
        """Whether batches of `size` run as machine code."""
        return self._code is not None

    def __call__(self, size: int, *tensors: Tensor) -> Tensor:
        """The function's result for contiguous `tensors`, which hold a batch of `size` steps."""
        if size == self.size and len(tensors) != self._inputs:  # the first time, and when a task begins to mask actions
            self._compile(tensors)
        code = self._code if size == self.size else None
        return self.function(*tensors) if code is None else code(*tensors)

    def set_numbers(self, numbers: Tensor) -> None:
        """Use other numbers [K] from now on; the machine code stays the same."""
        assert self.numbers is not None
        self.numbers.copy_(numbers)

    def _compile(self, tensors: Sequence[Tensor]) -> None:
        """Compile the function for tensors like these; where that is impossible, warn and never try again."""
        began = time.perf_counter()
        try:
            self._code = self._general_code(tensors) or ahead_of_time(self.function, tensors)
            self._inputs = len(tensors)
        except CannotCompile as error:
            logging.getLogger(__name__).warning("%s: not compiled, and slower for it: %s", self.name, error)
            self._code, self.size = None, None
        self.seconds += time.perf_counter() - began

    def _general_code(self, tensors: Sequence[Tensor]) -> Callable[..., Tensor] | None:
        """The machine code of `general` for tensors like these, or None where `function` is to be compiled instead.

        Raises CannotCompile where `general` cannot be compiled and the numbers change.
        """
        if self.general is None or self.numbers is None:
            return None
        try:
            return partial(ahead_of_time(self.general, [self.numbers, *tensors]), self.numbers)
        except Exception as error:  # of any kind: the author of the algorithm wrote for numbers, not for tensors
            if self.numbers_change:
                reason = f"after_update changes numbers that the machine code cannot take as inputs: {error}"
                raise CannotCompile(reason) from error
            logging.getLogger(__name__).info("%s: compiled for these settings alone: %s", self.name, error)
            return None


def ahead_of_time(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[..., Tensor]:
    """`function` as machine code, for tensors of the shapes and types of `inputs`.

    `function` may read and change its tensors, and returns one tensor. It is run once on copies of `inputs`. Raises
    CannotCompile where there is no compiler, where compiling fails, where the code cannot be kept on disk, and where
    the function's operations depend on the numbers in the tensors.
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
        raise CannotCompile(
            f"{package} cannot be loaded although it was just compiled; check the free space of {tempfile.gettempdir()}"
        )
    return lambda *tensors: loaded.boxed_run(list(tensors))[0]


def load(package: Path) -> torch._C._aoti.AOTIModelPackageLoader | None:
    """The machine code in the file `package`, ready to run, or None where the file is damaged.

    `torch._inductor.aoti_load_package` would return this object in a wrapper, but takes a second to import.
    """
    try:
        return torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    except RuntimeError:
        return None


def fingerprint(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> str:
    """The name of the machine code of `function`: a hexadecimal digest.

    The digest covers the function's operations on tensors like `inputs`, the compiler's options, the version of Torch,
    the number of threads and the processor.
    """
    copies = [x.clone() for x in inputs]
    with Operations(copies) as operations:
        operations.returns(function(*copies))
    machine = [torch.__version__, torch.get_num_threads(), platform.machine(), _processor()]
    how = inspect.getsource(compile_to)
    return hashlib.sha256("\n".join(map(str, [*machine, how, *operations.lines])).encode()).hexdigest()


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records each Torch operation that is run: its name, its constants, and which tensors it read and made.

    Raises CannotCompile at an operation that machine code could not repeat for other numbers.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen: list[Tensor] = []  # held, so that no later tensor takes the memory of an earlier one
        self._names: dict[tuple[Any, ...], str] = {}
        self.lines = [self._describe(x, constant=False) for x in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise Torch imports its compiler, only to exclude the next method from compiling

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if depends_on_numbers(operation, args):
            raise CannotCompile(f"what runs after {operation} depends on the numbers in a tensor")
        if torch.Tag.nondeterministic_seeded in operation.tags:
            raise CannotCompile(f"{operation} draws random numbers, and machine code would draw others")
        arguments = tree_map(lambda x: self._describe(x, constant=True), (args, sorted((kwargs or {}).items())))
        result = operation(*args, **(kwargs or {}))
        results = tree_map(lambda x: self._describe(x, constant=False), result)
        self.lines.append(f"{operation} {arguments} {results}")
        return result

    def returns(self, result: Tensor) -> None:
        """Record which tensor the function returned."""
        self.lines.append(self._describe(result, constant=True))

    def _describe(self, x: object, constant: bool) -> str:
        """A tensor as its number, type, shape and strides; anything else as its `repr`.

        With `constant`, a tensor that was not seen before is a constant of the function, so its content is added.
        """
        if not isinstance(x, Tensor):
            return repr(x)
        key = (x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride(), x.dtype)
        if key not in self._names:
            self._seen.append(x)
            content = hashlib.sha256(x.detach().contiguous().numpy().tobytes()).hexdigest() if constant else ""
            self._names[key] = f"{len(self._names)}:{x.dtype}{tuple(x.shape)}{x.stride()}{content}"
        return self._names[key]


def depends_on_numbers(operation: torch._ops.OpOverload, args: Sequence[Any]) -> bool:
    """Whether the numbers in a tensor decide what runs after the operation, or the shape of its result.

    An example of the first is `if` with a tensor, of the second an index with a mask.
    """
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
    """The command of the C++ compiler that Torch uses."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def _processor() -> str:
    """The processor's model and instruction sets, on which machine code depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
