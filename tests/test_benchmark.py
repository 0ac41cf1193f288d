"""The benchmark: what is measured, in which order, and what its table says."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.reading import checks as results
from analysis.reading.benchmark import read_benchmark
from analysis.reading.tables import read_table
from analysis.sections.speed import tables as benchmark
from analysis.sections.speed.sentences import TARGETS, sentences
from analysis.sections.speed.sentences import verdicts as benchmark_verdicts
from experiments import speed
from experiments.checks import GridError
from experiments.contestants import CONTESTANTS, Contestant, chosen, copy_of_checkout, documented, rivals
from experiments.grid import algorithm_class
from experiments.pipeline import check_config, speed_options
from tests.analysis_fixtures import CARTPOLE, says_nan, write_benchmark, write_grid
from tests.test_analysis import make, visible_text

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The benchmark on CartPole with a few steps, eager, beside a broken sbx, without Stable-Baselines3 and PufferLib.

    Its base is the same checkout.
    """
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "sbx.py").write_text("raise RuntimeError('a bug in a peer')")
    for module in ("stable_baselines3", "pufferlib"):
        missing = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
        (folder / f"{module}.py").write_text(missing)
    words = ["--output", str(folder / "speed"), "--tasks", "CartPole-v1", "--repetitions", "1", "--base", str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.speed", *words, "--steps-scale", "0.001"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder), "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = list(csv.DictReader((folder / "speed" / "measurements.csv").open()))
    return folder, done, {row["contestant"]: row for row in rows}


def test_every_contestant_has_a_row_with_numbers_or_a_reason(measured):
    folder, _, rows = measured
    cells = ["ppo_8x256", "actor_critic", "reinforce", "reinforce_baseline"]
    peers = ["sb3_ppo_8x256", "sbx_ppo_8x256", "pufferlib_ppo_8x256"]
    assert list(rows) == ["gymnasium", *(f"{base}{name}" for name in cells for base in ("", "base_")), *peers]
    for name in list(rows)[: 1 + 2 * len(cells)]:
        row = rows[name]
        assert row["status"] == "done"
        assert float(row["steps_per_second"]) > 0
        assert float(row["peak_memory_mb"]) > 10
        parts = [float(row[f"seconds_{phase}"]) for phase in ("stepping", "acting", "learning", "compiling")]
        assert sum(parts) <= float(row["seconds_training"]) + 0.004  # a run's seconds are rounded
        assert 0 < float(row["seconds_training"]) < float(row["seconds_total"])
        assert row["compiled"] == ("" if name == "gymnasium" else "0")
    about = json.loads((folder / "speed" / "benchmark.json").read_text())
    assert len(about["base"]) == 40
    assert about["contestants"]["ppo_8x256"]["base"] == "base_ppo_8x256"
    assert set(about["commands"]) == {f"CartPole-v1 {name}" for name in rows}
    assert about["contestants"]["sb3_ppo_8x256"]["settings"] == about["contestants"]["ppo_8x256"]["settings"]
    assert about["compiled"] is False
    assert {"stable-baselines3", "sbx-rl", "rltools", "mkl", "pufferlib", "torch"} <= set(about["versions"])


def test_what_is_not_installed_is_a_row_that_says_so(measured):
    rows = measured[2]
    for name, reason in (
        ("sb3_ppo_8x256", "stable_baselines3 is not installed (pip install -e '.[peers]')"),
        ("pufferlib_ppo_8x256", "pufferlib is not installed (experiments/README.md#how-fast-it-is has the commands)"),
    ):
        assert rows[name]["status"] == "unavailable"
        assert rows[name]["reason"] == reason


def test_a_contestant_that_fails_is_a_row_with_its_error_and_the_command_fails_after_writing(measured):
    _, done, rows = measured
    assert rows["sbx_ppo_8x256"]["status"] == "failed"
    assert rows["sbx_ppo_8x256"]["reason"] == "RuntimeError: a bug in a peer"
    assert done.returncode == 1
    assert "failed: sbx PPO (8 × 256)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """The benchmark of Hopper and HalfCheetah, of which nothing is measured."""
    monkeypatch.setattr(speed, "pin", lambda: None)  # this process is for other tests, too
    return speed.Bench(tmp_path, speed.default_tasks(["Hopper-v5", "HalfCheetah-v5"]), CONTESTANTS, 1.0, None)


def test_every_repetition_measures_everything_in_turn_and_every_second_one_in_reverse(bench):
    order = bench.turns(3)
    n = len(order) // 3
    first, second, third = (
        [(task, name) for _, task, name in part] for part in (order[:n], order[n : 2 * n], order[2 * n :])
    )
    tasks = ("Hopper-v5", "HalfCheetah-v5")
    assert first == [(task, name) for task in tasks for name, c in CONTESTANTS.items() if task in c.tasks]
    assert second == first[::-1]
    assert third == first
    assert [repetition for repetition, _, _ in order] == [0] * n + [1] * n + [2] * n


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be pinned here")
def test_what_is_started_after_pinning_stays_on_one_core():
    child = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    code = (
        f"import subprocess\nfrom experiments.speed import pin\nprint([pin()], flush=True)\nsubprocess.run({child!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    asked, got = done.stdout.splitlines()
    assert asked == got


def peer(folder, measure, steps, *further, **settings):
    """The record of one measurement of experiments.peers on Hopper."""
    task = {"id": "Hopper-v5", "max_episode_steps": None, "normalize_observations": True, "normalize_rewards": True}
    words = ["--measure", measure, "--task", json.dumps(task), "--settings", json.dumps(settings)]
    command = [sys.executable, "-m", "experiments.peers", *words, "--steps", str(steps), "--seed", "0", *further]
    subprocess.run([*command, "--output", str(folder / "run")], cwd=ROOT, capture_output=True, check=True)
    return json.loads((folder / "run" / "run.json").read_text())


def test_the_simulator_replays_what_was_recorded(tmp_path):
    record = peer(tmp_path, "simulator", 700)
    assert record["steps_taken"] == 700
    assert record["seconds"]["stepping"] == record["seconds"]["training"]
    assert not (ROOT / "MUJOCO_LOG.TXT").exists()


def test_stable_baselines3_takes_the_steps_and_its_parts_are_within_its_loop(tmp_path):
    pytest.importorskip("stable_baselines3")
    settings = algorithm_class("ppo").from_settings({"rollout_length": 32, "epochs": 1}).settings()
    record = peer(tmp_path, "stable_baselines3", 512, "--algorithm", "ppo", **settings)
    assert record["steps_taken"] == 512
    parts = [record["seconds"][phase] for phase in ("stepping", "acting", "learning")]
    assert all(part > 0 for part in parts)
    assert sum(parts) < record["seconds"]["training"] < record["seconds"]["total"]
    episodes = list(csv.DictReader((tmp_path / "run" / "episodes.csv").open()))
    steps = [int(episode["step"]) for episode in episodes]
    assert steps == sorted(set(steps))
    assert 0 < sum(int(episode["length"]) for episode in episodes) <= 512
    assert int(episodes[0]["length"]) == (steps[0] + 7) // 8  # the first to end began at the beginning, as one of eight


@pytest.mark.parametrize(
    ("algorithm", "package", "settings"),
    [
        ("trpo", "sb3_contrib", {"rollout_length": 32, "num_envs": 1}),
        *((name, "stable_baselines3", {"learning_starts": 20, "hidden_sizes": [8]}) for name in ("ddpg", "td3", "sac")),
    ],
)
def test_peers_of_later_algorithms_take_the_steps(tmp_path, algorithm, package, settings):
    pytest.importorskip(package)
    settings = algorithm_class(algorithm).from_settings(settings).settings()
    record = peer(tmp_path, "stable_baselines3", 64, "--algorithm", algorithm, **settings)
    assert record["steps_taken"] == 64
    parts = [record["seconds"][phase] for phase in ("stepping", "acting", "learning")]
    assert all(part > 0 for part in parts)
    assert sum(parts) < record["seconds"]["training"]


def test_off_policy_contestants_are_compared_at_both_sizes_of_networks():
    for name in ("ddpg", "td3", "sac"):
        for width in (64, 256):
            ours, theirs = CONTESTANTS[f"{name}_2x{width}"], CONTESTANTS[f"sb3_{name}_2x{width}"]
            assert ours.resolved() == theirs.resolved()
            assert ours.resolved()["hidden_sizes"] == [width, width]
            assert rivals(f"{name}_2x{width}", CONTESTANTS) == {"peer": f"sb3_{name}_2x{width}"}
    assert rivals("trpo_1x2048", CONTESTANTS) == {"peer": "sb3_trpo_1x2048"}


def test_a_peer_is_told_which_algorithm_it_trains(tmp_path, bench):
    """It is not guessed from the names of the settings."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        peer(tmp_path, "stable_baselines3", 512, clip=0.2)
    assert b"--measure stable_baselines3 needs --algorithm" in failed.value.stderr
    for name in ("sb3_ppo_8x256", "sb3_a2c_8x5", "sb3_trpo_1x2048", "sb3_td3_2x64"):
        words = bench.command("Hopper-v5", name, 512, 0, tmp_path)
        assert words[words.index("--algorithm") + 1] == CONTESTANTS[name].algorithm


def test_a_contestant_is_compared_with_the_same_settings_alone():
    found = {name: rivals(name, chosen([], base=True)) for name in CONTESTANTS}
    assert found["ppo_8x256"] == {
        "base": "base_ppo_8x256",
        "rltools": "rltools_ppo_8x256",
        "peer": "sb3_ppo_8x256",
        "reference": "sb3_ppo_1x2048",
        "sbx": "sbx_ppo_8x256",
        "pufferlib": "pufferlib_ppo_8x256",
    }
    assert found["ppo_1x2048"] == {
        "base": "base_ppo_1x2048",
        **dict.fromkeys(("peer", "reference"), "sb3_ppo_1x2048"),
    }
    assert found["own_value_loss"] == {"base": "base_own_value_loss", "shipped": "ppo_8x256"}
    assert found["sb3_ppo_8x256"] == found["gymnasium"] == {}
    assert rivals("ppo_8x256", chosen(["ppo*", "sbx*"], base=False)) == {"sbx": "sbx_ppo_8x256"}


def test_what_another_checkout_does_not_know_is_a_row_with_its_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "pin", lambda: None)
    unknown = {"base_x": Contestant("x", "base", ("CartPole-v1",), 10, "ppo", {"clap": 0.2})}
    bench = speed.Bench(tmp_path, speed.default_tasks(["CartPole-v1"]), unknown, 1.0, ROOT)
    row = bench.measure("CartPole-v1", "base_x", 0)
    assert row["status"] == "failed"
    assert row["reason"].startswith("algorithm x on CartPole-v1: PPO has no setting 'clap'")
    assert "did you mean 'clip'" in row["reason"]


def test_contestants_are_chosen_by_name():
    assert list(chosen(["*8x256", "gymnasium"], base=False)) == [
        *("gymnasium", "ppo_8x256", "rltools_ppo_8x256", "sb3_ppo_8x256", "sbx_ppo_8x256", "pufferlib_ppo_8x256")
    ]
    with pytest.raises(GridError, match="nothing is called 'reinforse'; did you mean 'reinforce'"):
        chosen(["ppo*", "reinforse"], base=False)


def test_a_users_own_algorithms_are_those_of_the_documents(bench):
    """They are the cells of a copy of the checkout, in which a reader's files lie; the checkout itself has none."""
    for name, contestant in CONTESTANTS.items():
        if contestant.shipped:
            file = bench.folder / "ours" / "algorithms" / f"{contestant.algorithm}.py"
            assert file.read_text(encoding="utf-8") == documented(contestant.algorithm)
            assert not (ROOT / "algorithms" / file.name).exists()
            entry = bench.grids["HalfCheetah-v5"]["algorithms"][name]
            assert entry == {"module": contestant.algorithm, "settings": dict(contestant.settings)}
            assert contestant.shipped in CONTESTANTS
    assert "def value_loss" in documented("ppo_huber")
    assert "def regularizer" in documented("ppo_kl_penalty")


def test_a_base_that_is_no_checkout_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        GridError, match=r"--base: .*/empty is no checkout of this project, because it has no algorithms/"
    ):
        copy_of_checkout(tmp_path / "empty", tmp_path / "copy")


@pytest.mark.parametrize(("library", "package"), [("sbx", "sbx"), ("rltools", "rltools"), ("pufferlib", "pufferlib")])
def test_a_library_takes_the_steps(tmp_path, library, package):
    pytest.importorskip(package)
    settings = algorithm_class("ppo").from_settings({"rollout_length": 32, "epochs": 1}).settings()
    record = peer(tmp_path, library, 512, **settings)
    assert record["steps_taken"] == 512
    assert 0 < record["seconds"]["training"] < record["seconds"]["total"]
    assert record["steps_per_second"] == pytest.approx(512 / record["seconds"]["training"])


def test_what_another_process_takes_is_not_counted(tmp_path, bench):
    """A cell's clock stands still while the process waits."""
    code = speed.ON_PROCESSOR_TIME.replace("'experiments.run'", "'waits'")
    (tmp_path / "waits.py").write_text(
        "import time\nbegan = time.perf_counter()\ntime.sleep(0.5)\nprint(time.perf_counter() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.25


def test_snakemake_passes_the_options_on():
    config = {"grid": "smoke", "contestants": "simulator,*ppo*", "tasks": "Hopper-v5,HalfCheetah-v5", "base": "../a b"}
    check_config(config)
    options = speed_options(config)
    assert options == "--tasks Hopper-v5 HalfCheetah-v5 --contestants simulator '*ppo*' --base '../a b'"
    assert speed_options({"grid": "smoke"}) == ""
    with pytest.raises(GridError, match=r"for the benchmark tasks, contestants, base; not task=…"):
        check_config({"task": "Hopper-v5"})


def test_an_unknown_task_is_refused_with_the_valid_ones():
    with pytest.raises(GridError, match="did you mean 'Hopper-v5'"):
        speed.default_tasks(["Hoper-v5"])


RATES = {
    "CartPole-v1": {
        "gymnasium": [80_000.0] * 3,
        "ppo_8x256": [10_000.0, 9_000.0, 11_000.0],
        "sb3_ppo_8x256": ["not installed"] * 3,
    },
    "HalfCheetah-v5": {
        "simulator": [40_000.0] * 3,
        "gymnasium": [25_000.0, 20_000.0, 25_000.0],
        "ppo_1x2048": [10_000.0, 12_000.0, 20_000.0],
        "ppo_8x256": [9_000.0, 9_000.0, 8_000.0],
        "base_ppo_8x256": [3_000.0, 4_500.0, 4_000.0],
        "a2c_8x5": [10_000.0] * 3,
        "own_value_loss": [9_000.0, 6_000.0, 6_000.0],
        "rltools_ppo_8x256": [10_000.0, 10_000.0, 10_000.0],
        "sb3_ppo_1x2048": [2_000.0, 3_000.0, 2_000.0],
        "sb3_ppo_8x256": [3_000.0, "Error: out of luck", 4_000.0],
        "sb3_a2c_8x5": [12_500.0] * 3,
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The made-up benchmark of a grid without runs: its folder, its table by task and contestant, the page's text."""
    folder = tmp_path_factory.mktemp("results") / "made"
    write_grid(folder, tasks={"CartPole-v1": CARTPOLE})
    write_benchmark(folder, RATES)
    page = visible_text(make(folder))
    return folder, read_table(folder, "benchmark").set_index(["task", "contestant"]), page


def test_a_ratio_is_taken_within_a_repetition_and_then_its_median(made):
    row = made[1].loc[("HalfCheetah-v5", "ppo_1x2048")]
    assert row[["steps_per_second", "low", "high"]].tolist() == [12_000, 10_000, 20_000]
    assert row[["reference_ratio", "reference_low", "reference_high"]].tolist() == [5, 4, 10]  # of medians: 6
    assert row["limit_share"] == pytest.approx(0.3)
    assert row["gymnasium_share"] == pytest.approx(0.6)
    other = made[1].loc[("HalfCheetah-v5", "ppo_8x256")]
    assert other["reference_ratio"] == 4  # 4.5, 3 and 4
    assert other["peer_ratio"] == 2.5  # 3 and 2: the repetition in which the peer failed has no ratio
    assert other["base_ratio"] == 2  # 3, 2 and 2
    assert other["rltools_ratio"] == 0.9
    assert made[1].loc[("HalfCheetah-v5", "own_value_loss"), "shipped_ratio"] == 0.75  # 1, 2/3 and 3/4


def test_shares_are_of_the_loop_without_compiling(made):
    row = made[1].loc[("HalfCheetah-v5", "ppo_1x2048")]
    assert row[["stepping", "acting", "learning", "rest"]].tolist() == pytest.approx([0.4, 0.2, 0.3, 0.1])
    assert row["overhead"] == pytest.approx(4.5)  # 15 s in all, 10 s training without compiling, 0.5 s evaluating
    assert row["peak_memory_mb"] == 302
    assert row["start_up"] == 1.5
    unknown = made[1].loc[("HalfCheetah-v5", "rltools_ppo_8x256")]
    assert unknown[["stepping", "acting", "learning", "rest"]].isna().all()


def test_without_a_simulator_there_is_no_limit(made):
    row = made[1].loc[("CartPole-v1", "ppo_8x256")]
    assert np.isnan(row["limit_share"])
    assert row["gymnasium_share"] == pytest.approx(0.125)


def test_what_was_not_measured_keeps_its_row_and_its_reason(made):
    table = made[1]
    absent = table.loc[("CartPole-v1", "sb3_ppo_8x256")]
    assert absent[["status", "reason", "n"]].tolist() == ["unavailable", "not installed", 0]
    assert table.loc[("CartPole-v1", "ppo_8x256"), ["reference_ratio", "peer_ratio"]].isna().all()
    failed = table.loc[("HalfCheetah-v5", "sb3_ppo_8x256")]
    assert failed[["status", "reason", "n", "steps_per_second"]].tolist() == ["failed", "Error: out of luck", 2, 3_500]


def test_targets_say_met_or_by_how_much_they_were_missed(made):
    verdicts = {
        (target.column, target.task, target.contestant): verdict
        for target, verdict in zip(TARGETS, benchmark_verdicts(made[1].reset_index()), strict=True)
    }
    met = verdicts["base_ratio", "HalfCheetah-v5", "ppo_8x256"]
    assert [met[key] for key in ("bound", "value", "verdict")] == ["≥ 1.9×", "2.00×", "met"]
    missed = verdicts["rltools_ratio", "HalfCheetah-v5", "ppo_8x256"]
    assert missed["verdict"] == "missed by 30.8 %"  # 0.9 instead of 1.3
    share = verdicts["limit_share", "HalfCheetah-v5", "ppo_8x256"]
    assert [share[key] for key in ("bound", "value", "state")] == ["≥ 65 %", "22.5 %", "missed"]
    beyond = verdicts["peer_ratio", "HalfCheetah-v5", "a2c_8x5"]
    assert beyond["verdict"].endswith("out of reach: the limit, stepping without learning, is 3.20×")  # asked: 4
    assert verdicts["rltools_ratio", "Hopper-v5", "ppo_8x256"]["verdict"] == "not measured"
    assert verdicts["overhead", None, None]["verdict"] == "missed by 50.0 %"
    assert verdicts["peak_memory_mb", None, None]["verdict"] == "met"


def test_the_report_shows_the_benchmark_its_targets_and_its_machine(made):
    page = made[2]
    assert "Measured on one core of A processor, Linux-6 at commit 0123456789" in page
    assert "&lt;ppo_1x2048&gt; 5.00 [4.00, 10.0]" in page
    assert "missed by 30.8 %" in page
    assert "“base”: commit fedcba98" in page
    assert "The gradient steps of all contestants of this project ran as machine code." in page
    assert "— not installed" in page
    assert "Failed: &lt;sb3_ppo_8x256&gt; on HalfCheetah-v5 (Error: out of luck)" in page
    assert not says_nan(page)


def test_a_target_whose_other_side_is_missing_says_what_is(tmp_path):
    rates = {"gymnasium": ["Error: no luck"], "reinforce": [20_000], "a2c_8x5": [10_000]}
    write_benchmark(tmp_path, {"HalfCheetah-v5": rates})
    table = benchmark.benchmark(read_benchmark(tmp_path))
    verdicts = {v["what"]: v["verdict"] for v in benchmark_verdicts(table) if "HalfCheetah" in v["what"]}
    assert verdicts["<reinforce> on HalfCheetah-v5, against Gymnasium’s bare stepping"] == (
        "not measured: <gymnasium>: Error: no luck"
    )
    assert verdicts["<a2c_8x5> on HalfCheetah-v5, against SB3"] == "not measured: nothing of sb3_a2c_8x5"
    assert not any("against base" in what for what in verdicts)  # nothing of another checkout was measured


def test_an_earlier_benchmark_is_read(tmp_path):
    """One without the column and the keys that have come since."""
    write_benchmark(tmp_path, {"HalfCheetah-v5": {"ppo_8x256": [8.0], "sb3_ppo_8x256": [2.0]}})
    path = tmp_path / "speed" / "measurements.csv"
    pd.read_csv(path).drop(columns="compiled").to_csv(path, index=False)
    record = tmp_path / "speed" / "benchmark.json"
    about = json.loads(record.read_text())
    del about["base"]
    kept = ("title", "side", "reference", "peer")
    about["contestants"] = {n: {key: c[key] for key in kept} for n, c in about["contestants"].items()}
    record.write_text(json.dumps(about))
    table = benchmark.benchmark(read_benchmark(tmp_path)).set_index("contestant")
    assert table.loc["ppo_8x256", "peer_ratio"] == 4
    assert np.isnan(table.loc["ppo_8x256", "compiled"])


def test_what_did_not_run_as_machine_code_is_named(tmp_path):
    write_benchmark(tmp_path, {"HalfCheetah-v5": {"ppo_8x256": [2.0, 1.0], "own_value_loss": [1.0, 2.0]}})
    path = tmp_path / "speed" / "measurements.csv"
    rows = pd.read_csv(path)
    rows.loc[rows["contestant"].eq("own_value_loss") & rows["repetition"].eq(1), "compiled"] = 0
    rows.to_csv(path, index=False)
    said = sentences(benchmark.benchmark(read_benchmark(tmp_path)))
    assert "Gradient steps did not run as machine code: <own_value_loss> on HalfCheetah-v5." in said


def test_without_a_benchmark_the_report_names_the_command(tmp_path):
    folder = tmp_path / "none"
    write_grid(folder, tasks={"CartPole-v1": CARTPOLE})
    (folder / "speed").mkdir()  # of a benchmark that was interrupted
    page = visible_text(make(folder))
    command = "snakemake --cores 1 speed --config grid=experiments/grids/none.yaml"
    assert f"No benchmark was run for this grid; {command} runs it" in page


def test_a_contestant_that_the_benchmark_does_not_describe_is_refused(tmp_path):
    write_benchmark(tmp_path, {"CartPole-v1": {"gymnasium": [1.0]}})
    path = tmp_path / "speed" / "measurements.csv"
    path.write_text(path.read_text().replace("gymnasium", "gymnasion"))
    with pytest.raises(results.ResultsError, match=r"line 2 has contestant = 'gymnasion'; valid are gymnasium"):
        read_benchmark(tmp_path)
