"""Results of different code of a task are not averaged, compared or certified."""

import json
import shutil
import sys
from pathlib import Path

import gymnasium
import pytest

from analysis.compare.pairs import code_changes, read_side
from analysis.reading import sources as results
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.reading.task_code import check_task_code, code_of_tasks, edited_since
from analysis.verify import verify
from experiments.sources import task_code
from tests import analysis_fixtures
from tests.analysis_fixtures import CARTPOLE, Trial, add_digest, write_grid

CODE = {"gymnasium": "1.4.0", "my_task": {"my_task.py": "0" * 16}}
EDITED = {"gymnasium": "1.4.0", "my_task": {"my_task.py": "1" * 16}}


def test_runs_studies_and_probes_of_a_task_are_of_one_code():
    run = Path("run.json"), {"cell": {"task": "A-v0"}, "task_code": CODE}
    study = Path("study.json"), {"tasks": {"A-v0": {"task_code": CODE}, "B-v0": {"task_code": EDITED}}}
    probe = Path("probe.json"), {"probe": {"task": "A-v0"}, "task_code": CODE}
    earlier = Path("run.json"), {"cell": {"task": "A-v0"}}
    check_task_code([made for record in (run, study, probe, earlier) for made in code_of_tasks(*record)])
    study[1]["tasks"]["A-v0"]["task_code"] = probe[1]["task_code"] = EDITED
    for record in (study, probe):
        with pytest.raises(
            ResultsError, match=r"of A-v0, task_code has my_task.my_task.py 1{16}, and run.json has 0{16}"
        ):
            check_task_code([made for some in (run, record) for made in code_of_tasks(*some)])


def test_the_record_of_a_tasks_code_names_no_folder_of_a_machine(tmp_path, monkeypatch):
    """The same files in two folders are the same code."""
    records = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a_copied_task.py").write_text("import a_copied_model\n" + TASK)
        (folder / "a_copied_model.py").write_text("GRAVITY = 9.8\n")
        with monkeypatch.context() as place:
            place.syspath_prepend(folder)
            for module in ("a_copied_task", "a_copied_model"):
                place.delitem(sys.modules, module, raising=False)
            place.delitem(gymnasium.registry, "Copied-v0", raising=False)
            gymnasium.make("a_copied_task:Copied-v0").close()
            task_code.cache_clear()
            records.append(task_code("a_copied_task:Copied-v0").record())
    assert records[0] == records[1]
    assert records[0]["a_copied_task"].keys() == {"a_copied_task.py", "a_copied_model.py"}


TASK = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Copied(CartPoleEnv):
    pass

gymnasium.register("Copied-v0", Copied, max_episode_steps=9)
"""


def test_a_file_that_was_edited_since_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "an_edited_task.py"
    file.write_text("REWARD = 1\n")
    gymnasium.register("Edited-v0", "an_edited_task:Edited")
    code = task_code("Edited-v0").record()
    assert list(edited_since([(Path("run.json"), "Edited-v0", code)])) == []
    file.write_text("REWARD = 2\n")
    (said,) = edited_since([(Path("run.json"), "Edited-v0", code), (Path("run.json"), "Edited-v0", CODE)])
    assert said.startswith(f"{file}: edited since 1 of the results were made with it, run.json for example")


PROBE = analysis_fixtures.probe("CartPole-v1")
FILES = {
    "run": "runs/CartPole-v1/ppo/0/run.json",
    "study": "tuning/ppo/all/study.json",
    "probe": f"{PROBE['directory']}/probe.json",
}


@pytest.fixture
def folder(tmp_path):
    """Two runs, a study and a probe, whose records say what their task was made of."""
    study = analysis_fixtures.study("ppo", "all", {"CartPole-v1": 1000})
    grid = write_grid(tmp_path, tasks={"CartPole-v1": CARTPOLE}, studies=[study], probes=[PROBE])
    trials = [Trial({"policy_learning_rate": 3e-4, "gamma": 0.99}, [0.6, 0.6])] * 4
    analysis_fixtures.write_study(tmp_path, grid, study, trials, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    analysis_fixtures.write_runs(tmp_path, grid, episodes=50)
    analysis_fixtures.write_probe(tmp_path, grid, PROBE, batches=8)
    for path in (*tmp_path.glob("runs/*/*/*/run.json"), tmp_path / FILES["study"], tmp_path / FILES["probe"]):
        of_another_code(path, CODE)
    return tmp_path


def of_another_code(path, code):
    about = json.loads(path.read_text())
    of_task = about["tasks"]["CartPole-v1"] if path.name == "study.json" else about
    of_task["task_code"] = code
    add_digest(path, about)


def tasks_of(folder):
    return next(check.faults for check in verify(folder) if check.name == "tasks")


def read(folder):
    grid = read_grid(folder)
    return results.jobs(grid, results.runs(grid, results.states(grid)))


@pytest.mark.parametrize("kind", FILES)
def test_tables_and_verify_refuse_a_result_of_other_code(kind, folder):
    read(folder)
    assert tasks_of(folder) == []
    of_another_code(folder / FILES[kind], EDITED)
    (fault,) = tasks_of(folder)
    assert "of CartPole-v1, task_code has my_task.my_task.py" in fault
    with pytest.raises(ResultsError, match=r"my_task\.my_task\.py"):
        read(folder)


def test_compare_says_that_a_task_is_of_other_code_and_refuses_a_folder_of_two_codes(folder, tmp_path_factory):
    other = Path(shutil.copytree(folder, tmp_path_factory.mktemp("other") / "results"))
    assert code_changes(read_side(folder), read_side(other)) == []
    of_another_code(other / FILES["run"], EDITED)
    with pytest.raises(ResultsError, match="neither averaged nor compared"):
        read_side(other)
    for path in other.glob("runs/*/*/*/run.json"):
        of_another_code(path, EDITED)
    (change,) = code_changes(read_side(folder), read_side(other))
    assert (change.kind, change.name, change.key) == ("task", "CartPole-v1", "task_code my_task.my_task.py")
