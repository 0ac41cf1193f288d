"""Machine code, of functions of tensors and of C++ files: compiled once, kept on disk, shared by all processes.

The file of a function's machine code is named after the operations of the function, which are recorded while the
function runs once. So a changed algorithm, setting or shape never gets machine code that was compiled for another one.
Where the file exists, the compiler is not loaded; its import alone takes a second. A function must be pure: a value
that it does not get from its tensors stays as it was when the operations were recorded.
"""

import ctypes
import hashlib
import inspect
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
Rows: TypeAlias = Sequence[bool] | None  # of each input, whether its first axis is of a batch's steps; None: of none
MOVED = 0.1  # deviation of what is added to a batch's tensors before the numbers of its code are checked
DIFFERS = 0.01  # relative to a number and to the largest beside it; rounding is far below
# With as many gradient steps, in all runs that share the compiled code, compiling saves time: it takes about ten
# seconds once for all of these runs, and a gradient step is then a millisecond faster.
STEPS_THAT_REPAY_COMPILING = 10_000
SMALLEST_SIZE = 11  # of batches for which operations are recorded; a size of 2 or more is as good as any


COMPILE = ("auto", "always", "never")  # auto: only where runs are long enough to save time by it


def check_compile(value: object) -> None:
    """Raise ValueError, which names the valid ones, for another value of the argument `compile`."""
    if value not in COMPILE:
        raise ValueError(f"compile must be {', '.join(COMPILE[:-1])} or {COMPILE[-1]}, not {value!r}")


class CannotCompile(RuntimeError):
    """Raised where a function cannot be compiled; the message gives the reason as part of a sentence."""


class DependsOnSize(CannotCompile):
    """Raised where a function can be compiled only for batches of one size, because it computes with the size."""


class MachineCode(NamedTuple):
    """A function of tensors as machine code: what Torch's AOTInductorModelContainerRunSingleThreaded is called with."""

    library: ctypes.CDLL
    container: ctypes.c_void_p

    @property
    def run(self) -> int:
        """The address of the function that runs the code in a container."""
        return ctypes.cast(self.library.AOTInductorModelContainerRunSingleThreaded, ctypes.c_void_p).value or 0


def ahead_of_time(function: Function, inputs: Sequence[Tensor], rows: Rows = None) -> MachineCode:
    """`function` as machine code, for tensors of the shapes and types of `inputs`.

    `function` may read its tensors and returns tensors. With `rows`, which says for each input whether its first axis
    is of the steps of a batch, the code is for batches of any size from 2. `function` is run on copies of `inputs`.
    Raises DependsOnSize where the function's operations are others for another size, and CannotCompile where there is
    no compiler, where compiling fails, where the code cannot be kept on disk, where the function's operations depend on
    the numbers in the tensors, and where the code does not return what the function returns.
    """
    name = fingerprint(function, inputs, rows)
    refusal = _cache() / f"{name}.txt"  # so that the compiler is not loaded again only to refuse again

    def make(folder: Path) -> Path:
        try:
            package = compile_to(folder / f"{name}.pt2", function, inputs, rows)
        except DependsOnSize as error:
            refusal.write_text(str(error), encoding="utf-8")
            raise
        check_numbers(package, function, inputs, rows)
        return package

    if refusal.exists():
        raise DependsOnSize(refusal.read_text(encoding="utf-8"))
    library = kept(f"{name}.pt2", make)
    container = ctypes.c_void_p()
    if library.AOTInductorModelContainerCreateWithDevice(ctypes.byref(container), 1, b"cpu", None):
        raise CannotCompile("the compiled code cannot be made ready to run")
    return MachineCode(library, container)


def cpp(source: Path) -> ctypes.CDLL:
    """The functions of a C++ file that calls Torch's C interface, compiled for this processor.

    It may include the headers (.hpp) of its folder; when one of them changes, it is compiled again. Raises
    CannotCompile as `ahead_of_time` does.
    """
    torch_at = Path(torch.__file__).parent
    options = ["-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC"]
    linked = [f"-I{torch_at / 'include'}", f"-L{torch_at / 'lib'}", "-ltorch_cpu"]
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.hpp")))]
    name = _digest([*_machine(), *options, *texts])

    def make(folder: Path) -> Path:
        _check_compiler()
        library, package = folder / f"{source.stem}.so", folder / f"{name}.zip"
        command = [cpp_compiler(), *options, str(source), *linked, "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
            raise CannotCompile(f"the C++ compiler ({cpp_compiler()}) fails on {source.name}: {said}")
        with zipfile.ZipFile(package, "w") as archive:
            archive.write(library, library.name)
        return package

    return kept(f"{name}.zip", make)


def kept(name: str, make: Callable[[Path], Path]) -> ctypes.CDLL:
    """The shared library in the package `name` of the cache, a zip file.

    `make(folder)` makes the package in a folder and returns its path; it is called where there is none, or where it is
    damaged. Raises CannotCompile where it can be neither found nor kept.
    """
    package = _cache() / name
    try:
        if (loaded := load(package)) is not None:
            return loaded
        package.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(package.with_suffix(".lock")):  # one process compiles, the others wait for it
            if (loaded := load(package)) is None:
                with tempfile.TemporaryDirectory(dir=package.parent) as folder:
                    os.replace(make(Path(folder)), package)
                loaded = load(package)
    except OSError as error:
        raise CannotCompile(f"compiled code cannot be kept in {package.parent}: {error.strerror}") from error
    if loaded is None:
        raise CannotCompile(
            f"{package} cannot be loaded although it was just compiled; check the free space of {tempfile.gettempdir()}"
        )
    return loaded


def load(package: Path) -> ctypes.CDLL | None:
    """The shared library in `package`, or None where there is no package, or a damaged one."""
    if not package.exists():
        return None
    try:
        with zipfile.ZipFile(package) as archive, tempfile.TemporaryDirectory() as folder:
            (member,) = (name for name in archive.namelist() if name.endswith(".so"))
            return ctypes.CDLL(archive.extract(member, folder))  # which has read the file when it returns
    except (zipfile.BadZipFile, ValueError, OSError):
        return None


def fingerprint(function: Function, inputs: Sequence[Tensor], rows: Rows = None) -> str:
    """The name of the machine code of `function`: a hexadecimal digest.

    The digest covers the function's operations on tensors like `inputs`, the compiler's options, the version of Torch,
    the number of threads and the processor. With `rows`, the operations are those for batches of two sizes.
    """
    lines = [*_machine(), inspect.getsource(compile_to)]
    for size in (None,) if rows is None else sizes_for(inputs, rows):
        copies = [x.clone() for x in resized(inputs, rows, size)]
        with Operations(copies) as operations:
            operations.returns(function(*copies))
        lines += operations.lines
    return _digest(lines)


def read_by(function: Function, inputs: Sequence[Tensor]) -> list[bool]:
    """Whether `function` reads each of its inputs. Raises CannotCompile as `ahead_of_time` does."""
    copies = [x.clone() for x in inputs]
    with Operations(copies) as operations:
        operations.returns(function(*copies))
    return list(operations.inputs_read())


def check_numbers(package: Path, function: Function, inputs: Sequence[Tensor], rows: Rows) -> None:
    """Raise CannotCompile where the code in a package does not return what `function` does.

    What has steps is moved a little, because a gradient that is 0 at first shows nothing.
    """
    generator = torch.Generator().manual_seed(0)
    size = None if rows is None else sizes_for(inputs, rows)[0]
    given = [
        x + MOVED * torch.randn(x.shape, generator=generator) if has and x.is_floating_point() else x.clone()
        for x, has in zip(resized(inputs, rows, size), rows or [False] * len(inputs), strict=True)
    ]
    expected = function(*(x.clone() for x in given))
    loader = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    for ours, theirs in zip(loader.boxed_run(given), expected, strict=True):
        largest = float(theirs[theirs.isfinite()].abs().max()) if theirs.isfinite().any() else 0.0
        if not torch.allclose(ours, theirs, rtol=DIFFERS, atol=DIFFERS * largest, equal_nan=True):
            raise CannotCompile("Torch compiles it into code that returns other numbers")


def put_where(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """A number put where a mask is True. Twice in a row, Torch 2.13 compiles it wrongly: the KL of masked categoricals
    had gradients of 0 in some rows.
    """
    mask = indices[0]
    if accumulate or len(indices) > 1 or mask is None or mask.dtype != torch.bool or values.ndim:
        return NotImplemented  # type: ignore[no-any-return]  # it stays as it is
    return torch.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), values, x)


def sizes_for(inputs: Sequence[Tensor], rows: Sequence[bool]) -> tuple[int, int]:
    """Two sizes of batches that no other axis of an input has: Torch takes axes of one length for one axis."""
    taken = {length for x, has in zip(inputs, rows, strict=True) for length in x.shape[1 if has else 0 :]}
    first, second = itertools.islice((n for n in itertools.count(SMALLEST_SIZE, 2) if n not in taken), 2)
    return first, second


def resized(inputs: Sequence[Tensor], rows: Rows, size: int | None) -> list[Tensor]:
    """The inputs with `size` steps in those of which `rows` says that they have steps: their own again and again."""
    if rows is None or size is None:
        return list(inputs)
    return [x[torch.arange(size) % len(x)] if has else x for x, has in zip(inputs, rows, strict=True)]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records each Torch operation that is run: its name, its constants, and which tensors it read and made.

    Raises CannotCompile at an operation that machine code could not repeat for other numbers.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen: list[Tensor] = []  # held, so that no later tensor takes the memory of an earlier one
        self._names: dict[tuple[Any, ...], str] = {}
        self._read: set[str] = set()
        self.lines = [self._describe(x, constant=False) for x in inputs]
        self._inputs = list(self.lines)

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

    def returns(self, results: Iterable[Tensor]) -> None:
        """Record which tensors the function returned."""
        self.lines += [self._describe(result, constant=True) for result in results]

    def inputs_read(self) -> list[bool]:
        """Whether an operation has read each of the inputs, or the function has returned it."""
        return [name in self._read for name in self._inputs]

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
        if constant:
            self._read.add(self._names[key])
        return self._names[key]


def depends_on_numbers(operation: torch._ops.OpOverload, args: Sequence[Any]) -> bool:
    """Whether the numbers in a tensor decide what runs after the operation, or the shape of its result.

    An example of the first is `if` with a tensor, of the second an index with a mask.
    """
    if operation is torch.ops.aten.index.Tensor:
        return any(x.dtype == torch.bool for x in args[1] if x is not None)
    return torch.Tag.data_dependent_output in operation.tags or torch.Tag.dynamic_output_shape in operation.tags


def compile_to(package: Path, function: Function, inputs: Sequence[Tensor], rows: Rows = None) -> Path:
    """Write the machine code of `function` to `package`, and return its path; `rows` is as in `ahead_of_time`."""
    _check_compiler()
    from torch.fx.experimental.proxy_tensor import make_fx

    size = None if rows is None else sizes_for(inputs, rows)[0]
    copies = tuple(x.clone() for x in resized(inputs, rows, size))
    steps = torch.export.Dim("steps", min=2)
    shapes = None if rows is None else tuple({0: steps} if has else {} for has in rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Torch's own, about itself
        try:
            mode: Literal["fake", "symbolic"] = "fake" if rows is None else "symbolic"
            table = {torch.ops.aten.index_put.default: put_where}
            trace = make_fx(lambda *x: function(*x), table, mode, _allow_non_fake_inputs=True)(*copies)
            for node, has in zip(trace.graph.find_nodes(op="placeholder"), rows or (), strict=False):
                if has and isinstance(node.meta["val"].shape[0].node.maybe_as_int(), int):
                    raise DependsOnSize("it computes with the batch's size as a number of Python, by `len`, say")
            program = torch.export.export(trace, copies, dynamic_shapes=shapes)
        except DependsOnSize:
            raise
        except Exception as error:  # whatever an algorithm's author wrote
            reason = CannotCompile if rows is None else DependsOnSize
            raise reason(f"{type(error).__name__}: {_first_line(error)}") from error
        try:
            # The least optimised wrapper compiles in half the time and runs as fast; the loops are in another file.
            options = {"aot_inductor.compile_wrapper_opt_level": "O0"}
            torch._inductor.aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)
        except Exception as error:  # whatever is amiss with the compiler
            raise CannotCompile(f"{type(error).__name__}: {_first_line(error)}") from error
    return package


def _first_line(error: Exception) -> str:
    return str(error).strip().partition(os.linesep)[0]


def _check_compiler() -> None:
    """Raise CannotCompile where there is no C++ compiler."""
    if not shutil.which(cpp_compiler()):
        raise CannotCompile(f"there is no C++ compiler ({cpp_compiler()})")


def _cache() -> Path:
    """The folder of the code that was compiled by this user."""
    return user_cache_path("policy-gradient-ladder")


def cpp_compiler() -> str:
    """The command of the C++ compiler that Torch uses."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def _digest(lines: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(str, lines)).encode()).hexdigest()


def _machine() -> list[object]:
    """On what machine code depends beside its source."""
    return [torch.__version__, torch.get_num_threads(), platform.machine(), _processor()]


def _processor() -> str:
    """The processor's model and instruction sets, on which machine code depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
