"""What users have in hand keeps working: an earlier results folder is read, reported, verified and compared."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
EARLIER = ROOT / "tests" / "data" / "earlier"
TABLES = sorted(path.name for path in (EARLIER / "tables").glob("*.csv"))


def command(module: str, *words: object) -> str:
    """What a command line of the analysis prints; it must end with status 0."""
    run = subprocess.run(
        [sys.executable, "-m", f"analysis.{module}", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs, study and probe of the earlier version, with tables, figures and report of this one."""
    folder = tmp_path_factory.mktemp("results") / "earlier"
    shutil.copytree(EARLIER, folder, ignore=shutil.ignore_patterns("tables", "report"))
    for module in ("tables", "figures", "report"):
        command(module, "--results", folder)
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_every_earlier_column_with_the_same_values(made, name):
    """A further column is no change."""
    earlier, now = (pd.read_csv(folder / "tables" / name, dtype=str) for folder in (EARLIER, made))
    assert set(earlier) <= set(now)
    pd.testing.assert_frame_equal(now[list(earlier)], earlier)


def lost(earlier: object, now: object, where: str) -> list[str]:
    """Where a value of an earlier JSON text is missing or another now. A further key is no change."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        return [
            f for key in earlier for f in (lost(earlier[key], now[key], f"{where}.{key}") if key in now else [where])
        ]
    if isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        return [f for i, pair in enumerate(zip(earlier, now, strict=True)) for f in lost(*pair, f"{where}[{i}]")]
    return [] if earlier == now else [where]


def test_the_summary_has_every_earlier_key_with_the_same_value(made):
    earlier, now = (json.loads((folder / "report/summary.json").read_text("utf-8")) for folder in (EARLIER, made))
    assert lost(earlier, now, "summary") == []


def test_figures_and_page_are_made(made):
    assert len(list((made / "figures").glob("*.svg"))) == len(list((made / "figures").glob("*.png"))) >= 20
    page = (made / "report/index.html").read_text("utf-8")
    assert "A tiny grid with one of everything." in page
    for sentence in ("4 of 4 runs finished", "data:image/svg+xml"):
        assert sentence in page


def test_it_is_whole_and_tables_and_page_are_what_this_version_makes(made):
    said = command("verify", made, "--recompute")
    assert said.endswith("Whole and complete.\n")
    assert "4 of 4; digests of 9 files compared" in said


def test_it_is_the_same_as_a_copy_of_itself(made, tmp_path):
    copy = shutil.copytree(EARLIER, tmp_path / "copy")
    said = command("compare", made, copy)
    assert "The same numbers: all 4 runs have identical episodes and evaluations." in " ".join(said.split())


def test_its_status_is_done(made):
    assert "100 % of the training steps done" in command("status", made)
