"""Edges of bones moved to where the attenuation changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.structures import STRUCTURES

SACRUM = next(i for i, structure in enumerate(STRUCTURES, start=1) if structure.name == "sacrum")
BONES = tuple(i for i, structure in enumerate(STRUCTURES, start=1) if structure.is_bone)
REACH_MM = 3.0
"""How far an edge may move: about a pixel of the network."""
HARD_HU = 200.0
"""More than muscle with contrast, less than cortex."""
SOFT_HU = 110.0
"""An outer voxel below this is no bone."""


def refine_bones(
    classes_zyx: NDArray[np.uint8], hu_zyx: NDArray[np.float32], spacing_mm_yx: tuple[float, float]
) -> NDArray[np.uint8]:
    """Classes in which bones take up hard voxels beside them and give up soft ones at their edge.

    Edges move by `REACH_MM` at most, slice by slice. What a bone other than the sacrum, which has
    canals, encloses is its marrow, whatever it was taken for. Two bones do not take from one another.

    Args:
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22.
        hu_zyx: ``(z, y, x)`` float32, Hounsfield units.
        spacing_mm_yx: Of the pixels.
    """
    out = classes_zyx.copy()
    for plane, hu in zip(out, hu_zyx, strict=True):
        for box in ndimage.find_objects(np.isin(plane, BONES).astype(np.uint8)):
            reach = [int(np.ceil(REACH_MM / mm)) + 1 for mm in spacing_mm_yx]
            wide = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(box, reach, strict=True))
            _refine_plane(plane[wide], hu[wide], spacing_mm_yx)
    return out


def _refine_plane(
    plane: NDArray[np.uint8], hu: NDArray[np.float32], spacing_mm_yx: tuple[float, float]
) -> None:
    bone = np.isin(plane, BONES)
    outside_mm, nearest = ndimage.distance_transform_edt(~bone, sampling=spacing_mm_yx, return_indices=True)
    inside_mm = ndimage.distance_transform_edt(bone, sampling=spacing_mm_yx)
    taken = ~bone & (outside_mm <= REACH_MM) & (hu > HARD_HU)
    given = bone & (inside_mm <= REACH_MM) & (hu < SOFT_HU)
    solid = ndimage.binary_fill_holes((bone | taken) & ~given)
    taken &= solid
    plane[taken] = plane[tuple(nearest)][taken]
    plane[given & ~solid] = 0
    for value in BONES:
        if value != SACRUM:
            marrow = ndimage.binary_fill_holes(plane == value) & ~np.isin(plane, BONES)
            plane[marrow] = value
