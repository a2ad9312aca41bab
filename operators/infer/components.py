"""Connected parts of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def largest_component(mask_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected part of a mask, ``(z, y, x)`` bool; an empty mask stays empty.

    >>> largest_component(np.array([[[1, 1, 0, 1]]], dtype=bool)).astype(int).tolist()
    [[[1, 1, 0, 0]]]
    """
    parts, count = ndimage.label(mask_zyx)
    if count <= 1:
        return mask_zyx.astype(np.bool_)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == int(sizes.argmax()), dtype=np.bool_)
