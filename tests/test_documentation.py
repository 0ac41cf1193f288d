"""What the documents say is so: their commands, links, examples and lists."""

import html
import json
import re
import subprocess

import pytest
import yaml

from experiments.grid import GRIDS, load_grid
from tests.analysis_fixtures import make_page, write_grid, write_runs
from tests.documentation import (
    DOCUMENTS,
    PROJECT,
    ROOT,
    Wrong,
    block,
    blocks,
    broken_links,
    broken_mentions,
    check_command,
    check_commands,
    commands,
    written,
)
from tests.pipeline_fixtures import run

SHELL = [(name, b.text) for name, text in DOCUMENTS.items() for b in blocks(text) if b.language == "sh"]
COMMANDS = [(name, command) for name, text in SHELL for command in commands(text)]
RUN = "python -m experiments.run --grid smoke --algorithm ppo_published --task CartPole-v1 --seed 0"
LANGUAGES = {"sh", "bash", "yaml", "python", "html", "markdown", "rst"}
CFF = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8"))


def test_every_folder_has_a_document_that_the_readme_links_to():
    wanted = [f"{folder}/README.md" for folder in ("algorithms", "experiments", "analysis", "results", "findings")]
    for name in [*wanted, ".github/CONTRIBUTING.md", ".github/CHANGELOG.md"]:
        assert name in DOCUMENTS
        assert f"]({name})" in DOCUMENTS["README.md"]


def test_the_readme_is_short():
    assert len(DOCUMENTS["README.md"].splitlines()) <= 200


# ------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize(("document", "command"), COMMANDS, ids=[f"{d}: {' '.join(c)}" for d, c in COMMANDS])
def test_every_command_of_a_document_exists(document, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    check_command(command)


@pytest.mark.parametrize(
    "line",
    [
        "make all",
        "python -m experiments.trane --grid smoke",
        "python -m torch.utils.collect_env",
        RUN,  # no --output
        f"{RUN} --output x --sett a=1",
        f"{RUN} --algorithm trpo --output x",
        f"{RUN} --task CartPole-v9 --output x",
        f"{RUN} --output x --set clap=1",
        f"{RUN}.5 --output x",
        f"{RUN} --output x --tuned results/smoke/tuning/ppo/all/best.json",  # which is not tuned
        "python -m experiments.tune --grid default --algorithm ppo --group all --output results/default/tuning/ppo/all",
        "python -m experiments.tune --grid default --algorithm ppo --group mujoco --output results/default/ppo",
        "python -m experiments.probe --grid default --task Hopper-v5 --seed 0 --fraction 0.4 --run x --output y",
        "python -m experiments.probe --grid default --task Hopper-v5 --seed 0 --fraction 0.5 --output y",  # --run
        "python -m experiments.random_score NoSuchTask-v0",
        "python -m experiments.speed --output x --tasks Humanoid-v5",
        "python -m analysis.verify",
        "python -m analysis.verify results/nothing",
        "python -m analysis.status results/default --wotch 10",
        "python -m analysis.compare results/default",
        "snakemake --cors 2",
        "snakemake --cores 2 --config grid=smok",
        "snakemake --cores 2 --config gird=smoke",
        "snakemake --cores 2 --config grid=smoke only=Hopper-v5",
        "python -m experiments.join results/smoke",
        "snakemake --cores 1 speed --config tasks=Humanoid-v5",
        "snakemake --cores 1 speed --config contestants=ppo_8x256,trpo",
        "snakemake --cores 2 partial_repotr",
        "snakemake --cores 2 --workflow-profile experiments/profiles/sge",
        "snakemake report --cores 2 --batch table=1/10",
        "sbatch --wrap 'snakemake --cores 2 --config grid=smok'",
        "sbatch --mems=16G --wrap 'snakemake --cores 2'",
        "pip install -e '.[tests]'",
        "pip install left-pad",
        "cp -r results/default results/other",
        "pytest -m slrum",
        "pytest tests/test_nothing.py",
        "pytest --dost loadfile",
        "ruff chekc .",
        "ruff format --chekc .",
        "pre-commit run --every-file",
        "python -m analysis.verify results/default > report.txt",
    ],
)
def test_a_command_that_does_not_exist_is_found(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(Wrong):
        check_commands(line)


def test_blocks_of_code_have_languages_that_are_checked():
    for name, text in DOCUMENTS.items():
        for b in blocks(text):
            assert b.language in LANGUAGES, (name, b.text)


@pytest.mark.parametrize(
    "script", [b.text for text in DOCUMENTS.values() for b in blocks(text) if b.language == "bash"]
)
def test_a_whole_script_of_a_document_is_bash_and_the_python_in_it_is_python(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for python in re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON\n", script, re.DOTALL):
        compile(python, "script", "exec")


def test_ci_runs_the_readmes_test_command():
    """`.ci/run` cuts it out of the README with sed; the workflow calls that."""
    cut = re.search(r"^command=\$\((sed .*)\)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)[1]
    done = subprocess.run(["bash", "-c", cut], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == block("tests") != ""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    assert steps[-1]["run"] == ".ci/run"
    (python,) = [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})]
    assert PROJECT["project"]["requires-python"] == f">={python}"


def test_hooks_before_a_commit_are_what_ci_runs_before_the_tests():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    line = block("tests").splitlines()[-2]
    assert [hook["entry"] for hook in hooks] == line.split(" && ")
    assert PROJECT["tool"]["mypy"]["strict"]


# --------------------------------------------------------------------------------------- links and paths


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    assert broken_links(document, DOCUMENTS[document]) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_modules_that_a_document_names_are_there(document):
    assert broken_mentions(DOCUMENTS[document]) == []


def test_a_link_or_a_path_that_leads_nowhere_is_found():
    text = "# A heading: one\n[a](#a-heading-one) [b](#two) [c](x.md) [d](README.md#tests) ![e](e.png) [f](Snakefile)\n"
    assert [found.partition(":")[0] for found in broken_links("README.md", text)] == [
        "#two",
        "x.md",
        "README.md#tests",
        "e.png",
    ]
    text = "`algorithms/ppo.py` `algorithms/pop.py` `python -m analysis.verfy x`\n\n|a|\n|-|\n|`tests/no.py`|\n"
    assert len(broken_mentions(text)) == 3


# ---------------------------------------------------------------------------------------------- examples


def yaml_blocks():
    return [(name, b) for name, text in DOCUMENTS.items() for b in blocks(text) if b.language == "yaml"]


def test_an_example_of_yaml_is_marked_or_an_entry_of_a_grid():
    for name, b in yaml_blocks():
        marked = b.marker in (
            *("grid", "minimal", "tuning", "probes", "quality", "estimators"),
            *("claim", "sides", "estimator_claim", "quality_claim", "others", "external", "perturbations"),
        )
        assert marked or b.text.startswith("  "), (name, b.text)


def test_the_example_of_a_grid_is_one(tmp_path):
    (tmp_path / "my_grid.yaml").write_text(block("grid"), encoding="utf-8")
    assert list(load_grid(str(tmp_path / "my_grid.yaml")).algorithms) == ["ppo", "ppo_large_clip"]


def test_every_minimal_grid_is_one(tmp_path):
    minimal = [b.text for _, b in yaml_blocks() if b.marker == "minimal"]
    assert minimal
    for text in minimal:
        assert len(text.splitlines()) <= 6
        (tmp_path / "my_grid.yaml").write_text(text, encoding="utf-8")
        grid = load_grid(str(tmp_path / "my_grid.yaml"))
        assert len(grid.cells()) == len(grid.tasks) * len(grid.algorithms) * len(grid.seeds) >= 4


@pytest.mark.parametrize("marker", ["tuning", "probes", "quality"])
def test_examples_of_tuning_and_probes_are_read(tmp_path, marker):
    data = yaml.safe_load((GRIDS / "default.yaml").read_text(encoding="utf-8"))
    if marker == "quality":
        del data["probes"]  # which are of the same policies
    (tmp_path / "my_grid.yaml").write_text(yaml.safe_dump(data | yaml.safe_load(block(marker))), encoding="utf-8")
    grid = load_grid(str(tmp_path / "my_grid.yaml"))
    assert {study.group for study in grid.studies()} >= ({"mujoco"} if marker == "tuning" else {"classic"})
    if marker != "tuning":
        assert {p.task for p in grid.probes if not p.exact and p.source == "ppo_published"} == {"Hopper-v5"}


def test_the_example_of_estimators_is_read(tmp_path):
    data = {"steps": 100, "tasks": ["CartPole-v1"], "algorithms": ["reinforce"], "seeds": 1, "claims": []}
    (tmp_path / "my_grid.yaml").write_text(yaml.safe_dump(data | yaml.safe_load(block("estimators"))), encoding="utf-8")
    probes = {probe.task: probe for probe in load_grid(str(tmp_path / "my_grid.yaml")).probes}
    assert [place.sigma for place in probes["quadratic"].places] == [0.1, 1]
    assert len(probes["arms"].places) == 2
    assert probes["arms"].counts == {1: 64, 16: 64, 64: 128, 256: 64}


def test_the_example_of_perturbations_is_read(tmp_path):
    task = {"Hopper-v5": {"steps": 100, "random_score": 18.4}}
    data = {"tasks": task, "algorithms": ["ppo"], "seeds": 1, "claims": []} | yaml.safe_load(block("perturbations"))
    (tmp_path / "my_grid.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    found = load_grid(str(tmp_path / "my_grid.yaml")).tasks["Hopper-v5"].perturbations
    assert found == {"mass": (0.5, 2), "friction": (0.5,), "gear": (0.75,), "delay": (1, 2), "noise": (0.05,)}


def test_the_estimator_that_a_document_has_a_reader_write_is_measured(fresh):
    files = written(DOCUMENTS["experiments/README.md"])
    ((path, content),) = files.items()
    assert len(content.splitlines()) <= 30
    (fresh / path).write_text(content, encoding="utf-8")
    data = {"steps": 100, "tasks": ["CartPole-v1"], "algorithms": ["reinforce"], "seeds": 1, "claims": []}
    sizes = {"batches": 8, "batch_size": 4, "batch_sizes": [1, 4]}
    (fresh / "mine.yaml").write_text(yaml.safe_dump(data | {"estimators": sizes}), encoding="utf-8")
    words = ["--grid", "mine.yaml", "--task", "wave", "--seed", "0", "--output", "out"]
    done = run(fresh, "experiments.estimate", *words)
    assert done.returncode == 0, done.stderr
    record = json.loads((fresh / "out" / "probe.json").read_text(encoding="utf-8"))
    (own,) = [entry for entry in record["estimators"] if entry["estimator"] == "normalised"]
    assert own["title"] == "normalised returns"
    assert own["sizes"] == [4]


def entries():
    """Examples of entries of a grid, by their name: (the grid's section, text)."""
    found = {}
    for _, b in yaml_blocks():
        if b.text.startswith("  "):
            ((name, entry),) = yaml.safe_load(b.text).items()
            found[name] = ("tasks" if "steps" in entry else "algorithms", b.text)
    return found


def test_the_examples_of_tasks_are_entries_of_a_grid(tmp_path):
    tasks = {name: text for name, (section, text) in entries().items() if section == "tasks"}
    text = (GRIDS / "default.yaml").read_text(encoding="utf-8")
    text = text.replace("\ntasks:\n", f"\ntasks:\n{''.join(tasks.values())}")
    (tmp_path / "my_grid.yaml").write_text(text, encoding="utf-8")
    grid = load_grid(str(tmp_path / "my_grid.yaml"))
    assert set(grid.tasks) == {*tasks, *load_grid("default").tasks}
    assert [name for name, about in grid.tasks.items() if about.task.variants] == ["Pendulum-v1"]


TINY = """
description: One cell for each algorithm that a document has its reader write.
seeds: [0]
tasks:
  Pendulum-v1: {steps: 4200, random_score: -1234, reference_score: -175, reference_source: a test}
algorithms:
"""


def test_algorithms_that_documents_have_a_reader_write_run(fresh):
    """Each with its grid entry, as they stand there; and they pass the type check of the README's test command."""
    files = {path: code for text in DOCUMENTS.values() for path, code in written(text).items()}
    names = {re.fullmatch(r"algorithms/(\w+)\.py", path)[1] for path in files if path.startswith("algorithms/")}
    given = {name: text for name, (section, text) in entries().items() if section == "algorithms"}
    assert names == set(given) != set()
    for name in names:
        (fresh / "algorithms" / f"{name}.py").write_text(files[f"algorithms/{name}.py"], encoding="utf-8")
    checked = run(fresh, "mypy", *(f"algorithms/{name}.py" for name in names))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (fresh / "tiny.yaml").write_text(TINY + "".join(given.values()), encoding="utf-8")
    for name in names:
        words = f"--grid tiny.yaml --algorithm {name} --task Pendulum-v1 --seed 0 --output out/{name}".split()
        done = run(fresh, "experiments.run", *words)
        assert done.returncode == 0, done.stderr
        assert (fresh / "out" / name / "run.json").is_file()


def test_the_section_that_a_document_has_a_reader_write_is_on_the_page(fresh):
    files = written(DOCUMENTS["analysis/README.md"])
    assert files
    for path, content in files.items():
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        (fresh / path).write_text(content, encoding="utf-8")
    (name,) = {path.split("/")[2] for path in files}
    order = fresh / "analysis" / "sections" / "__init__.py"
    text, n = re.subn(r"(^ORDER\b[^=]*= ?[(\[]\s*)", rf'\1"{name}", ', order.read_text(encoding="utf-8"), flags=re.M)
    assert n == 1
    order.write_text(text, encoding="utf-8")
    write_runs(fresh / "results" / "tiny", write_grid(fresh / "results" / "tiny"))
    for stage in ("tables", "figures", "report"):
        done = run(fresh, f"analysis.{stage}", "--results", "results/tiny")
        assert done.returncode == 0, done.stderr
    for page in ("index.html", "report.md"):
        written_page = (fresh / "results" / "tiny" / "report" / page).read_text(encoding="utf-8")
        assert "Mode actions" in written_page
        assert "In the mean the mode action gains" in written_page
        assert "What the mode action gains" in written_page  # the figure's title
        assert "Mean over runs of the normalised score with mode actions" in written_page  # its caption
        assert {"index.html": '<figure id="figure-mode_gain">', "report.md": "(../figures/mode_gain.svg)"}[
            page
        ] in written_page
        link = {
            "index.html": '<a class="file" href="../tables/mode.csv">',
            "report.md": "[mode.csv](../tables/mode.csv)",
        }
        assert written_page.count(link[page]) == 2  # behind the figure and behind the section
    assert (fresh / "results" / "tiny" / "tables" / "mode.csv").is_file()
    assert (fresh / "results" / "tiny" / "figures" / "mode_gain.svg").is_file()


# --------------------------------------------------------------------------- citation and list of changes


def test_the_citation_file_has_what_its_format_requires():
    """Citation File Format 1.2.0: cff-version, message, title and authors; an author has a name."""
    assert CFF["cff-version"] == "1.2.0"
    assert all(isinstance(CFF[key], str) and CFF[key].strip() for key in ("message", "title"))
    assert CFF["authors"]
    for author in CFF["authors"]:
        assert set(author) == {"name"} or {"family-names", "given-names"} <= set(author)
    assert CFF["type"] in ("software", "dataset")
    assert CFF["version"] == PROJECT["project"]["version"]
    assert CFF["license"] == PROJECT["project"]["license"]


def test_the_citation_file_names_title_and_authors_as_the_report_does(tmp_path):
    write_runs(tmp_path, write_grid(tmp_path))
    page = html.unescape(make_page(tmp_path, ()))
    assert re.search(r"title = \{(.*), grid [^}]*\}", page)[1] == CFF["title"]
    assert re.search(r"author = \{\{?(.*?)\}", page)[1] == " and ".join(a["name"] for a in CFF["authors"])


def test_the_changelog_has_the_kinds_of_keep_a_changelog():
    text = DOCUMENTS[".github/CHANGELOG.md"]
    assert text.startswith("# Changelog\n")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_finding_is_in_the_list_and_is_bash():
    listed = set(re.findall(r"^\| `(\w+\.sh)`", DOCUMENTS["findings/README.md"], re.MULTILINE))
    scripts = sorted((ROOT / "findings").glob("*.sh"))
    assert {script.name for script in scripts} == listed
    for script in scripts:
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        assert not re.search(r"algorithms|experiments|analysis", script.read_text(encoding="utf-8")), script
    assert {path.name for path in (ROOT / "findings").iterdir()} == {"README.md"} | listed
