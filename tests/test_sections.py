"""A section is a folder: what a new one needs, what is said of one that does not keep its word, and that the others are
made all the same.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures, making, problems, report, sections
from analysis.making import Maker, tables_named
from analysis.page import images
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import read_table, table_file, write_table
from analysis.sections import FIGURES, TABLES, SectionError
from analysis.sections.laboratory.sentences import unmeasured
from analysis.tables import make_tables
from tests.analysis_fixtures import CARTPOLE, write_grid, write_runs
from tests.pipeline_fixtures import copy_of_the_project

ROOT = Path(__file__).parents[1]
LENGTHS = {  # a whole section, all that its author writes
    "__init__.py": '''"""How long episodes are."""

TITLE = "Episode lengths"
TABLES = {"lengths": "task algorithm seed mean_length"}
TEXT = "task algorithm"
FIGURES = {"episode_lengths": "How long an episode lasts"}
AVERAGES = {"episode_lengths": "runs"}
''',
    "tables.py": '''"""The mean length of every run's episodes."""

import pandas as pd

from analysis.reading.jobs import key
from analysis.reading.tables import frame


def lengths(runs):
    return frame([{**key(cell), "mean_length": run["steps_taken"] / run["episodes"]} for cell, run in runs], "lengths")
''',
    "figures.py": '''"""The lengths as points."""

import matplotlib.pyplot as plt


def episode_lengths(grid, lengths):
    figure, axes = plt.subplots()
    axes.plot(lengths["seed"], lengths["mean_length"], "o")
    return figure
''',
    "captions/episode_lengths.rst": "Mean length of the episodes of every run.\n",
    "sentences.py": '''"""Episode lengths in words."""


def page(grid, lengths):
    return {"sentences": [said(lengths)], "longest": lengths["mean_length"].max()}


def headline(lengths):
    return [said(lengths)]


def cautions(lengths):
    return ["A long episode is a good one on CartPole alone."]


def sample_text(figure, lengths):
    return f"n = {len(lengths)} runs & no more."


def said(lengths):
    return f"The mean episode lasts {lengths['mean_length'].mean():.0f} steps | on all tasks."
''',
    "page.html.j2": """  {{ listed(sentences) }}
  <p>At most {{ longest | number }}.</p>
  {{ image(figures.episode_lengths) }}
""",
    "page.md.j2": "{{ listed(sentences) }}\nAt most {{ longest | number }}.\n\n{{ image(figures.episode_lengths) }}\n",
}


STAGES = """
import runpy, sys
for module, *arguments in (["tables"], ["figures", *sys.argv[2:]], ["report"]):
    argv, sys.argv = sys.argv, [module, "--results", sys.argv[1], *arguments]
    try:
        runpy.run_module(f"analysis.{module}", run_name="__main__")
    except SystemExit as end:
        print(end.code or 0, file=sys.stderr)
    sys.argv = argv
    print("END OF STAGE", file=sys.stderr)
"""


class Project:
    """A copy of the project, to which a test adds sections, beside a folder of results with something in the place of
    every figure.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        copy_of_the_project(root)
        in_place_of_figures(folder)

    def path(self, section: str, file: str) -> Path:
        return self.root / "analysis/sections" / section / file

    def add(self, section: str, files: dict[str, str]) -> None:
        for name, text in files.items():
            self.path(section, name).parent.mkdir(parents=True, exist_ok=True)
            self.path(section, name).write_text(text, encoding="utf-8")
        self.edit("", "__init__.py", '"claims", "ranking",', f'"claims", "{section}", "ranking",')

    def edit(self, section: str, file: str, old: str, new: str) -> None:
        path = self.path(section, file)
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def make(self, *of_figures: str) -> list[tuple[int, str]]:
        """Tables, figures and report, as their command lines in one process: of each its status and what it said."""
        *stages, rest = self.python("-c", STAGES, str(self.folder), *of_figures).stderr.split("END OF STAGE\n")
        assert rest == ""
        ends = [words.removesuffix("\n").rpartition("\n") for words in stages]
        return [(int(status), words + end) for words, end, status in ends]

    def make_new(self) -> list[tuple[int, str]]:
        """The same, drawing the new section's figure alone."""
        return self.make("--figure", "episode_lengths")

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.root, env=environment, check=False)

    def text(self, name: str) -> str:
        return (self.folder / "report" / name).read_text(encoding="utf-8")

    def section(self, name: str) -> str:
        return self.text("index.html").split(f'<section id="{name}">')[1].split("</section>")[0]


@pytest.fixture
def project(tmp_path) -> Project:
    folder = tmp_path / "small"
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}))
    return Project(tmp_path / "project", folder)


def test_a_folder_and_its_word_are_a_section(project):
    project.add("lengths", LENGTHS)
    assert [status for status, _ in project.make_new()] == [0, 0, 0]
    lengths = pd.read_csv(project.folder / "tables/lengths.csv")
    assert list(lengths) == ["task", "algorithm", "seed", "mean_length"]
    assert {f"episode_lengths.{kind}" for kind in ("svg", "png")} <= set(os.listdir(project.folder / "figures"))
    said = f"The mean episode lasts {lengths['mean_length'].mean():.0f} steps"
    caption = "Mean length of the episodes of every run. n = 2 runs &amp; no more."
    page, section = project.text("index.html"), project.section("lengths")
    assert re.findall(r'<section id="(\w+)">', page)[0] == "lengths"  # the grid has no claims
    assert "<h2>Episode lengths</h2>" in section
    assert f"{said} | on all tasks.</li>" in section
    assert '<figure id="figure-episode_lengths">' in section
    assert f"<figcaption><details><summary>What it shows: n = 2 runs &amp; no more.</summary>{caption}" in section
    assert '<a class="file" href="../tables/lengths.csv">lengths.csv</a>' in section
    assert f'<p class="short">{said}' in section
    assert "<li>A long episode is a good one on CartPole alone.</li>" in page.split("<main>")[0]
    source = project.text("report.md")
    assert "## Episode lengths" in source
    assert f"- {said} \\| on all tasks." in source
    assert "(../figures/episode_lengths.svg)" in source
    assert "Mean length of the episodes of every run. n = 2 runs & no more." in source
    assert "[lengths.csv](../tables/lengths.csv)" in source
    files = json.loads(project.text("files.json"))["files"]
    assert {"tables/lengths.csv", "figures/episode_lengths.svg", "figures/episode_lengths.png"} <= set(files)
    # The Snakefile's outputs are these lists.
    snakefile = (ROOT / "Snakefile").read_text(encoding="utf-8")
    (imported,) = re.findall(r"^from analysis\.sections import .*$", snakefile, re.MULTILINE)
    lists = project.python("-c", f"{imported}; print(list(TABLES), list(FIGURES))").stdout
    assert "'lengths'" in lists
    assert "'episode_lengths'" in lists


def test_a_section_without_words_shows_its_figures_and_links_its_tables(project):
    bare = {name: text for name, text in LENGTHS.items() if not name.startswith(("sentences", "page"))}
    project.add("lengths", bare)
    assert [status for status, _ in project.make_new()] == [0, 0, 0]
    section, source = project.section("lengths"), project.text("report.md")
    assert "Mean length of the episodes of every run. n = 2 runs per task and algorithm." in section
    assert 'Behind this section: <a class="file" href="../tables/lengths.csv">lengths.csv</a>.' in section
    assert "Behind this section: [lengths.csv](../tables/lengths.csv)." in source
    assert "n = 2 runs per task and algorithm." in source.split("## Episode lengths")[1].split("\n## ")[0]


def test_a_section_that_has_nothing_to_say_in_a_grid_is_left_out(project):
    project.add("lengths", LENGTHS)
    project.edit("lengths", "sentences.py", "    return {", "    return None and {")
    assert [status for status, _ in project.make_new()] == [0, 0, 0]
    assert "lengths" not in project.text("index.html")
    assert "pisode length" not in project.text("report.md")


FAILS = "    raise KeyError('no such\\nkey')\n"
TABLES_PY, FIGURES_PY, SENTENCES = (
    f"analysis/sections/lengths/{kind}.py" for kind in ("tables", "figures", "sentences")
)


@pytest.mark.parametrize(
    ("file", "old", "new", "first", "missing", "why"),
    [
        (
            *("tables.py", "    return frame", f"{FAILS}    return frame", "tables"),
            "the table lengths.csv and the section “Episode lengths”",
            f"{TABLES_PY}: lengths failed with KeyError: 'no such\\nkey'.",
        ),
        (
            *("tables.py", "import pandas as pd", "import panda", "tables"),
            "the table lengths.csv and the section “Episode lengths”",
            f"{TABLES_PY}: its import in line 3 failed with ModuleNotFoundError: No module named 'panda'.",
        ),
        (
            *("figures.py", "def episode_lengths", "def (", "figures"),
            "the figure “How long an episode lasts”",
            f"{FIGURES_PY}: its import failed with SyntaxError: invalid syntax (figures.py, line 6).",
        ),
        (
            *("tables.py", '"lengths")', '"lengths").drop(columns="seed")', "tables"),
            "the table lengths.csv and the section “Episode lengths”",
            f"{TABLES_PY}: the table 'lengths' lacks the column 'seed', which TABLES in "
            "analysis/sections/lengths/__init__.py declares.",
        ),
        (
            *("tables.py", "(runs)", "(runs, runz)", "tables"),
            "the table lengths.csv and the section “Episode lengths”",
            f"{TABLES_PY}: a parameter of lengths is 'runz', which names no table, no function of "
            "analysis/reading/sources.py and none of its own file.",
        ),
        (
            *("figures.py", "    figure, axes", f"{FAILS}    figure, axes", "figures"),
            "the figure “How long an episode lasts”",
            f"{FIGURES_PY}: episode_lengths failed with KeyError: 'no such\\nkey'.",
        ),
        (
            *("figures.py", "(grid, lengths)", "(grid, lengths, length)", "figures"),
            "the figure “How long an episode lasts”",
            f"{FIGURES_PY}: a parameter of episode_lengths is 'length', which names no table, no function of "
            "analysis/reading/sources.py and none of its own file.",
        ),
        (
            *("sentences.py", "page(grid, lengths):\n", f"page(grid, lengths):\n{FAILS}", "report"),
            "the section “Episode lengths”",
            f"{SENTENCES}: page failed with KeyError: 'no such\\nkey'.",
        ),
        (
            *("sentences.py", "page(grid, lengths):\n", "page(grid, lengths, longest):\n", "report"),
            "the section “Episode lengths”",
            f"{SENTENCES}: a parameter of page is 'longest', which names no table, no function of "
            "analysis/reading/sources.py and none of its own file.",
        ),
        (
            *("sentences.py", '"""Episode lengths in words."""', "import episodes_of_nobody", "report"),
            "the section “Episode lengths”",
            f"{SENTENCES}: its import in line 1 failed with ModuleNotFoundError: No module named 'episodes_of_nobody'.",
        ),
        (
            *("sentences.py", "headline(lengths):\n", f"headline(lengths):\n{FAILS}", "report"),
            "the headline of the section “Episode lengths”",
            f"{SENTENCES}: headline failed with KeyError: 'no such\\nkey'.",
        ),
        (
            *("sentences.py", "return [said(lengths)]", "return said(lengths)", "report"),
            "the headline of the section “Episode lengths”",
            f"{SENTENCES}: headline returns str; it must be a list.",
        ),
        (
            *("sentences.py", '["A long', '1 / 0, ["A long', "report"),
            "the cautions of the section “Episode lengths”",
            f"{SENTENCES}: cautions failed with ZeroDivisionError: division by zero.",
        ),
        (
            *("sentences.py", 'f"n = {len(lengths)}', 'f"n = {lengths.n}', "report"),
            "the figure “How long an episode lasts”",
            f"{SENTENCES}: sample_text failed with AttributeError: 'DataFrame' object has no attribute 'n'.",
        ),
        (
            *("page.html.j2", "longest", "shortest", "report"),
            "the section “Episode lengths”",
            "analysis/sections/lengths/page.html.j2 failed with UndefinedError: 'shortest' is undefined.",
        ),
    ],
)
def test_what_a_section_cannot_make_is_said_in_its_place_and_the_rest_is_made(
    project, file, old, new, first, missing, why
):
    project.add("lengths", LENGTHS)
    project.edit("lengths", file, old, new)
    stages = ("tables", "figures", "report")
    for stage, (status, words) in zip(stages, project.make_new(), strict=True):
        assert status == (1 if stages.index(stage) >= stages.index(first) else 0), words
        assert "Traceback" not in words
        assert words.count("error: ") == status
        assert (why in words) == bool(status)
    sentence = f"Missing: {missing}. {why}"
    assert f"error: {sentence}\n" in words
    page, source = (re.sub(r"&#39;", "'", project.text(name)) for name in ("index.html", "report.md"))
    section = re.sub(r"&#39;", "'", project.section("lengths"))
    assert "<h2>Episode lengths</h2>" in section
    assert section.count(f'<p class="missing">{sentence}</p>') == 1
    assert page.count(sentence) == 2  # there, and at the top
    assert source.replace("\\\\n", "\\n").replace("\\_", "_").count(sentence) == 2
    assert json.loads(project.text("summary.json"))["missing"] == [sentence]
    assert 'id="figure-episode_lengths"' in section
    for other in ("ranking", "learning", "scores", "speed", "cite"):
        assert '<p class="missing">' not in project.section(other)
    assert all(table_file(project.folder, name).exists() for name in TABLES)
    assert all((project.folder / f"figures/{name}.svg").exists() for name in FIGURES)
    files = json.loads(project.text("files.json"))["files"]
    assert all((project.folder / name).exists() for name in files)
    assert {f"tables/{name}.csv" for name in TABLES} <= set(files)
    links = re.findall(r'href="(\.\./[^"]+)"', page)
    assert all((project.folder / "report" / link).exists() for link in links)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "tables.py",
            f"{TABLES_PY}: no such file; TABLES in analysis/sections/lengths/__init__.py declares 'lengths'.",
        ),
        (
            "figures.py",
            f"{FIGURES_PY}: no such file; FIGURES in analysis/sections/lengths/__init__.py declares 'episode_lengths'.",
        ),
        (
            "captions/episode_lengths.rst",
            "analysis/sections/lengths/captions/episode_lengths.rst: no such file; FIGURES in "
            "analysis/sections/lengths/__init__.py declares 'episode_lengths'.",
        ),
        (
            "__init__.py",
            "analysis/sections/__init__.py: ORDER names 'lengths'; there is no analysis/sections/lengths/__init__.py.",
        ),
    ],
)
def test_a_section_that_lacks_a_file_is_refused(project, file, said):
    project.add("lengths", {name: text for name, text in LENGTHS.items() if name != file})
    stages = ("tables", "figures", "report")
    assert project.make() == [(2, f"analysis.{module}: {said}\n") for module in stages]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("tables.py", "def lengths", "def length", f"{TABLES_PY}: no function lengths; TABLES in"),
        ("figures.py", "def episode_lengths", "def _", f"{FIGURES_PY}: no function episode_lengths; FIGURES in"),
        ("__init__.py", "TITLE", "NAME", "analysis/sections/lengths/__init__.py: it needs a TITLE, which is text."),
        (
            *("../scores/__init__.py", '"summary": (', '"lengths": "task", "summary": ('),
            "analysis/sections/scores/__init__.py: TABLES declares 'lengths', and so does analysis/sections/lengths",
        ),
        (
            *("__init__.py", '"runs"}', '"seeds"}'),
            "analysis/sections/lengths/__init__.py: AVERAGES has 'episode_lengths': 'seeds'; it takes a name of",
        ),
        (
            *("../__init__.py", '"lengths", ', ""),
            "analysis/sections/__init__.py: ORDER lacks 'lengths', which is a folder beside it.",
        ),
    ],
)
def test_a_face_that_does_not_keep_its_word_is_refused(project, file, old, new, said):
    project.add("lengths", LENGTHS)
    project.edit("lengths", file, old, new)
    status, words = project.make()[0]
    assert status == 2
    assert words.startswith(f"analysis.tables: {said}")
    assert words.count("\n") == 1
    assert not (project.folder / "tables").exists()


FACE = "analysis/sections/lengths/__init__.py"
FACES = [  # (in the face of LENGTHS, what stands there instead, what is said of it)
    ('{"lengths": "task algorithm seed mean_length"}', '["lengths"]', f"{FACE}: TABLES is ['lengths']; it takes a"),
    ('{"lengths": "task algorithm seed mean_length"}', "None", f"{FACE}: TABLES is None; it takes a mapping, table →"),
    ('"task algorithm seed mean_length"', '["task"]', f"{FACE}: TABLES has 'lengths': ['task']; it takes its columns"),
    (
        '"task algorithm seed mean_length"',
        '""',
        f"{FACE}: TABLES has 'lengths': ''; a table needs at least one column.",
    ),
    ('{"lengths": ', "{3: ", f"{FACE}: TABLES has the name 3; a name is that of a function, and text."),
    ('{"lengths": ', '{"../lengths": ', f"{FACE}: TABLES has the name '../lengths'; a name is that of a function"),
    ('{"episode_lengths": "How long an episode lasts"}', '"How long"', f"{FACE}: FIGURES is 'How long'; it takes a"),
    ('"How long an episode lasts"', "None", f"{FACE}: FIGURES has 'episode_lengths': None; it takes its title."),
    ('"task algorithm"\n', '["task"]\n', f"{FACE}: TEXT is ['task']; it takes names of columns in one text."),
    ('"task algorithm"\n', "None\n", f"{FACE}: TEXT is None; it takes names of columns in one text."),
    ('"task algorithm"\n', '"tsak"\n', f"{FACE}: TEXT has 'tsak', which is no column of TABLES."),
    ('{"episode_lengths": "runs"}', "3", f"{FACE}: AVERAGES is 3; it takes one of runs, studies, probes, exact"),
    ('{"episode_lengths": "runs"}', "None", f"{FACE}: AVERAGES is None; it takes one of runs, studies, probes, exact"),
    ('"Episode lengths"', "3", f"{FACE}: it needs a TITLE, which is text."),
    ('"Episode lengths"', "(", f"{FACE}: its import failed with SyntaxError: "),
    ('TITLE = "', 'import nobody\nTITLE = "', f"{FACE}: its import in line 3 failed with ModuleNotFoundError: No mod"),
]
REFUSED = """
import json, sys
from pathlib import Path
face, texts = Path(sys.argv[1]), json.loads(sys.argv[2])
for text in texts:
    face.write_text(text, encoding="utf-8")
    for name in [name for name in sys.modules if name.startswith(("analysis", "policy_gradient_ladder.analysis"))]:
        del sys.modules[name]
    from analysis import sections
    try:
        sections.check_faces()
    except sections.SectionError as error:
        print(error)
    else:
        print("nothing is refused")
print("numpy" in sys.modules)
"""


def test_a_constant_of_a_wrong_kind_is_a_sentence_that_names_it(project):
    """All of them without the libraries of the stages, as the Snakefile asks it."""
    project.add("lengths", LENGTHS)
    face = LENGTHS["__init__.py"]
    assert all(face.count(old) == 1 for old, _, _ in FACES)
    texts = [face.replace(old, new) for old, new, _ in FACES]
    done = project.python("-c", REFUSED, str(project.path("lengths", "__init__.py")), json.dumps([*texts, face]))
    assert done.stderr == ""
    *said, unharmed, loaded = done.stdout.splitlines()
    assert (unharmed, loaded) == ("nothing is refused", "False")
    for words, (_, new, expected) in zip(said, FACES, strict=True):
        assert words.startswith(expected), new


def test_a_section_that_is_named_twice_is_refused(monkeypatch):
    monkeypatch.setattr(sections, "ORDER", (*sections.ORDER, "scores"))
    with pytest.raises(SectionError, match=r"^analysis/sections/__init__\.py: ORDER names 'scores' twice\.$"):
        sections.check_faces()


def test_the_snakefile_refuses_a_face_before_it_does_anything():
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    assert re.search(
        r"^try:\n    check_faces\(\)\n(?s:.*?)^except .*SectionError.*\n    raise WorkflowError", text, re.M
    )


def test_a_table_of_many_is_missing_once_and_everything_else_is_made(project):
    """Without the scores hardly anything can be said; what depends on them is named in one sentence."""
    project.edit("scores", "tables.py", "def scores(", "def scores(nobody, ")
    for status, words in project.make():
        assert status == 1
        assert words.count("error: ") == 1, words
        assert words.count("a parameter of scores is 'nobody'") == 1
    page, summary = project.text("index.html"), json.loads(project.text("summary.json"))
    assert page.count('<p class="missing">Missing: ') > 4
    assert "the section “Every run”, the section “Actions in bins”, the section “Privacy”, the section “Speed”" in words
    for unharmed in ("settings", "definitions", "cite"):
        assert '<p class="missing">' not in project.section(unharmed)
    assert summary["scores"] is None
    assert summary["completeness"]["done"] == 2
    anchors = re.findall(r'\bid="([^"]+)"', page)
    assert {link for link in re.findall(r'href="#([^"]+)"', page)} <= set(anchors)


def in_place_of_figures(folder: Path) -> None:
    """Something in the place of every figure's files."""
    for name in FIGURES:
        for kind in sections.FIGURE_KINDS:
            results.write_whole(folder / f"figures/{name}.{kind}", b'<svg width="1pt" height="1pt"/>')


def test_a_file_that_is_missing_for_no_reason_noted_is_refused_and_with_one_it_is_said(tmp_path):
    folder = tmp_path / "small"
    write_runs(folder, write_grid(folder, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE}))
    grid = read_grid(folder)
    for name, table in make_tables(grid).items():
        write_table(folder, name, table)
    in_place_of_figures(folder)
    assert report.write_report(grid) == []
    for file, why in (
        (table_file(folder, "curves"), "no such table"),
        (folder / "figures/speed.svg", "no such figure"),
    ):
        kept = file.read_bytes()
        file.unlink()
        with pytest.raises(results.ResultsError, match=f"{file.name}: {why}; make it with: python -m analysis"):
            report.write_report(grid)
        file.write_bytes(kept)
    (folder / "figures/speed.svg").unlink()
    problems.write_problems(folder / "figures", {"speed": "Nobody drew it."})
    assert report.write_report(grid) == ["Missing: the figure “Where a run’s time went”. Nobody drew it."]
    problems.write_problems(folder / "figures", {})
    results.write_whole(folder / "figures/speed.svg", b'<svg width="1pt" height="1pt"/>')
    assert report.write_report(grid) == []
    assert "missing" not in json.loads((folder / "report/summary.json").read_text(encoding="utf-8"))


def first(start: int) -> int:
    return start + 1


def second(first: int, start: int, *, unasked: int = 5) -> int:
    return first * 10 + start + unasked


def circular(also_circular: int) -> int:
    return also_circular


def also_circular(circular: int) -> int:
    return circular


def of_tables(grid, scores, shared, curves):
    return None


def shared(ledger, curves, scores):
    return None


HOME = sys.modules[__name__]


def test_what_a_function_is_made_from_is_named_by_its_parameters():
    calls = []
    maker = Maker({"start": 1}, read=lambda name: calls.append(name) or pd.DataFrame({"n": [1]}))
    assert making.parameters(second) == ["first", "start"]
    assert maker.call(second, HOME) == 26
    assert maker.call(second, HOME, first=3) == 36  # given in this call alone
    assert maker.call(second, HOME) == 26
    assert maker.table("scores") is maker.table("scores")
    assert calls == ["scores"]
    assert tables_named(of_tables, HOME) == ["scores", "ledger", "curves"]
    assert tables_named(circular, HOME) == []


def test_what_is_made_from_itself_or_from_nothing_is_a_sentence():
    with pytest.raises(SectionError, match=r"^tests/test_sections\.py: circular is made from itself\.$"):
        Maker({}).call(also_circular, HOME)
    with pytest.raises(SectionError, match=r"a parameter of second is 'start', which names no table"):
        Maker({"first": 1}).call(second, HOME)


def test_a_mistake_in_the_results_is_not_one_of_a_section():
    def spoilt(start):
        raise results.ResultsError("runs/a/run.json: not whole JSON.")

    with pytest.raises(results.ResultsError):
        Maker({"start": 1}).call(spoilt, HOME)


def test_columns_have_their_order_and_further_ones_only_where_that_is_declared(monkeypatch):
    monkeypatch.setitem(TABLES, "scores", ("b", "a"))
    table = pd.DataFrame({"a": [1], "c": [2], "b": [3]})
    assert list(making.with_columns(table, "scores", "scores")) == ["b", "a"]
    monkeypatch.setattr(sections, "WITH_FURTHER", {"scores"})
    assert list(making.with_columns(table, "scores", "scores")) == ["b", "a", "c"]


EFFICIENCY = pd.DataFrame({"algorithm": ["ppo", None], "fraction": [0, 1], "iqm": [0.5, None], "low": 0.0, "high": 1.0})


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"iqm": [True, False]},
        {"iqm": pd.Series([None, None], dtype=object)},
        {"iqm": pd.Series([1, 2.5], dtype=object)},
        {"iqm": pd.Series([1, None], dtype="Int64")},
        {"algorithm": [None, None]},
        {"algorithm": pd.Categorical(["ppo", "a2c"])},
    ],
)
def test_a_table_of_the_declared_kinds_can_be_read_again(columns, tmp_path):
    table = making.with_columns(EFFICIENCY.assign(**columns), "efficiency", "learning")
    write_table(tmp_path, "efficiency", table)
    assert read_table(tmp_path, "efficiency")["iqm"].isna().sum() == table["iqm"].isna().sum()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "is of the type NoneType; it must be a DataFrame."),
        ({"algorithm": ["ppo"]}, "is of the type dict; it must be a DataFrame."),
        (EFFICIENCY["iqm"], "is of the type Series; it must be a DataFrame."),
        (EFFICIENCY.assign(iqm=["many", "0.5"]), "has 'many' in the column 'iqm'; expected a number, since TEXT in"),
        (EFFICIENCY.assign(iqm=[1 + 2j, 0]), "has (1+2j) in the column 'iqm'; expected a number, since TEXT in"),
        (EFFICIENCY.assign(iqm=[True, 2]), "has True in the column 'iqm'; expected a number, since TEXT in"),
        (EFFICIENCY.assign(algorithm=[1, 2]), "has 1 in the column 'algorithm'; expected text, since TEXT in"),
        (pd.concat([EFFICIENCY, EFFICIENCY[["low"]]], axis=1), "has the column 'low' twice."),
    ],
)
def test_a_table_of_another_kind_is_a_mistake_of_its_section(table, said):
    start = "analysis/sections/learning/tables.py: the table 'efficiency' "
    with pytest.raises(SectionError, match="^" + re.escape(start + said)):
        making.with_columns(table, "efficiency", "learning")


def late() -> Figure:
    figure = Figure()
    figure.add_subplot().set_title(r"$\frac$", parse_math=True)  # a section that asks for mathematics, wrongly
    return figure


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (lambda: None, "benchmark returns NoneType; it must be a Matplotlib Figure."),
        (lambda: Figure().add_subplot(), "benchmark returns Axes; it must be a Matplotlib Figure."),
        (late, "what benchmark returns, when it is saved, failed with ValueError: "),
    ],
)
def test_a_figure_that_is_none_or_cannot_be_saved_is_a_mistake_of_its_section(drawn, said, monkeypatch, tmp_path):
    home = sections.part("speed", "figures")
    write_grid(tmp_path, algorithms=("ppo",), tasks={"CartPole-v1": CARTPOLE})
    monkeypatch.setattr(sections, "function", lambda *_: (home, drawn))
    with pytest.raises(SectionError, match="^" + re.escape(f"analysis/sections/speed/figures.py: {said}")):
        figures.write_figure(read_grid(tmp_path), "benchmark")
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("part", "default", "value", "said"),
    [
        ("headline", [], [1, None], "headline has 1; it must be a list of texts."),
        ("cautions", [], ["One.", None], "cautions has None; it must be a list of texts."),
        ("cautions", [], None, "cautions returns NoneType; it must be a list."),
        ("page", {}, ["One."], "page returns list; it must be a dict."),
    ],
)
def test_sentences_that_are_no_texts_are_a_mistake_of_their_section(part, default, value, said, monkeypatch):
    monkeypatch.setattr(sections.part("cite", "sentences"), part, lambda: value, raising=False)
    with pytest.raises(SectionError, match=re.escape(f"analysis/sections/cite/sentences.py: {said}")):
        report.told("cite", part, default, Maker({}))


def test_the_end_of_a_caption_is_text(monkeypatch):
    monkeypatch.setattr(sections.part("scores", "sentences"), "sample_text", lambda figure: 3, raising=False)
    with pytest.raises(SectionError, match="sample_text returns 3 for final_scores; it must be text"):
        images.sample_text("final_scores", Maker({}))


def test_the_laboratory_names_the_algorithms_that_no_probe_measures(tmp_path):
    """But no entry that has the module of a measured one."""
    write_grid(tmp_path, algorithms=("reinforce", "ppo"), tasks={"CartPole-v1": CARTPOLE})
    grid = read_grid(tmp_path)
    said = unmeasured(grid, pd.DataFrame({"algorithm": ["ppo", None]}))
    assert said.startswith(f" Not measured: {grid.title('reinforce')}. A probe measures policy gradients whose only")
    assert unmeasured(grid, pd.DataFrame({"algorithm": ["ppo", "reinforce"]})) == ""


def test_the_sections_of_this_project_keep_their_word():
    sections.check()
    assert list(sections.FACES) == list(sections.ORDER)
