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


def largest_metal_mm3(hu_zyx: NDArray[np.floating], geometry: VolumeGeometry) -> float:
    """Volume in mm3 of the largest connected piece brighter than `METAL_HU`; 0 without one.

    Args:
        hu_zyx: ``(z, y, x)``, Hounsfield units.
        geometry: Its grid.
    """
    places = np.array([z for z, plane in enumerate(hu_zyx) if plane.max() > METAL_HU], dtype=int)
    if not len(places):
        return 0.0
    metal = hu_zyx[places.min() : places.max() + 1] > METAL_HU
    rows, columns = (np.flatnonzero(metal.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    metal = metal[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    pieces, _ = ndimage.label(metal, structure=np.ones((3, 3, 3)))
    largest = int(np.bincount(pieces[metal]).max())
    return largest * geometry.voxel_volume_ml * 1000.0
