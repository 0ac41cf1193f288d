"""Which files a module runs, found by the imports in it; and what a task's environment is made of."""

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from modulefinder import Module, ModuleFinder
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import gymnasium
from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id

import policy_gradient_ladder
from policy_gradient_ladder.core.checkout import ALGORITHMS, PACKAGE, short_name

from .schema import DIGITS

ROOT = Path(__file__).resolve().parent.parent  # of the project
PROJECT = ("algorithms", "analysis", "experiments")  # folders of its modules, below ROOT
STUB = ".pyi"  # the ending of what says names and types alone
OFFERED = {  # by `policy_gradient_ladder` itself: name → module
    name.name: node.module
    for node in ast.parse(Path(policy_gradient_ladder.__file__).with_suffix(STUB).read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for name in node.names
}
NAMES = f"{ALGORITHMS}.core.checkout"  # says by which names modules are imported; no number depends on it
PY_SOURCE, PACKAGE_DIRECTORY = 1, 5  # what ModuleFinder calls a module's file and a folder of modules


class SourceFinder(ModuleFinder):
    """Python's ModuleFinder for sources, each of which is compiled once for all finders of this process. It also takes
    a file with a syntax error and a package without `__init__.py`.
    """

    def import_hook(self, name: str, caller: Any = None, fromlist: Any = None, level: int = -1) -> Any:
        """Imports a module by the name of its folder; what the package itself offers, from where that is."""
        name = short_name(name)
        for offered in set(fromlist or ()) & OFFERED.keys() if name == ALGORITHMS else ():
            super().import_hook(f"{ALGORITHMS}.{OFFERED[offered]}", caller, [offered])
        return super().import_hook(name, caller, fromlist, level)

    def find_module(self, name: str, path: Any, parent: Any = None) -> tuple:
        """Where a module lies, as ModuleFinder says it; raises ImportError where it is in none of the folders."""
        if (f"{parent.__name__}.{name}" if parent else name) in self.excludes:
            raise ImportError(name)
        for folder in path if path is not None else self.path:
            place = os.path.join(folder, name)
            if os.path.isfile(os.path.join(place, "__init__.py")):
                return None, place, ("", "", PACKAGE_DIRECTORY)
            if os.path.isfile(f"{place}.py"):
                return None, f"{place}.py", (".py", "rb", PY_SOURCE)
            if os.path.isdir(place):
                return None, place, ("", "", PACKAGE_DIRECTORY)
        raise ImportError(name)

    def load_package(self, fqname: str, pathname: str) -> Module:
        """The package, whose `__init__.py` may be missing."""
        if os.path.isfile(os.path.join(pathname, "__init__.py")):
            return super().load_package(fqname, pathname)
        package = self.add_module(fqname)
        package.__path__ = [pathname]
        return package

    def load_module(self, fqname: str, fp: Any, pathname: str, file_info: tuple) -> Module:
        """The module; of a file with a syntax error, its place alone."""
        if file_info[2] == PACKAGE_DIRECTORY:
            return super().load_module(fqname, fp, pathname, file_info)
        module = self.add_module(fqname)
        module.__file__ = pathname
        if code := compiled(pathname):
            self.scan_code(code, module)
        return module

    def scan_opcodes(self, co: CodeType) -> list[tuple]:
        """What a code object stores and imports."""
        return opcodes(co)


@functools.cache
def compiled(file: str) -> CodeType | None:
    """The code of a source; None where it has a syntax error."""
    try:
        return compile(Path(file).read_bytes(), file, "exec")
    except SyntaxError:
        return None


@functools.cache
def opcodes(code: CodeType) -> list[tuple]:
    """What a code object stores and imports, as ModuleFinder finds it."""
    return list(ModuleFinder.scan_opcodes(None, code))


def import_closure(
    file: str | Path, folders: tuple[Path, ...] = (ROOT,), without: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Every file under `folders` that the module in `file` imports, directly or not, and `file` itself.

    Imports inside functions count, and so does a file of another kind that has a module's name (`kernel.cpp` beside
    `kernel.py`), but no stub, and not what says by which names modules are imported. What is not in one of the folders,
    such as an installed package, does not count. The answer is kept for as long as this process lives.

    file: under the first of the folders, absolute or relative to it.
    folders: those that modules are looked for in.
    without: dotted names of modules that are neither listed nor looked into.
    Returns paths relative to the project, in alphabetical order; what lies elsewhere has its absolute path.
    Raises FileNotFoundError where there is no such file.
    """
    return imports_of(folders[0] / file, folders, without).files


class Imports(NamedTuple):
    """What modules import, directly or not."""

    files: tuple[str, ...]  # as `import_closure` returns them
    packages: tuple[str, ...]  # top-level names of what is neither in the folders nor of the standard library


def import_closure_of_all(files: Iterable[Path]) -> set[str]:
    """The closures of several files of the project in one; what they share is looked at once."""
    return set(_imports_of(tuple(files), (ROOT,), frozenset()).files)


def imports_of(path: Path, folders: tuple[Path, ...] = (ROOT,), without: frozenset[str] = frozenset()) -> Imports:
    """What the module in a file imports; the arguments are those of `import_closure`, but for the whole path."""
    return _imports_of((path,), folders, without)


@functools.cache
def _imports_of(paths: tuple[Path, ...], folders: tuple[Path, ...], without: frozenset[str]) -> Imports:
    finder = SourceFinder([str(folder) for folder in folders], excludes=sorted({*without, NAMES}))
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        name = path.relative_to(folders[0]).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        finder.import_hook(name)
    found = {Path(module.__file__) for module in finder.modules.values() if module.__file__}
    beside = {other for source in found for other in source.parent.glob(f"{source.stem}.*") if other.is_file()}
    beside = {other for other in beside if other.suffix != STUB}
    own = {PACKAGE, *(module.partition(".")[0] for module in (*finder.modules, *without))}
    packages = {module.partition(".")[0] for module in finder.badmodules} - own - sys.stdlib_module_names
    return Imports(tuple(sorted(map(shown, found | beside))), tuple(sorted(packages)))


def shown(file: Path) -> str:
    """A path relative to the project; absolute where it lies elsewhere."""
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def digest(file: str) -> str:
    """SHA-256 of the content of a file, named as in `import_closure`; one that is gone has no content."""
    path = ROOT / file
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def versions_of(distributions: Iterable[str]) -> dict[str, str]:
    """The installed versions of distributions, without those that are not installed."""
    return {name: version for name in distributions if (version := version_of(name)) is not None}


@functools.cache
def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class TaskCode:
    """What registered an environment and what it is made of."""

    modules: dict[str, dict[str, str]]  # not in an installed distribution → names of source files → where they lie
    versions: dict[str, str]  # of installed distributions

    @property
    def files(self) -> tuple[str, ...]:
        """Every source file, named as in `import_closure`."""
        return tuple(file for files in self.modules.values() for file in files.values())

    def record(self) -> dict[str, str | dict[str, str]]:
        """As it stands in records: distributions with their versions, modules with the digest of each of their files.

        A file's name is relative to the project, or to the folder that its module is found in: no machine is in it.
        """
        return self.versions | {
            module: {name: digest(file)[:DIGITS] for name, file in files.items()}
            for module, files in self.modules.items()
        }


@functools.cache
def task_code(task: str, *wrappers: str) -> TaskCode:
    """What a task's environment is made of: by its Gymnasium id, which must have been made once in this process.

    That is the module before the colon of `module:Id-v0`, the module of the environment's class, those of the wrappers
    that it was registered with, and those of further ones, `wrappers`. Where a module is of an installed distribution,
    the version stands for it; else its files do, by their imports.
    """
    named, _, environment = task.rpartition(":")
    spec = gymnasium.registry.get(environment)
    if spec is None:  # an id without a version
        namespace, name, _ = parse_env_id(environment)
        spec = gymnasium.spec(get_env_id(namespace, name, find_highest_version(namespace, name)))
    entries = [spec.entry_point, *(wrapper.entry_point for wrapper in spec.additional_wrappers)]
    code = code_of_modules([*([named] if named else []), *map(module_of, entries), *wrappers])
    return TaskCode(code.modules, versions_of(["gymnasium"]) | code.versions)


def code_of_modules(names: Iterable[str]) -> TaskCode:
    """What modules are made of: the version where one is of an installed distribution, else the files it imports."""
    modules: dict[str, dict[str, str]] = {}
    versions: dict[str, str] = {}
    for module in dict.fromkeys(names):
        file = Path(importlib.import_module(module).__file__)
        distribution = distribution_of(module, file)
        if distribution is not None:
            versions[distribution] = importlib.metadata.version(distribution)
        else:
            folder = file.parents[module.count(".") + (file.name == "__init__.py")]
            files = import_closure(file, tuple(dict.fromkeys((folder, ROOT))))
            modules[module] = {
                Path(file).relative_to(folder).as_posix() if Path(file).is_absolute() else file: file for file in files
            }
    return TaskCode(modules, versions)


def module_of(entry_point: Any) -> str:
    """The module of what Gymnasium calls to make an environment: text such as "module:Class", or a callable."""
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    return short_name(getattr(entry_point, "func", entry_point).__module__)  # of a functools.partial, what it calls


def distribution_of(module: str, file: Path) -> str | None:
    """The installed distribution that a module's file is of; None for a file of the user's or of this project."""
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    own = any(
        file.resolve().is_relative_to(ROOT / folder) for folder in PROJECT
    )  # .venv may lie in the project's folder
    if own or not any(file.is_relative_to(folder) for folder in installed):
        return None
    return distribution_with(module.partition(".")[0])


@functools.cache
def distribution_with(package: str) -> str | None:
    """The installed distribution that has a top-level package, or None."""
    if version_of(package) is not None:
        return package
    return next(iter(importlib.metadata.packages_distributions().get(package, [])), None)
