"""The file of a saved policy: what it says, and how it is read so that a stranger's file does no harm.

The file has the arrays of a checkpoint that acting needs, by the same names, and ABOUT: JSON that says what they are
of. The bounds of the actions, where these are in a Box, are two arrays more.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # for types alone: its import takes longer than loading a policy
    from gymnasium.spaces import Space

FILE = "policy.npz"  # in the folder of a run
RECORD = "run.json"
CHECKPOINTS = "checkpoints"
ABOUT = "about"
NETWORK = "policy"  # the policy's name in a checkpoint
STATISTICS = "observation_statistics"
BOUNDS = ("action_space/low", "action_space/high")
FORMAT = 1
LARGEST_FILE = 2**28  # bytes, of 67 million parameters; whoever has more of them has more than this project trains
LARGEST_ABOUT = 2**20  # bytes
MOST_ARRAYS = 1_000
MOST_LAYERS = 100
LARGEST_HEADER = 10_000  # bytes of the header of an array, as NumPy limits it
ACTIVATIONS = ("tanh", "relu")
ACTED_IN = ("Discrete", "MultiDiscrete", "MultiBinary", "Box")  # kinds of action spaces
BOUNDED = "bounded"  # says of an actor whose actions are in [−1, 1] which of BOUNDED_ACTORS it is
BOUNDED_ACTORS = ("deterministic", "stochastic")
NOTHING: dict[str, np.ndarray] = {}
DTYPES = {"b", "i", "u", "f"}


class InvalidPolicy(ValueError):
    """There is no policy, its file is damaged, or it is of other spaces than those in which it has to act."""


# ------------------------------------------------------------------------------------ what a file says of a policy


def describe(
    task: Any, observation_space: "Space[Any]", action_space: "Space[Any]", longest_episode: int
) -> dict[str, Any]:
    """What the arrays of a policy are of, as JSON has it, without what the algorithm says.

    task: a Task, with all of its preprocessing; `task` is null where its keyword arguments are no JSON.
    """
    from .spaces import described

    try:
        settings = json.loads(json.dumps(asdict(task), allow_nan=False))
    except Exception:  # objects among keyword arguments may be neither JSON nor copied
        settings = None
    return {
        "format": FORMAT,
        "task_name": task.label,
        "task": settings,
        "observation_space": described(observation_space),
        "action_space": described(action_space),
        "action_bounds": task.action_bounds,
        "longest_episode": longest_episode,
    }


def bounds_of(action_space: "Space[Any]") -> dict[str, np.ndarray]:
    """The bounds of a Box, by the names of their arrays; nothing of another space."""
    box: Any = action_space
    return dict(zip(BOUNDS, (box.low, box.high), strict=True)) if hasattr(box, "low") else {}


def shapes_of(about: Mapping[str, Any], source: str) -> dict[str, tuple[int, ...]]:
    """The shape of each array that a policy needs, by its name; raises InvalidPolicy where `about` is none."""
    try:
        if about["format"] != FORMAT:
            raise InvalidPolicy(f"{source} has the format {about['format']!r}; this version reads {FORMAT}")
        space, hidden = about["action_space"], about["hidden_sizes"]
        inputs, outputs = flat_size(about["observation_space"]), flat_size(space)
        outputs *= 2 if space["kind"] == "MultiBinary" else 1  # yes and no are two outputs
        bounded, actions = about.get(BOUNDED), outputs
        outputs *= 2 if bounded == "stochastic" else 1  # mean and log-std
        texts = all(isinstance(about[key], str) for key in ("algorithm", "task_name"))
        numbers = all(type(about[key]) is int and about[key] >= 1 for key in ("num_envs", "longest_episode"))
        sizes = (
            isinstance(hidden, list) and len(hidden) <= MOST_LAYERS and all(type(n) is int and n > 0 for n in hidden)
        )
        kinds = about["activation"] in ACTIVATIONS and about["action_bounds"] in ("clip", "squash")
        task = about["task"] is None or isinstance(about["task"]["id"], str)
        kinds = kinds and (bounded is None or (bounded in BOUNDED_ACTORS and space["kind"] == "Box"))
        if (
            space["kind"] not in ACTED_IN
            or min(inputs, outputs) < 1
            or not (texts and numbers and sizes and kinds and task)
        ):
            raise ValueError("a value is none of those that it may have")
    except InvalidPolicy:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise InvalidPolicy(f"{source} does not say what its arrays are of ({error!r}); it is damaged") from error
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (size_in, size_out) in enumerate(zip([inputs, *hidden], [*hidden, outputs], strict=True)):
        shapes[f"{NETWORK}/network.{2 * i}.weight"] = (size_out, size_in)
        shapes[f"{NETWORK}/network.{2 * i}.bias"] = (size_out,)
    shapes |= {f"{STATISTICS}/mean": (inputs,), f"{STATISTICS}/variance": (inputs,), f"{STATISTICS}/count": ()}
    if space["kind"] == "Box":
        shapes |= dict.fromkeys(BOUNDS, member_shape(space)) | (
            {f"{NETWORK}/log_std": (actions,)} if not bounded else {}
        )
    return shapes


def member_shape(space: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of a member of a space."""
    if space["kind"] in ("Discrete", "MultiDiscrete"):
        return np.shape(space.get("nvec", 0))
    return tuple(space["shape"])


def choices_of(space: Mapping[str, Any]) -> tuple[int, ...]:
    """The choices of each part of a Discrete or MultiDiscrete space."""
    return tuple(np.ravel(space["nvec"]).tolist()) if space["kind"] == "MultiDiscrete" else (space.get("n", 0),)


def flat_size(space: Mapping[str, Any]) -> int:
    """How many numbers a member of a space is flattened to.

    Raises ValueError, KeyError or TypeError where this describes no space.
    """
    kind = space["kind"]
    if kind in ("Dict", "Tuple"):
        return sum(flat_size(inner[1] if kind == "Dict" else inner) for inner in space["spaces"])
    if np.dtype(space["dtype"]).kind not in DTYPES or kind not in ACTED_IN:
        raise ValueError(f"it has a space {kind!r} of {space['dtype']!r}")
    sizes = choices_of(space) if kind in ("Discrete", "MultiDiscrete") else member_shape(space)
    if not all(type(n) is int and n >= 1 for n in sizes):
        raise ValueError(f"it has a space of the sizes {sizes!r:.80}")
    if kind in ("Discrete", "MultiDiscrete"):
        np.broadcast_to(np.asarray(space["start"], np.int64), member_shape(space))
        return sum(sizes)
    return math.prod(sizes)


def in_words(space: Any) -> str:
    """A space in few words, from Gymnasium's or as `described` has it."""
    if not isinstance(space, Mapping):
        return f"{space!r:.100}".replace("\n", " ")
    kind = space["kind"]
    if kind in ("Dict", "Tuple"):
        return f"{kind}({', '.join(in_words(inner[1] if kind == 'Dict' else inner) for inner in space['spaces'])})"
    return f"{kind}({space.get('n', space.get('nvec', space.get('shape')))})"


# ------------------------------------------------------------------------------------ reading a file


def read_policy(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is said about a policy and its arrays by name, from its file, or from a checkpoint and what lies near it.

    Raises InvalidPolicy, or what NumPy and zipfile raise where the file is cut off or another one.
    """
    with zipfile.ZipFile(path) as archive:
        headers = _headers(archive, path)
        if ABOUT in headers:
            about, bounds = _about_in(archive, headers, path), NOTHING
        else:
            about, bounds = _about_near(path, headers)
        shapes = shapes_of(about, str(path))
        for name in shapes.keys() - bounds.keys():
            if name in headers and headers[name] != shapes[name]:
                raise InvalidPolicy(f"{path}: {name!r} has the shape {headers[name]}, not {shapes[name]} as it says")
        arrays = {name: _array(archive, name) for name in shapes if name in headers}
    return about, arrays | bounds


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each array in a file; raises InvalidPolicy where sizes are too large or contradict each other.

    Nothing is allocated for an array: sizes are those in the file's directory and in the arrays' headers.
    """
    entries = archive.infolist()
    names = [entry.filename.removesuffix(".npy") for entry in entries]
    size = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InvalidPolicy(f"{path} is compressed, but policies and checkpoints never are; it is not read")
    if len(entries) > MOST_ARRAYS or size > LARGEST_FILE or size > path.stat().st_size:
        raise InvalidPolicy(
            f"{path} has {len(entries):,} arrays of {size:,} bytes, which is more than a policy has "
            f"({MOST_ARRAYS:,}, {LARGEST_FILE:,}) or than there are in the file; it is not read"
        )
    if len(set(names)) < len(names):
        raise InvalidPolicy(f"{path} has two arrays of one name; it is not read")
    headers = {}
    for entry, name in zip(entries, names, strict=True):
        with archive.open(entry) as file:
            try:
                version = np.lib.format.read_magic(file)
                if version not in READERS:
                    raise ValueError(f"its array is of version {version}")
                shape, _, dtype = READERS[version](file, max_header_size=LARGEST_HEADER)
            except ValueError as error:
                raise InvalidPolicy(f"{path}: {name!r} is no array ({error}); the file is damaged") from error
            numeric = dtype.kind in DTYPES and all(type(n) is int and n >= 0 for n in shape)
            if not numeric or file.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
                raise InvalidPolicy(
                    f"{path}: {name!r} says that it has the shape {shape} of {dtype}, and has {entry.file_size:,} "
                    "bytes; it is not read"
                )
        headers[name] = shape
    return headers


READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of a file whose header was checked."""
    with archive.open(f"{name}.npy") as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _about_in(archive: zipfile.ZipFile, headers: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, Any]:
    """What a file says that its arrays are of."""
    if len(headers[ABOUT]) != 1 or headers[ABOUT][0] > LARGEST_ABOUT:
        raise InvalidPolicy(f"{path}: {ABOUT!r} has the shape {headers[ABOUT]}; it is not read")
    try:
        about = json.loads(_array(archive, ABOUT).tobytes())
        if not isinstance(about, dict):
            raise ValueError("it is no object with keys")
    except (ValueError, RecursionError) as error:
        raise InvalidPolicy(f"{path}: {ABOUT!r} is no JSON ({error}); the file is damaged") from error
    return about


def _about_near(path: Path, headers: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the arrays of a checkpoint are of, and the bounds of its actions: what the policy of its run says, or else
    the run's record, an environment of its task, and the shapes of the arrays.
    """
    from .mlp import HIDDEN_SIZES
    from .run import LONGEST_EPISODE
    from .task import Task, close, make_env

    folder = path.absolute().parent.parent
    if (folder / FILE).is_file():
        about, arrays = read_policy(folder / FILE)
        return about, {name: arrays[name] for name in BOUNDS if name in arrays}
    record = _record(folder)
    if record is None:
        raise InvalidPolicy(f"{path} has no {ABOUT!r}, so it is no policy, and it is no checkpoint in a run's folder")
    try:
        cell, settings = record["cell"], record["settings"]
        known = {field.name for field in fields(Task)}  # earlier versions had others, too
        given = {name: value for name, value in record["task_settings"].items() if name in known}
        task_id = given.pop("id", cell["task"])
        given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        task = Task(task_id, name=cell["task"] if cell["task"] != task_id else None, allow_normalised=True, **given)
        networks = {
            "hidden_sizes": settings.get("hidden_sizes", list(HIDDEN_SIZES)),
            "activation": settings.get("activation", "tanh"),
        }
        others = {"num_envs": settings["num_envs"], "algorithm": cell["algorithm"]}
        longest = min(record["steps"], LONGEST_EPISODE)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidPolicy(f"{folder / RECORD} does not say of which networks {path.name} is ({error!r})") from error
    env = make_env(task)
    close(env)
    about = describe(task, env.observation_space, env.action_space, longest) | networks | others
    if about["action_space"]["kind"] == "Box" and f"{NETWORK}/log_std" not in headers:
        outputs = headers.get(f"{NETWORK}/network.{2 * len(networks['hidden_sizes'])}.bias")
        about[BOUNDED] = BOUNDED_ACTORS[outputs == (2 * flat_size(about["action_space"]),)]
    return about, bounds_of(env.action_space)


def _record(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder; None where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def why_no_policy(folder: Path) -> str:
    """Why a folder has no policy, and what to do, in a sentence."""
    record = _record(folder)
    if record is None:
        return f"{folder} is no folder of a run: it has no {FILE}, and no {RECORD}"
    saved = sorted((folder / CHECKPOINTS).glob("*.npz"), key=lambda file: (len(file.name), file.name))
    instead = f"; {saved[-1]}, its last checkpoint, can be loaded instead" if saved else ""
    if record.get("status") == "diverged":
        return (
            f"{folder} has no {FILE}: the run diverged at step {record.get('diverged_at')}, and a policy with numbers "
            f"that are not finite is not kept{instead}"
        )
    return (
        f"{folder} has no {FILE}: the run is of an earlier version, and without the folder its cell runs again and "
        f"keeps one; or it is of an algorithm of another library, which keeps none{instead}"
    )
