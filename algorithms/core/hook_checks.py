"""Checks what the methods of an algorithm return: each refusal names the file, the class and the method."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .algorithm import InvalidAlgorithm, where

# What a row of the update table, or the argument of `after_update`, has beside what networks and `diagnose` record.
RECORDED = ("step", "updates", "learning_rate", "mean_cost", "episode_cost", "explained_variance", "kl", "progress")
NUMERIC = "biuf"  # kinds of NumPy's types: truth values, whole numbers with and without a sign, floats


def checked_scalar(value: object, algorithm: Any, method: str) -> Tensor:
    """`value`, which `method` of the algorithm returned. Raises InvalidAlgorithm if it is no scalar tensor."""
    if not isinstance(value, Tensor) or value.ndim or value.is_complex():
        raise InvalidAlgorithm(
            f"{where(algorithm)}.{method} must return a scalar tensor; what it returned is {_described(value)}"
        )
    return value


def checked_loss(value: object, algorithm: Any, method: str, argument: str, of: Tensor) -> Tensor:
    """As `checked_scalar`, of a loss that is to be minimised through its argument `of`, called `argument`.

    Raises InvalidAlgorithm also if the loss has no gradient where the argument has one. An algorithm with `gradients`
    of its own may do without.
    """
    loss = checked_scalar(value, algorithm, method)
    if of.requires_grad and not loss.requires_grad and not algorithm.overrides("gradients"):
        raise InvalidAlgorithm(
            f"{where(algorithm)}.{method} returned a scalar without a gradient: it does not depend on {argument}, or "
            "it was detached, so nothing could be learned from it"
        )
    return loss


def checked_tensor(value: object, algorithm: Any, method: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that `method` returned, float32. Raises InvalidAlgorithm where it has another shape or type."""
    if not isinstance(value, Tensor) or value.shape != shape or value.dtype != torch.float32:
        raise InvalidAlgorithm(
            f"{where(algorithm)}.{method} returned {_described(value)}; expected is a tensor of shape {tuple(shape)} "
            "and type float32"
        )
    return value


def checked_vector(value: object, algorithm: Any, method: str, network: str, size: int) -> Tensor:
    """The tensor [P] that `gradients` or `step` returned for a network of `size` parameters, detached, as float32.

    float64 is rounded. Raises InvalidAlgorithm for any other type of numbers, any other shape, and a tensor that is
    sparse or elsewhere than in the memory of the processor.
    """
    if (
        not isinstance(value, Tensor)
        or value.shape != (size,)
        or value.dtype not in (torch.float32, torch.float64)
        or value.layout != torch.strided
        or value.device.type != "cpu"
    ):
        raise InvalidAlgorithm(
            f"{where(algorithm)}.{method} returned {_described(value)} for the network {network!r}; expected is a "
            f"tensor of shape {(size,)} and type float32, as its parameters"
        )
    return value.detach().float()


def checked_array(value: object, algorithm: Any, method: str) -> np.ndarray:
    """The array of numbers, or nested lists of them, that `method` returned, as an array of NumPy.

    `method` may say more than the method's name. Raises InvalidAlgorithm for anything else, a tensor among them.
    """
    array = None
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = None
    if array is None or array.dtype.kind not in NUMERIC:
        found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise InvalidAlgorithm(f"{where(algorithm)}.{method} {found}; expected is a NumPy array of real numbers")
    return array


def checked_diagnostics(value: object, algorithm: Any, taken: Collection[str]) -> dict[str, float]:
    """The scalars by name that the method `diagnostics` returned, as floats; `taken` are the names of other columns.

    Raises InvalidAlgorithm if it is no mapping, if a name is taken or has other characters than letters, digits and _,
    and if a value is no scalar.
    """
    said = f"{where(algorithm)}.diagnostics"
    if not isinstance(value, Mapping):
        raise InvalidAlgorithm(f"{said} must return a dict of scalars by name, not a {type(value).__name__}")
    result = {}
    for name, scalar in value.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidAlgorithm(f"{said} returned the name {name!r}; a name consists of letters, digits and _")
        if name in taken:
            raise InvalidAlgorithm(
                f"{said} returned the name {name!r}, which is taken; valid is any but {_list(taken)}"
            )
        is_real = isinstance(scalar, Tensor) and not scalar.ndim and not scalar.is_complex()
        if not is_real and not isinstance(scalar, int | float | np.floating | np.integer):
            raise InvalidAlgorithm(f"{said} returned for {name!r} {_described(scalar)}; expected is a scalar")
        result[name] = float(scalar)
    return result


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _described(value: object) -> str:
    """What a value is, for a person to read; "of shape (3,)" and "of type int64" are of a tensor."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    kind = "" if value.layout == torch.strided and value.device.type == "cpu" else f" {value.layout}, {value.device}"
    return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}{kind}".replace("torch.", "")
