"""The structure of the code: no import circle, the walls between the packages, sizes of files, and docstrings."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from algorithms.core.checkout import short_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("algorithms", "experiments", "analysis")
LONGEST_FILE = 500  # lines
TRIVIAL = 5  # lines of a body that needs no docstring
SHARED = {"experiments.schema", "experiments.metrics"}  # what analysis may import of experiments


def module_name(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(module: str, path: Path) -> set[str]:
    """The modules of this project that a file imports, anywhere in it, also within a function."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {short_name(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = short_name(".".join(filter(None, (above, node.module))))
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else source for name in names}
    return {name for name in found if name in FILES and name != module}


IMPORTS = {module: imported(module, path) for module, path in FILES.items()}


def test_imports_are_found():
    assert len(FILES) > 100
    assert "analysis.reading.grid" in IMPORTS["analysis.verify"]
    assert "analysis.report" in IMPORTS["analysis.verify"]  # within a function
    assert "algorithms.core.on_policy" in IMPORTS["algorithms.core.policy_gradient"]


def test_no_module_imports_itself_through_others():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' imports '.join(reversed(error.args[1]))}")


def of(package: str) -> Iterator[tuple[str, str]]:
    """What modules of a package import: (importing, imported)."""
    for module, others in IMPORTS.items():
        if module.split(".")[0] == package:
            yield from ((module, other) for other in sorted(others))


@pytest.mark.parametrize(
    ("package", "barred", "allowed"),
    [
        ("algorithms", {"experiments", "analysis"}, set()),
        ("experiments", {"analysis"}, set()),
        ("analysis", {"algorithms"}, {"algorithms"}),  # which gives the folders their names
        ("analysis", {"experiments"}, SHARED),
    ],
)
def test_dependencies_point_one_way(package, barred, allowed):
    assert [
        f"{module} imports {other}"
        for module, other in of(package)
        if other.split(".")[0] in barred and other not in allowed
    ] == []


def test_what_both_sides_of_the_wall_know_imports_nothing():
    assert {module: IMPORTS[module] for module in SHARED if IMPORTS.get(module)} == {}


def test_the_analysis_loads_no_torch():
    modules = [module for module in FILES if module.split(".")[0] == "analysis"]
    code = f"import sys; [__import__(name) for name in {modules}]; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "torch is loaded"


def test_no_file_is_too_long():
    """But tests, which are read one by one."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES.values()}
    assert {str(path): n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def undocumented(module: str, path: Path) -> Iterator[str]:
    """The module, public classes and public functions and methods of more than a trivial size without a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(tree) is None and tree.body:
        yield module

    def within(node: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
        for child in node.body:
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name[0] == "_":
                continue
            own = f"{name}.{child.name}"
            if child.end_lineno - child.body[0].lineno >= TRIVIAL and ast.get_docstring(child) is None:
                yield own
            if isinstance(child, ast.ClassDef):
                yield from within(child, own)

    yield from within(tree, module)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_and_not_trivial_says_what_it_is(package):
    assert [
        name for module, path in FILES.items() if module.split(".")[0] == package for name in undocumented(module, path)
    ] == []
