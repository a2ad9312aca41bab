"""How far the surfaces of two masks are apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def average_surface_distance_mm(
    one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm_zyx: tuple[float, float, float]
) -> float:
    """Average symmetric surface distance, mm; NaN when a mask is empty.

    The surface is the voxels of a mask that have a face outside of it; the mean is over the voxels of
    both surfaces of their distance to the nearest one of the other. Beyond the edge of the array is outside.

    Args:
        one: ``(z, y, x)`` bool.
        other: The same shape.
        spacing_mm_zyx: Of the voxels.

    >>> slab = np.zeros((9, 4, 4), dtype=bool)
    >>> slab[1:4] = True
    >>> average_surface_distance_mm(slab, slab, (1.0, 1.0, 1.0))
    0.0
    """
    if not one.any() or not other.any():
        return float("nan")
    box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(one | other))
    surfaces = [np.pad(mask[box], 1) for mask in (one, other)]
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in surfaces]
    distances = [
        ndimage.distance_transform_edt(~there, sampling=spacing_mm_zyx)[here]
        for here, there in (surfaces, surfaces[::-1])
    ]
    return float(np.concatenate(distances).mean())
