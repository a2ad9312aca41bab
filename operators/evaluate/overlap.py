"""How well two masks agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one shape; 1 when both are empty.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0
