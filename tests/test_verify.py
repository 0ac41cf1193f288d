"""What `analysis.verify` finds: every changed byte, whatever is missing, and what leads out of the folder.

And that nothing which a stranger has put into a folder is ever executed.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import report, tables, verify
from analysis.problems import write_problems
from analysis.reading import checks as results
from analysis.reading.grid import read_grid
from analysis.reading.tables import write_table
from analysis.sections import FIGURES, TABLES
from experiments import cells, probe, schema, tune
from experiments.checks import GridError, read_yaml
from experiments.record import write_record
from tests import analysis_fixtures
from tests.analysis_fixtures import CARTPOLE, EXACT, Trial, add_digest, add_digests, edit_json, write_grid

RUN = "runs/CartPole-v1/ppo/0"
STUDY = "tuning/ppo/all"
PROBE = analysis_fixtures.probe(EXACT, 0.0, source="initialisation")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four runs, a study, a probe and a benchmark, tables and a page; the figures are empty."""
    folder = tmp_path_factory.mktemp("results") / "made"
    study = analysis_fixtures.study("ppo", "all", {"CartPole-v1": 1000})
    grid = write_grid(folder, tasks={"CartPole-v1": CARTPOLE}, studies=[study], probes=[PROBE])
    trials = [
        Trial({"policy_learning_rate": 3e-4, "gamma": 0.99}, [0.6, 0.6])
    ] * 4  # of equals the untuned settings win
    analysis_fixtures.write_study(folder, grid, study, trials, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    analysis_fixtures.write_runs(folder, grid, episodes=50)
    analysis_fixtures.write_probe(folder, grid, PROBE, batches=8)
    analysis_fixtures.write_benchmark(folder, {"CartPole-v1": {"gymnasium": [100.0]}})
    write_page(folder)
    return folder


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The same, as this version writes it: with digests."""
    folder = tmp_path_factory.mktemp("results") / "whole"
    shutil.copytree(made, folder)
    add_digests(folder)
    report.write_report(read_grid(folder))
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "copy")


def write_page(folder):
    grid = read_grid(folder)
    for name, table in tables.make_tables(grid).items():
        write_table(folder, name, table)
    for name in FIGURES:
        results.write_whole(folder / f"figures/{name}.svg", b'<svg width="1pt" height="1pt"/>')
        results.write_whole(folder / f"figures/{name}.png", b"an image")
    report.write_report(grid)


def faults(folder, **options):
    return [fault for check in verify.verify(folder, **options) for fault in check.faults]


def notes(folder):
    return [note for check in verify.verify(folder) for note in check.notes]


def only_fault(folder, **options):
    """The one sentence about a folder with one fault."""
    found = faults(folder, **options)
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


def status(folder, capsys, *words):
    """Exit status and what was printed."""
    with pytest.raises(SystemExit) as end:
        verify.run_command(lambda: verify.main([str(folder), *words]), "analysis.verify")
    return end.value.code, capsys.readouterr()


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_whole_folder_is_said_to_be_whole(whole, capsys):
    code, said = status(whole, capsys)
    assert code == 0
    assert said.out.splitlines()[-1] == "Whole and complete."
    assert "FAULT" not in said.out
    for words in (
        "4 of 4; digests of 12 files compared",
        "1 of 1; digests of 4 files",
        "commit 0123456789",
        "no other",
    ):
        assert words in said.out


def test_tables_and_page_are_made_once_more_where_that_is_asked_for(whole, copy):
    assert faults(whole, recompute=True) == []
    path = copy / "tables" / "summary.csv"
    path.write_text(path.read_text().replace("CartPole-v1,ppo,2,2,0,", "CartPole-v1,ppo,2,2,1,"))
    report.write_report(read_grid(copy))  # so that the page is of the wrong table, and the digests are right
    assert faults(copy) == []
    assert f"{path}: not what this version makes of the results" in only_fault(copy, recompute=True)


def test_every_changed_byte_is_found(copy):
    """In a file's middle, and of a record at its beginning and end too; but on logs nothing rests."""
    (copy / "logs").mkdir()
    (copy / "logs/tables.log").write_text("whatever")
    pictures = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")][2:]
    paths = [p for p in copy.rglob("*") if p.is_file() and p.relative_to(copy).as_posix() not in pictures]
    assert len(paths) > 40
    missed = []
    for path in paths:
        content = path.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1} if path.suffix == ".json" else {len(content) // 2}:
            flip(path, place)
            if not faults(copy):
                missed.append((path.relative_to(copy).as_posix(), place))
            path.write_bytes(content)
    assert {path for path, _ in missed} == {"logs/tables.log"}


def test_every_missing_file_is_found(copy):
    paths = [p for p in copy.rglob("*") if p.is_file() and p.parent.name != "figures"]
    for path in [*paths, copy / "figures/speed.png"]:
        content = path.read_bytes()
        path.unlink()
        assert faults(copy), path
        path.write_bytes(content)
    assert faults(copy) == []


def test_a_fault_names_the_file_and_what_to_do(copy, capsys):
    flip(copy / RUN / "checkpoints/1.npz", 30)
    sentence = only_fault(copy)
    assert sentence.startswith(f"{copy / RUN}/checkpoints/1.npz: not the file that {copy / RUN}/run.json describes")
    assert sentence.endswith(f"delete {copy / RUN}, and snakemake makes it again.")
    code, said = status(copy, capsys)
    assert code == 1
    assert f"  FAULT: {sentence}" in said.out
    assert said.out.endswith("1 fault.\n")


def test_a_missing_run_is_a_fault_and_named(copy):
    shutil.rmtree(copy / RUN)
    assert only_fault(copy) == f"1 missing: {RUN}; snakemake makes what is missing."


def test_a_run_that_was_made_again_is_not_that_of_the_tables(copy):
    path = copy / RUN / "run.json"
    run = json.loads(path.read_text())
    run["seconds"]["total"] += 0.001
    add_digest(path, run)
    assert "tables/ledger.csv: not made of the runs in runs/CartPole-v1/ppo/0; delete it" in only_fault(copy)


def test_figures_that_the_page_does_not_show_are_found(copy):
    (copy / "figures/speed.svg").write_text("<svg/>")
    assert f"{copy}/figures/speed.svg: not the file that {copy}/report/files.json describes" in only_fault(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 5}, "steps is 5, but"),
        ({"cell": {"grid": "made", "algorithm": "ppo", "task": "CartPole-v1", "seed": 1}}, "cell.seed is 1"),
        ({"evaluation": {"sampled": {"returns": [1.0], "lengths": []}, "mode": {}}}, "mode has no key 'returns'"),
        ({"evaluation": {k: {"returns": [1.0], "lengths": [1, 2]} for k in ("sampled", "mode")}}, "1 returns and 2 le"),
        ({"evaluation": {k: {"returns": [1.0], "lengths": [1]} for k in ("sampled", "mode")}}, "on 1 and 1 episodes"),
        ({"status": "diverged", "diverged_at": 3}, "diverged, but it has an evaluation"),
        ({"versions": None}, "has versions = None"),
    ],
)
def test_a_run_that_is_not_what_was_asked_for_is_found(copy, change, said):
    path = copy / RUN / "run.json"
    add_digest(path, {**json.loads(path.read_text()), **change})
    assert said in only_fault(copy)


def test_a_folder_from_before_there_were_digests_is_read_and_said_to_be_without(made, tmp_path, capsys):
    copy = shutil.copytree(made, tmp_path / "copy")
    (copy / "report/files.json").unlink()
    for path in copy.rglob("*.json"):
        about = json.loads(path.read_text())
        for key in ("files", "sha256"):
            about.pop(key, None)
        path.write_text(json.dumps(about))
    code, said = status(copy, capsys)
    assert code == 0
    assert "4 without digests" in said.out
    assert "python -m analysis.report --results" in said.out
    path = copy / RUN / "episodes.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert f"{path}: 49 episodes, but run.json counts 50" in only_fault(copy)


def test_a_section_that_is_newer_than_the_page_is_no_fault(copy, capsys):
    """Tables and figures that are declared, but neither there nor described."""
    gone = ("tables/scores.csv", "tables/summary.csv", "figures/final_scores.svg", "figures/speed.svg")
    path = copy / "report/files.json"
    described = json.loads(path.read_text())
    for name in gone:
        (copy / name).unlink()
        del described["files"][name]
    path.write_text(json.dumps(described))
    code, said = status(copy, capsys)
    assert code == 0
    assert f"note: {copy}: made before the section “Every run” existed; snakemake makes it.\n" in said.out
    assert (
        f"note: {copy}: made before figures/speed.svg of the section “Speed” existed; snakemake makes it.\n" in said.out
    )
    assert f"tables     {len(TABLES) - 2}, of these runs" in said.out


def test_of_what_a_section_could_not_make_the_reason_is_said(copy):
    """Also where the page is an older one, which describes it, and where it is the ledger."""
    for kind, names in (("tables", ("curves.csv", "ledger.csv")), ("figures", ("speed.svg", "speed.png"))):
        for name in names:
            (copy / kind / name).unlink()
        write_problems(copy / kind, {name.partition(".")[0]: "Nobody made it." for name in names})
    assert faults(copy) == [
        *(f"{copy}/tables: {name} could not be made. Nobody made it." for name in ("curves", "ledger")),
        f"{copy}/figures: speed could not be made. Nobody made it.",
    ]


def test_a_journal_may_grow_and_not_change(copy):
    path = copy / STUDY / "journal.log"
    path.write_text(path.read_text() + '{"op_code": 1}\n')
    assert faults(copy) == []
    path.write_text('{"op_code": 1}\n{"op_code": 0}\n')
    assert f"{path}: not the file" in only_fault(copy)


def test_commits_versions_and_machines_that_differ_are_listed(copy):
    path = copy / RUN / "run.json"
    run = json.loads(path.read_text())
    run |= {"commit": "f" * 40, "uncommitted_changes": True, "versions": {**run["versions"], "torch": "2.14.0"}}
    add_digest(path, run)
    assert faults(copy) == []
    line = next(check.line for check in verify.verify(copy) if check.name == "made by")
    assert line == "2 different values of commit: 0123456789 (6), ffffffffff (1)"
    assert notes(copy) == [
        "1 of 7 were made with uncommitted changes.",
        "2 different values of torch: 2.13.0 (3), 2.14.0 (1).",
    ]


def test_what_nothing_asked_for_is_listed_and_no_fault(copy):
    shutil.copytree(copy / RUN, copy / "runs/CartPole-v1/ppo/7")
    shutil.copytree(copy / RUN, copy / "runs/CartPole-v1/ppo/.1.unfinished")
    (copy / RUN / "notes.txt").write_text("mine")
    assert faults(copy) == []
    killed, others = notes(copy)
    assert "killed" in killed
    assert killed.endswith(": runs/CartPole-v1/ppo/.1.unfinished.")
    assert "runs/CartPole-v1/ppo/7 (4 files)" in others
    assert f"{RUN}/notes.txt (1 file)" in others


def test_a_mistake_in_the_command_is_no_fault_of_the_folder(tmp_path, capsys):
    code, said = status(tmp_path / "nothing", capsys)
    assert code == 2
    assert "no such folder" in said.err
    assert status(tmp_path, capsys)[0] == 1  # a folder, and grid.json is missing


@pytest.mark.parametrize(
    ("file", "again"),
    [("updates.csv", "delete it, and the next snakemake"), ("checkpoints/1.npz", "delete .*/ppo/0, and snakemake")],
)
def test_a_cut_off_file_is_found_whenever_the_run_is_read(copy, file, again):
    """What is an output of a rule is made again alone; a study's folder, for one, has its journal in it."""
    path = copy / RUN / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(results.ResultsError, match=rf"{file}: [\d,]+ bytes, but .*; {again}"):
        tables.make_tables(read_grid(copy))


class Trap:
    """What, unpickled, makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_trap_would_spring(tmp_path):
    np.save(tmp_path / "trap.npy", np.array([Trap(tmp_path / "sprung")]))
    np.load(tmp_path / "trap.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", [f"{RUN}/checkpoints/1.npz", f"{PROBE['directory']}/grams.npz"])
@pytest.mark.parametrize("digests", [True, False])
def test_arrays_that_would_execute_something_do_not(copy, name, digests, tmp_path):
    sprung = tmp_path / "sprung"
    with np.load(copy / name) as arrays:
        names = list(arrays)
    np.savez(copy / name, **dict.fromkeys(names, np.array([Trap(sprung)])))
    record = next(folder for folder in (copy / name).parents if any(folder.glob("*.json")))
    record = next(record.glob("*.json"))
    about = json.loads(record.read_text())
    if digests:
        add_digest(record, about)
    else:
        record.write_text(json.dumps({key: about[key] for key in about if key not in ("files", "sha256")}))
    found = faults(copy, recompute=True)
    assert not sprung.exists()
    assert ("grams" in name) == any("Object arrays cannot be loaded" in fault for fault in found)


def stranger(folder, checkpoint="checkpoints/1.npz"):
    """A run that a probe is to read."""
    cell = {"algorithm": "ppo", "task": "CartPole-v1", "seed": 0}
    (folder / "checkpoints").mkdir(parents=True)
    about = {"cell": cell, "settings": {}, "checkpoints": [{"fraction": 1, "step": 1, "file": checkpoint}]}
    (folder / "run.json").write_text(json.dumps(about))
    return cells.GradientProbe("CartPole-v1", "ppo", 0, 1, batch_size=1, fit_episodes=2, batches=16, gae_lambdas=())


def test_a_checkpoint_that_would_execute_something_does_not(tmp_path):
    asked = stranger(tmp_path / "run")
    np.savez(tmp_path / "run/checkpoints/1.npz", weight=np.array([Trap(tmp_path / "sprung")]))
    grid = probe.load_grid("smoke")
    with pytest.raises(probe.InvalidCheckpoint, match="allow_pickle=False"):
        probe.trained(grid, asked, tmp_path / "run")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("file", ["../elsewhere.npz", "/etc/hostname", "checkpoints/link.npz"])
def test_a_checkpoint_elsewhere_is_not_read(file, tmp_path):
    asked = stranger(tmp_path / "run", file)
    (tmp_path / "run/checkpoints/link.npz").symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(probe.InvalidCheckpoint, match="is not in"):
        probe.find_checkpoint(tmp_path / "run", asked)


def test_a_small_archive_of_much_is_not_unpacked(copy):
    path = copy / PROBE["directory"] / "grams.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("return 0.99/1.npy", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    add_digest(path.with_name("probe.json"), json.loads(path.with_name("probe.json").read_text()))
    assert any("it is compressed" in fault for fault in faults(copy))


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "runs/../../elsewhere"])
@pytest.mark.parametrize("kind", ["cells", "probes", "studies"])
def test_a_grid_whose_folders_are_elsewhere_is_refused(kind, name, copy):
    about = json.loads((copy / "grid.json").read_text())
    about[kind][0]["directory"] = name
    about["cells"] = [{**cell, "tuned": None} for cell in about["cells"]] if kind == "studies" else about["cells"]
    write_record(copy / "grid.json", about)
    with pytest.raises(results.ResultsError, match="leads out of"):
        read_grid(copy)
    assert "leads out of" in only_fault(copy)


@pytest.mark.parametrize("name", ["../../../../elsewhere", "/etc/hostname", "checkpoints/../../1/run.json", "\0"])
@pytest.mark.parametrize("key", ["files", "checkpoints"])
def test_a_run_whose_files_are_elsewhere_is_refused(key, name, copy):
    path = copy / RUN / "run.json"
    about = json.loads(path.read_text())
    files = {**about["files"], name: {"bytes": 1, "sha256": "0" * 64}}
    about |= {"files": files} if key == "files" else {"checkpoints": [{"fraction": 1, "step": 1, "file": name}]}
    path.write_text(json.dumps(about))
    assert any(str(path) in fault for fault in faults(copy))
    assert not any("elsewhere: " in fault or "hostname: " in fault for fault in faults(copy))


@pytest.mark.parametrize("name", ["tables", "runs", f"{RUN}/episodes.csv", f"{STUDY}/journal.log"])
def test_links_are_faults_and_folders_that_are_links_not_written_to(name, copy, tmp_path):
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    assert f"{copy / name}: a link to {tmp_path}/elsewhere" in only_fault(copy)
    if "/" not in name:
        with pytest.raises(results.ResultsError, match="leads out of"):
            read_grid(copy)


def test_a_device_is_not_read(copy):
    os.mkfifo(copy / "runs/pipe")
    assert "neither a file nor a folder" in only_fault(copy)


@pytest.mark.parametrize("own", ["", "0", "\ud800", "0" * 64])
def test_a_record_whose_digest_is_none_is_refused(own, copy):
    edit_json(copy / RUN / "run.json", sha256=own)
    assert f"{copy / RUN}/run.json: changed after it was written" in only_fault(copy)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, '{"a": NaN', "\x00", '"text"', "[]"])
def test_json_of_whatever_kind_is_refused_with_a_sentence(text, copy):
    (copy / RUN / "run.json").write_text(text)
    assert str(copy / RUN / "run.json") in " ".join(faults(copy))


def test_what_a_terminal_would_obey_is_not_printed(copy, capsys):
    edit_json(copy / RUN / "run.json", commit="\x1b]0;title\x07", versions={"\x1b[2J": "1"})
    _, said = status(copy, capsys)
    assert "?]0;title" in said.out
    assert "\x1b" not in said.out


def test_optuna_reads_journals_of_files_without_unpickling(tmp_path, monkeypatch):
    """It unpickles snapshots, which only other storages have."""
    assert not hasattr(JournalFileBackend, "load_snapshot")
    monkeypatch.setattr("pickle.loads", lambda content: pytest.fail("unpickled"))
    lines = [
        {"op_code": 0, "worker_id": "w", "study_name": "__import__('os').mkdir('sprung')", "directions": [2]},
        {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"code": "!!python/object/apply:os.mkdir [a]"}},
        {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": None}
        | {"params": {"x": 0}, "distributions": {"x": '{"name": "os.system", "attributes": {"command": "mkdir a"}}'}},
    ]
    journal = tmp_path / "journal.log"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(tune.InvalidStudy, match=r"Optuna cannot read it .*Unknown distribution class"):
        tune.open_journal(journal)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert isinstance(tune.open_journal(journal), JournalStorage)
    assert {path.name for path in tmp_path.iterdir()} == {"journal.log", schema.LOCKS}


def test_a_journal_that_is_a_link_is_neither_read_nor_cut_off(tmp_path):
    (tmp_path / "mine.json").write_text('{"precious": 1}')  # which looks like a last line that was cut off
    (tmp_path / "study").mkdir()
    (tmp_path / "study/journal.log").symlink_to(tmp_path / "mine.json")
    with pytest.raises(tune.InvalidStudy, match="it is a link"):
        tune.open_journal(tmp_path / "study/journal.log")
    assert (tmp_path / "mine.json").read_text() == '{"precious": 1}'


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [sprung]", "!!python/name:os.system"])
def test_yaml_that_would_execute_something_does_not(tag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(f"description: {tag}\n")
    with pytest.raises(GridError, match="could not determine a constructor"):
        read_yaml(tmp_path / "grid.yaml", "grid.yaml")
    assert not Path("sprung").exists()


def test_the_page_shows_html_in_a_strangers_texts_as_text(copy):
    trap = "<script>alert(1)</script><img src=x onerror=alert(1)>"

    def spoil(value, keys=("title", "equation", "summary", "description", "grid_file", "reference_source", "cpu")):
        if isinstance(value, dict):
            return {key: trap if key in keys else spoil(entry) for key, entry in value.items()}
        return [spoil(entry) for entry in value] if isinstance(value, list) else value

    for path in (copy / "grid.json", *copy.glob("runs/*/*/*/run.json"), copy / "speed/benchmark.json"):
        add_digest(path, spoil(json.loads(path.read_text())))
    write_page(copy)
    page = (copy / "report/index.html").read_text()
    assert page.count("&lt;script&gt;alert(1)") > 5
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
