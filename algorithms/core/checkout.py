"""One import name, `policy_gradient_ladder`, of which the folders of a checkout are other names.

    policy_gradient_ladder                algorithms
    policy_gradient_ladder.experiments    experiments
    policy_gradient_ladder.analysis       analysis

Whichever name a module is imported by, there is one module, with the longer name. So an installed package never takes
the name of a user's own folder, and in a checkout `python -m experiments.run` and `from algorithms import PPO` work.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "policy_gradient_ladder"
ALGORITHMS = "algorithms"
BESIDE = ("experiments", "analysis")  # the folders beside `algorithms` whose packages are in PACKAGE
ROOT = Path(__file__).parents[2]  # of a checkout


def long_name(name: str) -> str | None:
    """The name that a module has, where `name` is by its folder; None where it is not."""
    top, _, rest = name.partition(".")
    if top == ALGORITHMS:
        return f"{PACKAGE}.{rest}".rstrip(".")
    return f"{PACKAGE}.{name}" if top in BESIDE else None


def short_name(name: str) -> str:
    """The name by its folder of a module of this package; any other name as it is."""
    top, _, rest = name.partition(".")
    if top != PACKAGE:
        return name
    return rest if rest.partition(".")[0] in BESIDE else f"{ALGORITHMS}.{rest}".rstrip(".")


def file_of(name: str) -> str:
    """The file of a module, as a message names it: from the project's root on, without an ending."""
    return short_name(name).replace(".", "/")


class _Folders(MetaPathFinder, Loader):
    """Finds modules by the names of their folders, and gives the one that has the long name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As MetaPathFinder asks for."""
        if fullname in [f"{PACKAGE}.{folder}" for folder in BESIDE]:
            return importlib.util.spec_from_file_location(fullname, ROOT / fullname.partition(".")[2] / "__init__.py")
        long = long_name(fullname)
        found = None if long is None else importlib.util.find_spec(long)
        if found is None or found.origin is None:
            return None
        folders = found.submodule_search_locations
        return importlib.util.spec_from_file_location(
            fullname, found.origin, loader=self, submodule_search_locations=folders and list(folders)
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module with the long name; what it says of itself is kept, since the import system overwrites it."""
        module = importlib.import_module(str(long_name(spec.name)))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs a second time."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """What `python -m` runs."""
        spec = importlib.util.find_spec(str(long_name(fullname)))
        code: CodeType | None = spec.loader.get_code(spec.name) if spec and spec.loader else None  # type: ignore
        return code


def share(file: str) -> None:
    """From now on let the names of the folders stand for the modules of PACKAGE.

    `file` is the `__init__.py` of the folder `algorithms`. Raises ImportError where PACKAGE is of another checkout.
    """
    package = sys.modules[PACKAGE].__file__
    if package is None or not Path(package).samefile(file):
        raise ImportError(
            f"{PACKAGE} was imported from {package}, and {file} is another copy of it; run pip install -e . "
            "in the one that you mean"
        )
    if not any(isinstance(finder, _Folders) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Folders())
    for folder in {ALGORITHMS, *BESIDE} & sys.modules.keys():  # the one that is being imported by this name
        sys.modules[folder] = importlib.import_module(str(long_name(folder)))
