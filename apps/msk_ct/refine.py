"""Edges of bones and muscles moved to where the attenuation changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.structures import STRUCTURES

SACRUM = next(i for i, structure in enumerate(STRUCTURES, start=1) if structure.name == "sacrum")
BONES = tuple(i for i, structure in enumerate(STRUCTURES, start=1) if structure.is_bone)
REACH_MM = 3.0
"""How far an edge may move: about a pixel of the network."""
SOFT_HU = 50.0
"""What bones lie in."""
LEAST_EDGE_HU, HIGHEST_EDGE_HU = 150.0, 500.0
"""Between these lies the attenuation half way from soft tissue to the cortex nearby."""
FAT_REACH_MM = 2.4
"""How deep fat at the edge of a muscle is given up: a pixel of the network."""
FAT_HU = -45.0
"""Below this a voxel is fat by two thirds. Fat deeper in a muscle is the muscle's own."""


def refine(
    classes_zyx: NDArray[np.uint8], hu_zyx: NDArray[np.float32], spacing_mm_yx: tuple[float, float]
) -> NDArray[np.uint8]:
    """Classes with the edges of `refine_bones`, and muscles without fat at their edge.

    Args:
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22.
        hu_zyx: ``(z, y, x)`` float32, Hounsfield units.
        spacing_mm_yx: Of the pixels.
    """
    out = refine_bones(classes_zyx, hu_zyx, spacing_mm_yx)
    for plane, hu in zip(out, hu_zyx, strict=True):
        outside = plane == 0
        if outside.all():
            continue
        muscle = ~outside & ~np.isin(plane, BONES)
        inside_mm = ndimage.distance_transform_edt(~outside, sampling=spacing_mm_yx)
        plane[muscle & (inside_mm <= FAT_REACH_MM) & (ndimage.uniform_filter(hu, 3) < FAT_HU)] = 0
    return out


def refine_bones(
    classes_zyx: NDArray[np.uint8], hu_zyx: NDArray[np.float32], spacing_mm_yx: tuple[float, float]
) -> NDArray[np.uint8]:
    """Classes in which the edge of each bone lies half way between soft tissue and its cortex.

    A scanner blurs an edge but keeps the place of the half height. Edges move by `REACH_MM` at most,
    slice by slice. What a bone other than the sacrum, which has
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
    edge_hu = _edge_hu(hu, spacing_mm_yx)
    taken = ~bone & (outside_mm <= REACH_MM) & (hu > edge_hu)
    given = bone & (inside_mm <= REACH_MM) & (hu < edge_hu)
    solid = ndimage.binary_fill_holes((bone | taken) & ~given)
    plane[taken] = plane[tuple(nearest)][taken]
    plane[given & ~solid] = 0
    for value in BONES:
        if value != SACRUM:
            marrow = ndimage.binary_fill_holes(plane == value) & ~np.isin(plane, BONES)
            plane[marrow] = value


def _edge_hu(hu: NDArray[np.float32], spacing_mm_yx: tuple[float, float]) -> NDArray[np.float32]:
    """Half way from soft tissue to the brightest place within `REACH_MM`, noise smoothed."""
    reach = [2 * round(REACH_MM / mm) + 1 for mm in spacing_mm_yx]
    peak = ndimage.maximum_filter(ndimage.uniform_filter(hu, 3), reach)
    return np.asarray(np.clip((SOFT_HU + peak) / 2, LEAST_EDGE_HU, HIGHEST_EDGE_HU), dtype=np.float32)
