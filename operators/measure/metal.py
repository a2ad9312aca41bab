"""Metal on CT, told by voxels that no bone reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from operators.geometry import VolumeGeometry

METAL_HU = 2500.0
"""Cortical bone stays below 2000 HU; metal leaves the scale of most scanners."""
LEAST_METAL_MM3 = 50.0
"""Smaller pieces are calcifications, noise or a clip."""


def metal_pieces(hu_zyx: NDArray[np.floating], geometry: VolumeGeometry) -> tuple[NDArray[np.intp], ...]:
    """Voxels of each connected piece brighter than `METAL_HU` and not smaller than `LEAST_METAL_MM3`.

    Args:
        hu_zyx: ``(z, y, x)``, Hounsfield units.
        geometry: Its grid.

    Returns:
        For each piece the indices of its voxels, ``(n, 3)``, in the order z, y, x.
    """
    slices = np.array([z for z, plane in enumerate(hu_zyx) if plane.max() > METAL_HU], dtype=int)
    if not len(slices):
        return ()
    first = int(slices.min())
    metal = hu_zyx[first : slices.max() + 1] > METAL_HU
    numbers, count = ndimage.label(metal, structure=np.ones((3, 3, 3)))
    places = np.argwhere(metal)
    owner = numbers[metal]
    least = LEAST_METAL_MM3 / (geometry.voxel_volume_ml * 1000.0)
    sizes = np.bincount(owner, minlength=count + 1)
    return tuple(places[owner == n] + (first, 0, 0) for n in np.flatnonzero(sizes >= least) if n)
