"""The documents of the project, and what is wrong with them: a command, a link or a path that does not exist.

Nothing here runs a command of a document. A command line of the project is parsed by its own parser, Snakemake's by
Snakemake's; names of grids, algorithms, tasks, rules, extras and files are looked up.
"""

import argparse
import importlib.util
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import gymnasium
import pytest
from markdown_it import MarkdownIt
from snakemake.cli import parse_args as parse_snakemake

from algorithms.core.checkout import long_name
from experiments.checks import GridError
from experiments.command import MISTAKES
from experiments.contestants import chosen
from experiments.grid import load_grid
from experiments.parts import part_of
from experiments.speed import default_tasks

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("algorithms", "experiments", "analysis", "results", "findings", ".github")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *(p for folder in FOLDERS for p in sorted((ROOT / folder).glob("*.md"))))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RULES = re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(encoding="utf-8"), re.MULTILINE)
SBATCH = ("--cpus-per-task", "--mem", "--time", "--wrap")  # Slurm need not be installed where the documents are checked
TOOLS = ("ruff", "mypy", "pre-commit", "pytest")
HOST = "https://"
A_PATH = re.compile(r"(?:algorithms|experiments|analysis|tests)/[\w./*-]+|\.ci/run|Snakefile|pyproject\.toml")


class Wrong(Exception):
    """What a document says and what is not so."""


class Block(NamedTuple):
    """A fenced block of code: its language, its text, and the comment `<!-- marker -->` above it, if there is one."""

    language: str
    text: str
    marker: str | None


def blocks(text: str) -> list[Block]:
    """The blocks of code of a document."""
    found, marker = [], None
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            found.append(Block(token.info.strip(), token.content, marker))
        comment = re.fullmatch(r"<!-- (\w+) -->\s*", token.content) if token.type == "html_block" else None
        marker = comment[1] if comment else None
    return found


def block(marker: str) -> str:
    """The text of the one block with a marker, in whichever document it stands."""
    (found,) = [b.text for text in DOCUMENTS.values() for b in blocks(text) if b.marker == marker]
    return found


def written(text: str) -> dict[str, str]:
    """The files that a document has its reader write: a path in backticks and a colon, then the block of code."""
    return dict(re.findall(r"`([\w./-]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL))


# ------------------------------------------------------------------------------------------------ commands


def commands(shell: str) -> Iterator[list[str]]:
    """The commands of a block of shell, as words; what connects them (`&&`) and comments are left out."""
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>()")
        lexer.whitespace_split = True
        command = []
        for word in lexer:
            if word == "&&":
                yield command
                command = []
            elif set(word) <= set("&|;<>()"):
                raise Wrong(f"{line}: {word!r} is not expected in a document's command")
            else:
                command.append(word)
        if command:
            yield command


def check_command(words: list[str]) -> None:
    """Raise Wrong, with a sentence, where a command would be refused."""
    match words:
        case ["python" | "python3", "-m", "venv", _]:
            pass
        case ["python", "-m", module, *arguments]:
            check_module(module, arguments)
        case ["snakemake", *arguments]:
            check_snakemake(arguments)
        case ["pip", "install", torch, "--index-url", "https://download.pytorch.org/whl/cpu"]:
            expect(torch in PROJECT["project"]["dependencies"], f"{torch} is not the Torch of pyproject.toml")
        case ["pip", "install", "-e", what]:
            check_extras(what)
        case [".", path]:
            expect(path == ".venv/bin/activate", f"{path} is made by no command")
        case ["cp", "-r", source, target]:
            check_results(source)
            expect(target == f"{source}_before", f"{target}: expected a name that says it is from before")
        case ["sbatch", *arguments]:
            check_sbatch(arguments)
        case [tool, *arguments] if tool in TOOLS:
            check_tool(tool, arguments)
        case _:
            raise Wrong(f"{shlex.join(words)}: no command that the documents' test knows")


def check_commands(shell: str) -> None:
    """The same for all commands of a block of shell."""
    for command in commands(shell):
        check_command(command)


def expect(condition: object, sentence: str) -> None:
    """Raise Wrong with the sentence unless the condition holds."""
    if not condition:
        raise Wrong(sentence)


class Parsed(BaseException):
    """The arguments of a command line, as soon as they are parsed: nothing else of the command is run."""


def arguments_of(module: str, arguments: list[str]) -> argparse.Namespace:
    """What the module's own parser makes of the arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, given=None, namespace=None):
        raise Parsed(parse(parser, given, namespace))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)  # runpy's, of the tests' imports
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            runpy.run_module(long_name(module), run_name="__main__", alter_sys=True)
        except Parsed as parsed:
            return parsed.args[0]
        except SystemExit as refused:
            raise Wrong(f"python -m {module} {shlex.join(arguments)}: refused, status {refused.code}") from refused
        except ImportError as error:
            raise Wrong(f"python -m {module}: {error}") from error
    raise Wrong(f"python -m {module} takes no arguments")


def check_module(module: str, arguments: list[str]) -> None:
    """A command line of the project: its flags, and the names of grid, algorithm, task, group and folder."""
    expect(module.startswith(("experiments.", "analysis.")), f"{module} is no command line of the project")
    check_there(module)
    given = vars(arguments_of(module, arguments))
    try:
        if "grid" in given:
            check_of_grid(given)
        for task in given.get("tasks") or () if module == "experiments.random_score" else ():
            gymnasium.spec(task)
    except (*MISTAKES, gymnasium.error.Error) as error:
        raise Wrong(f"{module} {shlex.join(arguments)}: {error}") from error
    if module == "experiments.speed":
        strangers = set(given["tasks"]) - set(load_grid("default").tasks)
        expect(not strangers, f"{sorted(strangers)} are no tasks of the default grid")
    for name in ("results", "a", "b"):
        if name in given:
            check_results(given[name].as_posix())


def check_there(module: str) -> None:
    """A module that can be run with `python -m`."""
    try:
        there = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        there = None
    expect(there, f"python -m {module}: there is no such module")


def check_of_grid(given: dict) -> None:
    """What a command line says of a grid is there: a cell, a study, or a probe, and the folder that it names."""
    grid = load_grid(given["grid"])
    results = f"results/{grid.name}"
    if "group" in given:
        study = grid.study(given["algorithm"], given["group"])
        expect(
            given["output"].as_posix() == f"{results}/{study.directory}", f"{given['output']}: not the study's folder"
        )
    elif "fraction" in given:
        of_source = {"measures": "quality", "source": given["source"]} if "source" in given else {}
        probe = grid.probe(given["task"], given["seed"], given["fraction"], **of_source)
        run = None if probe.exact else f"{results}/{grid.cell(probe.source, probe.task, probe.seed).directory}"
        expect((given["run"] and given["run"].as_posix()) == run, f"--run {given['run']}: the probe is of {run}")
    elif "algorithm" in given:
        cell = grid.cell(given["algorithm"], given["task"], given["seed"])
        settings = {name: yaml_value(value) for name, value in (pair.split("=", 1) for pair in given["set"])}
        grid.resolved(cell.algorithm, cell.task, settings)
        best = cell.tuned and f"{results}/{cell.tuned}/best.json"
        expect(given["tuned"] is None or given["tuned"].as_posix() == best, f"--tuned {given['tuned']}: it is {best}")


def yaml_value(text: str) -> object:
    """A value of `--set NAME=VALUE`."""
    try:
        return float(text) if not text.isdigit() else int(text)
    except ValueError:
        return {"true": True, "false": False}.get(text, text)


def check_results(folder: str) -> None:
    """A results folder of a shipped grid, or a copy of one from before."""
    name = re.fullmatch(r"results/(\w+?)(_before)?", folder)
    expect(name and name[1] in shipped(), f"{folder}: no results folder of a shipped grid; there are {shipped()}")


@cache
def shipped() -> list[str]:
    """The names of the grids that the project has."""
    return sorted(path.stem for path in (ROOT / "experiments" / "grids").glob("*.yaml"))


def check_snakemake(arguments: list[str]) -> None:
    """Snakemake's flags, the grid, the profile, and the rules that are asked for."""
    profile = dict(zip(arguments, [*arguments[1:], ""], strict=True)).get("--workflow-profile")
    expect(profile is None or (ROOT / profile / "config.yaml").is_file(), f"{profile}: no profile")
    try:
        _, given = parse_snakemake(arguments)
    except SystemExit as refused:
        raise Wrong(f"snakemake {shlex.join(arguments)}: refused") from refused
    rules = set(given.targets) | ({given.batch.rulename} if given.batch else set())
    expect(rules <= set(RULES), f"{sorted(rules - set(RULES))}: no rules; there are {RULES}")
    for pair in given.config or ():
        key, _, name = pair.partition("=")
        if key == "base":
            continue  # a checkout of the reader's
        if key == "only":
            grid = next((value for pair in given.config if (value := pair.removeprefix("grid=")) != pair), "default")
            try:
                part_of(load_grid(grid), name)
            except GridError as error:
                raise Wrong(f"--config {pair}: {error}") from error
            continue
        if key in ("tasks", "contestants"):
            check = {"tasks": default_tasks, "contestants": partial(chosen, base=False)}[key]
            try:
                check(name.split(","))
            except GridError as error:
                raise Wrong(f"--config {pair}: {error}") from error
            continue
        expect(key == "grid", f"--config {pair}: expected grid=")
        expect(name in shipped() or re.fullmatch(r"my_\w+\.yaml", name), f"{pair}: no grid; there are {shipped()}")


def check_extras(what: str) -> None:
    """`.` or `.[extra]`, as pyproject.toml has them."""
    name = re.fullmatch(r"\.(?:\[(\w+)\])?", what)
    extras = PROJECT["project"]["optional-dependencies"]
    expect(name and (name[1] is None or name[1] in extras), f"pip install -e {what}: the extras are {sorted(extras)}")


def check_sbatch(arguments: list[str]) -> None:
    """The flags that the documents use, and the command that is wrapped."""
    words = [
        word for argument in arguments for word in (argument.split("=", 1) if argument[:2] == "--" else [argument])
    ]
    flags = [word for word in words if word.startswith("--")]
    expect(set(flags) <= set(SBATCH) and "--wrap" in flags, f"sbatch {flags}: expected {SBATCH}")
    check_commands(words[words.index("--wrap") + 1])


def check_tool(tool: str, arguments: list[str]) -> None:
    """A tool of the extra `test`: its subcommand and flags by its own help, paths and markers by the project."""
    subcommand = arguments[:1] if tool in ("ruff", "pre-commit") else []
    text = help_of(tool, *subcommand)
    markers = [marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
    rest = iter(arguments[len(subcommand) :])
    for word in rest:
        if word == "-m":
            marker = next(rest)
            expect(marker in markers, f"pytest -m {marker}: the markers are {markers}")
        elif word.startswith("-"):
            expect(re.search(rf"(?<![\w-]){word}(?![\w-])", text), f"{tool} has no {word}")
            if word in ("-n", "--dist"):
                next(rest)
        else:
            expect((ROOT / word).exists(), f"{tool} {word}: no such path")


@cache
def help_of(tool: str, *subcommand: str) -> str:
    """What a tool says with --help."""
    program = shutil.which(tool, path=f"{Path(sys.executable).parent}") or shutil.which(tool)
    expect(program, f"{tool} is not installed; pip install -e '.[test]' installs it")
    done = subprocess.run([program, *subcommand, "--help"], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"{tool} {' '.join(subcommand)}: {done.stderr}")
    return done.stdout


# --------------------------------------------------------------------------------------- links and paths


def slug(heading: str) -> str:
    """The name by which a code host links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(text: str) -> set[str]:
    """The names of all headings of a document."""
    tokens = MarkdownIt().parse(text)
    pairs = pairwise(tokens)
    return {
        slug("".join(c.content for c in second.children)) for first, second in pairs if first.type == "heading_open"
    }


def inline(text: str) -> Iterator:
    """The tokens within the paragraphs, headings and tables of a document."""
    for token in MarkdownIt().enable("table").parse(text):
        yield from token.children or ()


def broken_links(name: str, text: str) -> list[str]:
    """The links and images of a document that lead to no file or to no heading; `name` is the document's path."""
    found = []
    for token in inline(text):
        target = token.attrGet("href") or token.attrGet("src")
        if not target or str(target).startswith(HOST):
            continue
        file, _, heading = str(target).partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        if not path.exists():
            found.append(f"{target}: no such file")
        elif heading and heading not in headings(text if not file else path.read_text(encoding="utf-8")):
            found.append(f"{target}: no such heading")
    return found


def broken_mentions(text: str) -> list[str]:
    """Paths and modules of the project, in backticks, that are not there; a document's own examples are left out."""
    own = written(text)
    found = []
    for token in inline(text):
        if token.type != "code_inline":
            continue
        mention = token.content
        if A_PATH.fullmatch(mention) and not any(path.startswith(mention) for path in own):
            if not list(ROOT.glob(mention)):
                found.append(f"{mention}: no such path")
        elif module := re.match(r"python -m ([\w.]+)", mention):
            try:
                check_there(module[1])
            except Wrong as wrong:
                found.append(str(wrong))
    return found
