"""A policy is watched: as a video in a file, on the page, and with a sentence where that cannot be."""

import ctypes.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import experiments.watch as watch
from algorithms.core.saved_policy import load_policy
from algorithms.core.task import Task
from algorithms.ppo import PPO
from analysis.reading.checks import ResultsError
from analysis.reading.grid import read_grid
from analysis.reading.videos import read_videos
from analysis.sections.policies import sentences
from experiments import grid as grids
from experiments import videos
from experiments.checks import GridError
from experiments.grid import load_grid
from experiments.jobs import Jobs
from experiments.run import main as run_cell
from experiments.schema import LARGEST_VIDEO, POLICY, VIDEO_RECORD
from experiments.watch import CannotWatch, record
from tests.pipeline_fixtures import run, snakemake
from tests.tasks import Match

SMALL_PPO = PPO(num_envs=4, rollout_length=16, minibatch_size=32, epochs=1)
ROOT = Path(__file__).parent.parent
EARLIER = ROOT / "tests/data/earlier/runs/CartPole-v1"
imageio = pytest.importorskip("imageio.v2")
pytest.importorskip("imageio_ffmpeg")
GRID = """
description: A grid.
seeds: [0, 1, 2]
compile: never
videos: true
tasks:
  CartPole-v1: {steps: 600, random_score: 20, reference_score: 475, reference_source: a test}
algorithms:
  ppo: {settings: {num_envs: 3, rollout_length: 64, minibatch_size: 64}}
"""


class Coloured(Match):
    """Match, which draws itself: brighter in every frame."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode=None, frame=(32, 48, 3)):
        super().__init__()
        self.render_mode, self.frame, self.steps = render_mode, frame, 0

    def reset(self, **options):
        self.steps += 1
        return super().reset(**options)

    def step(self, action):
        self.steps += 1
        return super().step(action)

    def render(self):
        return np.full(self.frame, 10 * self.steps, np.uint8)


gymnasium.register("Coloured-v0", Coloured, max_episode_steps=7)
gymnasium.register("BadlyColoured-v0", Coloured, max_episode_steps=7, kwargs={"frame": (3,)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a grid's results with a run for each seed."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "mine.yaml").write_text(GRID)
    for cell in load_grid(str(folder / "mine.yaml")).cells():
        words = ("--grid", folder / "mine.yaml", "--algorithm", "ppo", "--task", "CartPole-v1", "--seed", cell.seed)
        run_cell([*map(str, words), "--output", str(folder / cell.directory)])
    return folder


@pytest.fixture(scope="module")
def policy():
    return {name: SMALL_PPO.train(Task(f"{name}-v0"), 0, 100).policy for name in ("Coloured", "BadlyColoured", "Match")}


def command(*words):
    """The end of the command line: its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.watch", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# ------------------------------------------------------------------------------------ a video in a file


@pytest.mark.parametrize("kind", watch.KINDS)
def test_a_video_has_a_frame_for_each_reset_and_step(kind, policy, tmp_path):
    path = tmp_path / f"a{kind}"
    played = record(policy["Coloured"], path, 2, 0, mode=True)
    assert [length for _, length in played] == [7, 7]
    frames = imageio.mimread(path)
    assert len(frames) == 16
    assert frames[0].shape[:2] == (32, 48)
    assert frames[7].mean() > frames[0].mean() + 50
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_fewer_frames_a_smaller_picture_and_a_poster(policy, tmp_path):
    record(
        *(policy["Coloured"], tmp_path / "a.mp4", 1, 0),
        mode=False,
        fps=5,
        seconds=0.5,
        width=24,
        poster=tmp_path / "a.jpg",
    )
    frames = imageio.mimread(tmp_path / "a.mp4")
    assert (len(frames), frames[0].shape) == (3, (16, 24, 3))
    assert imageio.imread(tmp_path / "a.jpg").shape == (32, 48, 3)


def test_the_command_writes_what_it_says(runs, tmp_path):
    status, said, wrong = command(runs / "runs/CartPole-v1/ppo/0", "--video", tmp_path / "a.gif", "--episodes", 2)
    assert (status, wrong) == (0, "")
    lines = said.splitlines()
    assert lines[0].startswith("SavedPolicy(ppo on CartPole-v1")
    assert [line.partition(":")[0] for line in lines[1:]] == ["episode 0", "episode 1", str(tmp_path / "a.gif")]
    returns = [float(line.split()[3]) for line in lines[1:3]]
    assert len(imageio.mimread(tmp_path / "a.gif", memtest=False)) <= sum(returns) + 2  # equal frames may be joined


@pytest.mark.skipif(not any(map(ctypes.util.find_library, watch.RENDERERS.values())), reason="no EGL and no OSMesa")
def test_mujoco_is_drawn_without_a_display(tmp_path, monkeypatch):
    for name in (*watch.DISPLAYS, "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    task = Task("InvertedPendulum-v5", kwargs={"width": 64, "height": 48})
    SMALL_PPO.train(task, 0, 100).policy.save(tmp_path / POLICY)
    status, said, wrong = command(tmp_path / POLICY, "--video", tmp_path / "a.mp4")
    assert status == 0, said + wrong
    frames = imageio.mimread(tmp_path / "a.mp4")
    assert frames[0].shape == (48, 64, 3)
    assert frames[0].std() > 5


# ------------------------------------------------------------------------------------ what cannot be watched


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have windows")
@pytest.mark.parametrize("display", [None, ":4242"], ids=["none", "one that is gone"])
def test_without_a_display_the_words_for_a_video_are_said(display, runs, monkeypatch):
    for name in watch.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    status, said, wrong = command(runs / "runs/CartPole-v1/ppo/0")
    assert (status, said) == (2, "")
    assert wrong.startswith(
        "error: there is no display to open a window on; write a video: python -m experiments.watch"
    )


def test_an_earlier_run_is_refused_in_a_sentence(tmp_path):
    status, _, wrong = command(EARLIER / "ppo/0", "--video", tmp_path / "a.mp4")
    assert status == 2
    assert wrong.startswith("error: ")
    assert "has no policy.npz: the run is of an earlier version" in wrong
    assert wrong.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_renderer_the_packages_are_named(policy, tmp_path, monkeypatch):
    for name in (*watch.DISPLAYS, "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    pendulum = SMALL_PPO.train(Task("InvertedPendulum-v5"), 0, 100).policy
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(
        CannotWatch, match="needs EGL or OSMesa where there is no display: install libegl1 or libosmesa6"
    ):
        record(pendulum, tmp_path / "a.mp4", 1, 0, mode=True)
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(CannotWatch, match="no display, and MUJOCO_GL is glfw: install libegl1"):
        record(pendulum, tmp_path / "a.mp4", 1, 0, mode=True)
    assert list(tmp_path.iterdir()) == []


def test_what_draws_nothing_or_something_else_is_refused(policy, tmp_path):
    with pytest.raises(CannotWatch, match=r"'Match-v0' cannot be drawn with render_mode 'rgb_array': .* has none"):
        record(policy["Match"], tmp_path / "a.mp4", 1, 0, mode=True)
    with pytest.raises(CannotWatch, match=r"'BadlyColoured-v0' is drawn as uint8 of the shape \(3,\)"):
        record(policy["BadlyColoured"], tmp_path / "a.mp4", 1, 0, mode=True)
    with pytest.raises(CannotWatch, match=r"--video takes a file that ends in .mp4 or .gif, not .*a.avi"):
        record(policy["Coloured"], tmp_path / "a.avi", 1, 0, mode=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(CannotWatch, match=r"a.mp4 is a folder; --video takes the name of a file"):
        record(policy["Coloured"], tmp_path / "a.mp4", 1, 0, mode=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_missing_package_is_named_with_the_extra(policy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(CannotWatch, match=r"a video needs the package imageio_ffmpeg: pip install .*\[video\]"):
        record(policy["Coloured"], tmp_path / "a.mp4", 1, 0, mode=True)


def test_a_video_that_fails_in_its_middle_leaves_what_was_there(policy, tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_text("earlier")
    whole = Coloured.render
    monkeypatch.setattr(Coloured, "render", lambda self: whole(self) if self.steps < 4 else 1 / 0)
    with pytest.raises(CannotWatch, match="cannot be drawn: ZeroDivisionError: division by zero"):
        record(policy["Coloured"], tmp_path / "a.mp4", 1, 0, mode=True)
    assert (tmp_path / "a.mp4").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1


# ------------------------------------------------------------------------------------ videos on the page


@pytest.fixture
def shown(runs, tmp_path):
    """A results folder with the grid's manifest, its runs, and their videos."""
    results = tmp_path / "mine"
    shutil.copytree(runs / "runs", results / "runs")
    manifest = load_grid(str(runs / "mine.yaml")).manifest()
    (results / "grid.json").write_text(json.dumps(manifest))
    folders = sorted(map(str, (results / "runs/CartPole-v1/ppo").iterdir()))
    videos.main(["--runs", *folders, "--output", str(results / "videos/CartPole-v1/ppo")])
    return results


def test_the_best_and_the_median_seed_are_shown(shown):
    (content,) = read_videos(read_grid(shown))
    scores = {}
    for seed in range(3):
        run = json.loads((shown / f"runs/CartPole-v1/ppo/{seed}/run.json").read_text())
        scores[seed] = float(np.mean(run["evaluation"]["sampled"]["returns"]))
    ranked = sorted(scores, key=scores.get)
    assert {kind: video["seed"] for kind, video in content["videos"].items()} == {
        "best": ranked[2],
        "median": ranked[1],
    }
    assert content["videos"]["best"]["score"] == scores[ranked[2]]
    assert sorted(content["files"]) == ["best.jpg", "best.mp4", "median.jpg", "median.mp4"]
    assert all(file["bytes"] <= LARGEST_VIDEO for file in content["files"].values())
    video = content["videos"]["best"]
    policy = load_policy(shown / f"runs/CartPole-v1/ppo/{video['seed']}")
    ((total, length),) = policy.play(gymnasium.make("CartPole-v1"), 1, video["seed"], False)
    assert (video["return"], video["length"]) == (total, length)


def test_the_section_holds_the_videos_or_links_to_them(shown, monkeypatch):
    grid = read_grid(shown)
    said = sentences.page(grid, read_videos(grid))
    (best, median) = said["rows"]["CartPole-v1"]
    assert best["source"].startswith("data:video/mp4;base64,")
    assert median["image"].startswith("data:image/jpeg;base64,")
    assert best["path"] == "../videos/CartPole-v1/ppo/best.mp4"
    assert "in this page" in said["about"]
    monkeypatch.setattr(sentences, "EMBEDDED", 10)
    said = sentences.page(grid, read_videos(grid))
    assert said["rows"]["CartPole-v1"][0]["source"] == "../videos/CartPole-v1/ppo/best.mp4"
    assert sentences.page(grid, []) is None


def test_a_video_that_is_missing_or_leads_out_of_its_folder_is_refused(shown):
    folder = shown / "videos/CartPole-v1/ppo"
    (folder / "best.mp4").unlink()
    with pytest.raises(ResultsError, match=r"best.mp4: missing, .*; delete .*, and snakemake makes it again"):
        read_videos(read_grid(shown))
    content = json.loads((folder / VIDEO_RECORD).read_text())
    content["videos"]["best"]["file"] = "../../../grid.json"
    (folder / VIDEO_RECORD).write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="leads out of"):
        read_videos(read_grid(shown))


def test_what_cannot_be_shown_is_said_and_fails_nothing(shown):
    folders = sorted((shown / "runs/CartPole-v1/ppo").iterdir())
    for folder in folders:
        (folder / POLICY).unlink()
    output = shown / "videos/CartPole-v1/ppo"
    videos.main(["--runs", *map(str, folders), "--output", str(output)])
    assert [file.name for file in output.iterdir()] == [VIDEO_RECORD]
    grid = read_grid(shown)
    (sentence,) = sentences.page(grid, read_videos(grid))["lacking"]
    assert sentence.startswith("PPO on CartPole-v1 is not shown: ")
    assert "has no policy.npz" in sentence
    for folder in folders:
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(run | {"status": "diverged", "evaluation": None}))
    videos.main(["--runs", *map(str, folders), "--output", str(output)])
    assert read_videos(grid)[0]["reason"] == "no run has ended with a score"


def test_a_video_that_is_too_large_is_compressed_further_and_then_given_up(shown, tmp_path, monkeypatch):
    run = shown / "runs/CartPole-v1/ppo/0"
    size = videos.film(run, tmp_path / "a", 0) and (tmp_path / "a.mp4").stat().st_size
    monkeypatch.setattr(videos, "LARGEST_VIDEO", size - 1)
    assert videos.film(run, tmp_path / "b", 0)["file"] == "b.mp4"
    assert (tmp_path / "b.mp4").stat().st_size < size
    monkeypatch.setattr(videos, "LARGEST_VIDEO", 10)
    with pytest.raises(CannotWatch, match="larger than 10 bytes however it is compressed"):
        videos.film(run, tmp_path / "c", 0)


def test_a_grid_asks_for_the_packages_before_anything_runs(runs, monkeypatch):
    monkeypatch.setattr(grids, "find_spec", lambda name: None if name == "imageio_ffmpeg" else name)
    with pytest.raises(
        GridError, match=r"mine.yaml: videos is true, and .* imageio_ffmpeg is missing: pip install .*video"
    ):
        load_grid(str(runs / "mine.yaml"))
    assert load_grid(str(runs / "mine.yaml"), "ppo").videos  # as a job reads it


def test_the_pipeline_asks_for_videos_where_the_grid_does(runs, tmp_path):
    jobs = Jobs(load_grid(str(runs / "mine.yaml")), "results/mine")
    assert jobs.video_folders() == ["videos/CartPole-v1/ppo"]
    wildcards = {"task": "CartPole-v1", "algorithm": "ppo"}
    assert jobs.recorded_folders(wildcards) == [f"results/mine/runs/CartPole-v1/ppo/{seed}" for seed in range(3)]
    (tmp_path / "other.yaml").write_text(GRID.replace("videos: true", "videos: false"))
    assert Jobs(load_grid(str(tmp_path / "other.yaml")), "results/other").video_folders() == []


def test_the_pipeline_shows_policies_on_the_page_and_makes_one_again_that_was_removed(fresh):
    (fresh / "mine.yaml").write_text(GRID.replace("seeds: [0, 1, 2]", "seeds: [0, 1]"))
    done = snakemake(fresh, grid="mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (fresh / "results/mine/report/index.html").read_text(encoding="utf-8")
    tags = re.findall(r"<video[^>]*>", page)
    assert len(tags) == 2
    for tag in tags:
        assert re.search(r" controls .*muted .*preload=\"none\".* src=\"data:video/mp4;base64,", tag)
        assert "autoplay" not in tag
    assert "videos/CartPole-v1/ppo/best.mp4" in (fresh / "results/mine/report/report.md").read_text(encoding="utf-8")
    assert run(fresh, "analysis.verify", "results/mine").returncode == 0
    (fresh / "results/mine/videos/CartPole-v1/ppo" / VIDEO_RECORD).unlink()
    done = snakemake(fresh, "--dry-run", "--quiet", "rules", grid="mine.yaml")
    planned = set(re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, re.MULTILINE)) - {"total"}
    assert {"video", "report"} <= planned <= {"video", "report", "reproduce"}
