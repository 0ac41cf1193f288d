"""Types of the arrays that statistics take and return."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Flags: TypeAlias = npt.NDArray[np.bool_]
Strata: TypeAlias = list[
    Floats
]  # scores of several tasks: per task an array of runs, [..., n_k], each with its own n_k
