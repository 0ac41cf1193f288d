"""The scores that put a task's returns on the normalised scale, where a grid does not give them.

0 is the score of random actions, which is measured once and kept: from one seed, to four digits, so that it is the same
number everywhere. 1 is the reward threshold that the task is registered with.
"""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from typing import Any

import gymnasium

from policy_gradient_ladder.core.task import StoppedByTask, Task
from policy_gradient_ladder.core.wrapping import modules_of

from .cells import directory_name, preprocessing
from .checks import GridError
from .random_score import EPISODES, random_returns
from .record import json_text
from .schema import DIGITS
from .sources import ROOT, task_code, versions_of

KEPT = ROOT / "results" / ".random_scores"  # beside the results, which the nodes of a cluster share
WITHOUT_MEANING = (
    "normalize_observations",
    "normalize_rewards",
    "reward_scale",
    "action_bounds",
    "training_wrappers",
)  # for returns of random actions
REGISTERED = "registered reward threshold"
OTHERS = (
    "kwargs",
    "variants",
    "wrappers",
    "max_episode_steps",
)  # what makes a task another one than the registered one


def fill_in_scores(task: Task, keys: dict[str, Any]) -> None:
    """Set `random_score`, `reference_score` and `reference_source` of a task's entry where it does not give them.

    Raises GridError, with a sentence about the task without its name, where a score can be neither looked up nor
    measured.
    """
    if keys["reference_score"] is None:
        if keys["reference_source"] is not None:
            raise GridError("has a reference_source and no reference_score; give both, or neither")
        keys |= {"reference_score": registered_threshold(task), "reference_source": REGISTERED}
    elif keys["reference_source"] is None:
        raise GridError("needs the key 'reference_source', text: where its reference_score is from")
    if keys["random_score"] is None:
        keys["random_score"] = random_score(task)


def registered_threshold(task: Task) -> float:
    """The reward threshold that a task is registered with.

    Raises GridError where it has none, or where the grid makes it another task than the registered one.
    """
    changed = [name for name in OTHERS if getattr(task, name)]
    if changed:
        raise GridError(
            f"needs the keys 'reference_score', a good return, and 'reference_source': with {changed[0]} it is another "
            "task than the registered one, whose reward threshold may mean nothing"
        )
    threshold = gymnasium.spec(task.id).reward_threshold
    if threshold is None or not math.isfinite(threshold):
        raise GridError(
            "needs the keys 'reference_score', a good return, and 'reference_source', since no reward threshold is "
            "registered"
        )
    return threshold


def random_score(task: Task) -> float:
    """The mean return of uniformly random actions; measured once, and kept for as long as the task's code is the same.

    Several processes may ask at the same time: each writes a whole file, and they write the same.
    Raises GridError where it cannot be measured.
    """
    asked = {name: value for name, value in preprocessing(task).items() if name not in WITHOUT_MEANING}
    code = task_code(task.id, *modules_of(task.wrappers)).record() | versions_of(["numpy", "mujoco"])
    determines = {"id": task.id} | asked | {"episodes": EPISODES, "code": code}
    digits = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:DIGITS]
    file = KEPT / f"{directory_name(task.id)}-{digits}.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # not there, or damaged: measured again
        kept = json.loads(file.read_text(encoding="utf-8"))["random_score"]
        if math.isfinite(kept):
            return float(kept)
    try:
        returns = random_returns(task)
    except StoppedByTask as error:
        raise GridError(f"needs the key 'random_score', a number, since it cannot be measured: {error}") from error
    score = float(f"{returns.mean():.4g}")
    with contextlib.suppress(OSError):  # results may be a folder that cannot be written; then each process measures
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=KEPT, delete=False, encoding="utf-8") as unfinished:
            unfinished.write(json_text(determines | {"random_score": score}))
        os.replace(unfinished.name, file)
    return score
