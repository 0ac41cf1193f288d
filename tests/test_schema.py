"""The wall between experiments and analysis: what both sides know stands once, and nothing else is shared."""

import ast
import re
import subprocess
import sys

import pytest

from algorithms.core.run import EVALUATIONS, PHASES
from experiments import metrics, schema
from experiments.sources import ROOT, import_closure

SHARED = (schema, metrics)
ANALYSIS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("analysis/**/*.py"))
LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from algorithms.core.checkout import short_name
loaded = {short_name(name) for name in sys.modules}
print(*sorted(name for name in loaded if name.partition(".")[0] in ("algorithms", "experiments", "torch")))
"""


def test_analysis_imports_of_experiments_the_two_modules_that_both_know_and_no_algorithm():
    files = {file for module in ANALYSIS for file in import_closure(module) if not file.startswith("analysis/")}
    names = {"algorithms/__init__.py", "algorithms/core/__init__.py"}  # by which a checkout's folders get theirs
    assert files - names == {"experiments/__init__.py", "experiments/schema.py", "experiments/metrics.py"}


def test_analysis_loads_no_torch():
    names = [file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in ANALYSIS]
    names.remove("analysis.compare.__main__")
    done = subprocess.run([sys.executable, "-c", LOADED, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    names = ["algorithms", "algorithms.core", "algorithms.core.checkout"]  # by which a checkout's folders get theirs
    assert done.stdout.split() == [*names, "experiments", "experiments.metrics", "experiments.schema"]


@pytest.mark.parametrize("module", SHARED)
def test_what_both_sides_know_imports_nothing(module):
    text = (ROOT / "experiments" / f"{module.__name__.rpartition('.')[2]}.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from)\s", text, re.MULTILINE)


def constants_of(module):
    """The constants of a module, by name."""
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_what_both_sides_know_stands_nowhere_else():
    """Neither under its name nor under another, as far as it is long enough to be told from other things."""
    known = {name: value for module in SHARED for name, value in constants_of(module).items()}
    telling = [value for value in known.values() if isinstance(value, tuple) and len(value) > 1]
    telling += [value for value in known.values() if isinstance(value, str)]
    again = []
    for path in [*ROOT.glob("experiments/*.py"), *ROOT.glob("analysis/**/*.py")]:
        if path.stem in ("schema", "metrics"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                try:
                    value = ast.literal_eval(node.value)
                except ValueError:
                    continue
                if any(type(value) is type(other) and value == other for other in telling):
                    again.append((path.name, node.targets[0].id))
    assert again == []


def test_seconds_and_evaluations_are_those_that_training_gives():
    assert set(schema.SECONDS) == {"start_up", *PHASES, "total"}
    assert schema.EVALUATIONS == EVALUATIONS


def test_metrics_are_told_apart():
    assert not set(metrics.RUN_METRICS) & set(metrics.GRADIENT_METRICS)
    assert not set(metrics.ESTIMATOR_METRICS) & {*metrics.RUN_METRICS, *metrics.GRADIENT_METRICS}
    of_runs = set(metrics.RATIO_METRICS) - {*metrics.GRADIENT_METRICS, *metrics.ESTIMATOR_METRICS}
    assert of_runs == {"spread"}
    for some in (metrics.PAIRED_METRICS, metrics.EVALUATED_METRICS, metrics.BEST_METRICS):
        assert set(some) <= {*metrics.RUN_METRICS, *metrics.ESTIMATOR_METRICS}
