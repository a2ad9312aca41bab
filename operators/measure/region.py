"""The mediastinal reference box of SPECT, placed by the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry

TOP = 0.10
"""The box begins this fraction of the chest's width below the apices of the lungs."""
WIDTH = 0.10
"""Of the chest's width."""
DEPTH = 0.20
"""Of the chest's width, front to back."""
HEIGHT = 0.30
"""Of the length from the apices of the lungs to the lower edge of the heart."""
WALL_MM = 25.0
"""Thickness of the chest's wall beside each lung."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Box:
    """An upright box in the patient: lower and upper corner, ``(3,)`` float64 LPS mm."""

    low_mm_lps: NDArray[np.float64]
    high_mm_lps: NDArray[np.float64]

    def contains(self, places_mm_lps: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the places ``(..., 3)`` lie inside."""
        inside = (places_mm_lps >= self.low_mm_lps) & (places_mm_lps <= self.high_mm_lps)
        return np.asarray(inside.all(axis=-1), dtype=np.bool_)


def voxel_places_mm_lps(geometry: VolumeGeometry) -> NDArray[np.float64]:
    """Centre of each voxel, ``(z, y, x, 3)`` float64 LPS mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape_zyx), indexing="ij"), axis=-1)
    return np.asarray(index @ geometry.affine_lps[:3, :3].T + geometry.affine_lps[:3, 3], dtype=np.float64)


def mediastinal_box(
    right_lung_zyx: NDArray[np.bool_],
    left_lung_zyx: NDArray[np.bool_],
    heart_zyx: NDArray[np.bool_],
    geometry: VolumeGeometry,
) -> Box:
    """The upper mediastinum between the lungs and above the heart.

    The planar rule in three dimensions: the top is 10 % of the chest's width below the
    apices of the lungs, the width 10 % of it, the height 30 % of the mediastinal length.

    Raises:
        ValueError: A mask is empty.
    """
    places = voxel_places_mm_lps(geometry)
    right, left, heart = (places[mask] for mask in (right_lung_zyx, left_lung_zyx, heart_zyx))
    if not (len(right) and len(left) and len(heart)):
        raise ValueError("lungs and heart are needed to place the mediastinal box")
    apex = min(float(right[:, 2].max()), float(left[:, 2].max()))
    chest = float(np.percentile(left[:, 0], 99) - np.percentile(right[:, 0], 1)) + 2 * WALL_MM
    top = apex - TOP * chest
    length = apex - float(heart[:, 2].min())
    bottom = min(top - HEIGHT * length, top - 2 * max(geometry.spacing_mm_zyx))
    middle = _between(right, left, bottom, top)
    level = _level(right, left, bottom, top)
    half_width = max(WIDTH * chest / 2, float(max(geometry.spacing_mm_zyx)))
    half_depth = DEPTH * chest / 2
    return Box(
        low_mm_lps=np.array([middle - half_width, level - half_depth, bottom]),
        high_mm_lps=np.array([middle + half_width, level + half_depth, top]),
    )


def _between(right: NDArray[np.float64], left: NDArray[np.float64], bottom: float, top: float) -> float:
    """Half way between the inner borders of the lungs at these heights, LPS x in mm."""
    slab = [lung[(lung[:, 2] >= bottom) & (lung[:, 2] <= top)] for lung in (right, left)]
    right_slab, left_slab = (
        part if len(part) else lung for part, lung in zip(slab, (right, left), strict=True)
    )
    return float(np.percentile(right_slab[:, 0], 98) + np.percentile(left_slab[:, 0], 2)) / 2


def _level(right: NDArray[np.float64], left: NDArray[np.float64], bottom: float, top: float) -> float:
    """Middle of the lungs from front to back at these heights, LPS y in mm."""
    lungs = np.concatenate([right, left])
    slab = lungs[(lungs[:, 2] >= bottom) & (lungs[:, 2] <= top)]
    return float(np.median((slab if len(slab) else lungs)[:, 1]))
