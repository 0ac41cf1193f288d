"""Watch the policy of a run: in a window where there is one, or as a video in a file."""

import argparse
import contextlib
import ctypes.util
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from policy_gradient_ladder.core.saved_policy import SavedPolicy, load_policy
from policy_gradient_ladder.core.task import Task, close, make_env

from .checks import whole_number
from .command import exit_with_sentence
from .record import UnusableFolder, check_writable

KINDS = (".mp4", ".gif")
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")  # variables of the environment, one of which Linux has where it has windows
RENDERERS = {"egl": "EGL", "osmesa": "OSMesa"}  # of MuJoCo, without a display: value of MUJOCO_GL → its library
PACKAGES = "libegl1 or libosmesa6"  # of Debian and Ubuntu, in which these libraries are
USUAL_FPS = 30  # frames a second where an environment does not say how many
CRF = 23  # of H.264: its own default; a larger number is a smaller file
POSTER_QUALITY = 50  # of 95, of JPEG
EXTRA = 'pip install "policy-gradient-ladder[video]"'


class CannotWatch(UnusableFolder):
    """There is nothing to watch a policy with; the message is the sentence that a user sees."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch the policy of a run on its task."""
    parser = argparse.ArgumentParser(prog="python -m experiments.watch", description=main.__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, its policy.npz, or one of its checkpoints")
    parser.add_argument("--video", type=Path, metavar="FILE", help="write a video (.mp4 or .gif) instead of a window")
    parser.add_argument("--episodes", type=whole_number, default=1, help="how many; default: 1")
    parser.add_argument("--seed", type=whole_number, default=0, help="of the environment and of sampled actions")
    parser.add_argument("--sampled", action="store_true", help="sample actions; default: take the likeliest one")
    options = parser.parse_args(arguments)
    for name, least in (("episodes", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise CannotWatch(f"--{name} must be a whole number from {least}, not {getattr(options, name)}")
    if options.video is None and not has_display():
        raise CannotWatch(
            f"there is no display to open a window on; write a video: python -m experiments.watch {options.run} "
            "--video policy.mp4"
        )
    policy = load_policy(options.run)
    print(policy)
    if options.video is None:
        with drawn(policy.task, "human") as env:
            for number, played in enumerate(policy.play(env, options.episodes, options.seed, not options.sampled)):
                print(said(number, *played), flush=True)
        return
    played = record(policy, options.video, options.episodes, options.seed, mode=not options.sampled)
    for number, (total, length) in enumerate(played):
        print(said(number, total, length))
    print(f"{options.video}: {options.video.stat().st_size / 1e3:,.0f} kB")


def said(number: int, total: float, length: int) -> str:
    """An episode in words."""
    return f"episode {number}: return {total:,.1f} in {length:,} steps"


def has_display() -> bool:
    """Whether a window can be opened here; a variable alone may name a display that is no longer there."""
    if not sys.platform.startswith("linux"):
        return True
    if not any(os.environ.get(name) for name in DISPLAYS):
        return False
    import glfw  # with which MuJoCo opens its windows; what it has no display for, it would end the process by

    with warnings.catch_warnings(action="ignore"):
        return bool(glfw.init())


@contextlib.contextmanager
def drawn(task: Task, render_mode: str, width: int | None = None) -> Iterator[gymnasium.Env[Any, Any]]:
    """A context with an environment of a task that draws itself; of a task with variants, the first.

    render_mode: human or rgb_array. width: in pixels, of what MuJoCo draws, which takes longer the more there are.
    Raises CannotWatch, with a sentence, where the environment cannot.
    """
    env = make_env(task)
    close(env)
    modes = env.metadata.get("render_modes") or []
    if render_mode not in modes:
        known = ", ".join(map(str, modes)) or "none"
        raise CannotWatch(
            f"task {task.label!r} cannot be drawn with render_mode {render_mode!r}: its environment has {known}; give "
            "it that mode (metadata and render) to watch it"
        )
    if render_mode != "human" and not has_display():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # or SDL, which pygame draws with, complains
        if of_mujoco(env):
            choose_renderer(task)
    further = {"width": width, "height": width} if width and of_mujoco(env) else {}
    env = make_env(replace(task, kwargs={**task.kwargs, **further, "render_mode": render_mode}))
    try:
        yield env
    finally:
        close(env)


def of_mujoco(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether an environment is drawn by MuJoCo, as Gymnasium's are."""
    return any(cls.__module__.startswith("gymnasium.envs.mujoco") for cls in type(env.unwrapped).__mro__)


def choose_renderer(task: Task) -> None:
    """Let MuJoCo draw without a display, by the library that MUJOCO_GL names or else by one that is there.

    Raises CannotWatch, which names the packages, where there is none.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    for value, library in RENDERERS.items():
        if asked in ("", value) and ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = value
            return
    wanted = f", and MUJOCO_GL is {asked}" if asked else ""
    raise CannotWatch(
        f"task {task.label!r} is drawn by MuJoCo, which needs EGL or OSMesa where there is no display{wanted}: install "
        f"{PACKAGES} (packages of Debian and Ubuntu), and leave MUJOCO_GL unset or egl or osmesa"
    )


def record(
    policy: SavedPolicy,
    path: Path,
    episodes: int,
    seed: int,
    *,
    mode: bool,
    fps: float = math.inf,
    seconds: float = math.inf,
    width: int | None = None,
    options: Sequence[str] = (),
    poster: Path | None = None,
) -> list[tuple[float, int]]:
    """Write a video of a policy on its task, whole or not at all; returns return and length of each episode.

    path: ends in .mp4 or .gif. fps: frames a second at most, and seconds: of the video at most. width: of an .mp4, in
    pixels; as the environment draws itself, if None. options: further ones for ffmpeg. poster: where the first frame is
    written as an image. Raises CannotWatch, with a sentence, where nothing can be drawn or written.
    """
    if path.suffix not in KINDS:
        raise CannotWatch(f"--video takes a file that ends in {' or '.join(KINDS)}, not {path}")
    if path.is_dir():
        raise CannotWatch(f"{path} is a folder; --video takes the name of a file")
    check_writable(path.resolve().parent, path)
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    with drawn(policy.task, "rgb_array", width) as env:
        natural = env.metadata.get("render_fps") or USUAL_FPS
        every = max(1, math.ceil(natural / fps))  # steps between two frames
        scaled = [*options, "-vf", f"scale={width}:-2"] if width else list(options)
        frames = Frames(unfinished, natural / every, scaled, poster)
        steps = 0

        def see() -> None:
            nonlocal steps
            if steps % every == 0 and frames.written < seconds * natural / every:
                frames.add(draw(env, policy.task))
            steps += 1

        try:
            played = list(policy.play(env, episodes, seed, mode, see))
            frames.close()
            os.replace(unfinished, path)
        finally:
            with contextlib.suppress(Exception):  # it says what is wrong with a video that is given up
                frames.close()
            unfinished.unlink(missing_ok=True)
    return played


def draw(env: gymnasium.Env[Any, Any], task: Task) -> np.ndarray:
    """A picture of an environment, uint8 [height, width, 3]. Raises CannotWatch, with a sentence, where it has none."""
    try:
        frame = np.asarray(env.render())
    except Exception as error:  # a renderer may raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        renderer = os.environ.get("MUJOCO_GL")
        told = f" by MuJoCo with {renderer}; install {PACKAGES}, or set MUJOCO_GL=osmesa" if of_mujoco(env) else ""
        raise CannotWatch(f"task {task.label!r} cannot be drawn{told}: {what}") from error
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise CannotWatch(
            f"task {task.label!r} is drawn as {frame.dtype} of the shape {frame.shape}; a video needs uint8 of the "
            "shape (height, width, 3)"
        )
    return frame


class Frames:
    """The frames of a video, written one by one. Raises CannotWatch where the packages for that are missing."""

    def __init__(self, path: Path, fps: float, options: Sequence[str], poster: Path | None = None) -> None:
        try:
            import imageio.v2

            if path.suffix != ".gif":
                import imageio_ffmpeg  # noqa: F401  # imageio looks for it only when the first frame is written
        except ImportError as error:
            raise CannotWatch(f"a video needs the package {error.name}: {EXTRA}") from error
        self.written, self._poster = 0, poster
        if path.suffix == ".gif":
            self._writer = imageio.v2.get_writer(path, mode="I", duration=1000 / fps, loop=0)
        else:
            settings = ["-crf", str(CRF), "-movflags", "+faststart", *options]
            self._writer = imageio.v2.get_writer(
                path, fps=fps, codec="libx264", quality=None, macro_block_size=2, output_params=settings
            )
        self.close: Callable[[], None] = self._writer.close

    def add(self, frame: np.ndarray) -> None:
        """Write a frame, uint8 [height, width, 3]."""
        if self.written == 0 and self._poster is not None:
            import imageio.v2

            imageio.v2.imwrite(self._poster, frame, quality=POSTER_QUALITY)
        self._writer.append_data(frame)
        self.written += 1


if __name__ == "__main__":
    exit_with_sentence(main)
