"""Which structures are cut off by the edge of what was scanned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from operators.geometry import VolumeGeometry

LEAST_CONTACT_MM2 = 15.0
"""A structure that touches the edge with less than this has a few stray voxels there."""
EDGE_MM = 2.4
"""What ends as near to the edge of the volume is taken to reach it: outlines are no sharper."""
PADDING_HU = -1000.0
"""What lies outside the reconstructed circle is written with a value at or below this."""


def cut_off_labels(
    labels_zyx: NDArray[np.integer], hu_zyx: NDArray[np.floating], geometry: VolumeGeometry
) -> frozenset[int]:
    """Labels that reach the edge of the volume, or of the round field of view inside of it.

    Args:
        labels_zyx: ``(z, y, x)``, 0 is background.
        hu_zyx: ``(z, y, x)``, Hounsfield units, same grid.
        geometry: The grid.
    """
    slice_mm, row_mm, column_mm = geometry.spacing_mm_zyx
    count = int(labels_zyx.max()) + 1
    contact_mm2 = np.zeros(count)
    for axis, voxel_mm2 in enumerate((row_mm * column_mm, slice_mm * column_mm, slice_mm * row_mm)):
        depth = max(1, round(EDGE_MM / geometry.spacing_mm_zyx[axis]))
        for ends in (range(depth), range(-depth, 0)):
            faces = [np.take(labels_zyx, end, axis=axis).ravel() for end in ends]
            contact_mm2 += np.max([np.bincount(f, minlength=count) for f in faces], axis=0) * voxel_mm2
    for labels_yx, hu_yx in zip(labels_zyx, hu_zyx, strict=True):
        outside = outside_circle(hu_yx)
        if outside is not None and labels_yx.any():
            rim = labels_yx[ndimage.binary_dilation(outside)]
            contact_mm2 += np.bincount(rim, minlength=len(contact_mm2)) * slice_mm * column_mm
    return frozenset(int(label) for label in np.flatnonzero(contact_mm2 >= LEAST_CONTACT_MM2)) - {0}


def outside_circle(hu_yx: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Pixels that the reconstruction did not fill, ``(y, x)``; None where it filled the square.

    They have one value, that of all four corners, and touch a corner.

    >>> y, x = np.ogrid[-4:5, -4:5]
    >>> int(outside_circle(np.where(y**2 + x**2 < 20, 40.0, -2000.0)).sum())
    20
    >>> outside_circle(np.full((9, 9), 40.0)) is None
    True
    """
    corners = hu_yx[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners[0] > PADDING_HU or np.any(corners != corners[0]):
        return None
    pieces, _ = ndimage.label(hu_yx == corners[0])
    return np.isin(pieces, np.unique(pieces[[0, 0, -1, -1], [0, -1, 0, -1]]))
