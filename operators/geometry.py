"""Where voxels are in the patient: one value type instead of loose 4 x 4 arrays.

Vocabulary: arrays are indexed ``(z, y, x)`` = (slice, row, column); positions are
millimetres in the DICOM patient system, LPS (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE_MM = 1e-3
"""Two geometries closer than this, at every corner, are the same."""


@dataclass(frozen=True)
class VolumeGeometry:
    """The grid of a volume in the patient.

    Args:
        shape_zyx: Number of slices, rows, columns.
        spacing_mm_zyx: Distance of voxel centres along slices, rows, columns, mm.
        origin_mm_lps: Centre of voxel ``[0, 0, 0]``, LPS, mm.
        direction_lps_zyx: Three unit vectors in LPS: the direction in which the
            slice, row and column index grows.

    >>> axial = VolumeGeometry((2, 3, 4), (5.0, 2.0, 1.0), (10.0, 20.0, 30.0),
    ...                        ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    >>> axial.position_mm_lps((1, 2, 3)).tolist()
    [13.0, 24.0, 35.0]
    """

    shape_zyx: tuple[int, int, int]
    spacing_mm_zyx: tuple[float, float, float]
    origin_mm_lps: tuple[float, float, float]
    direction_lps_zyx: tuple[
        tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]
    ]

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """``(4, 4)`` float64: homogeneous index ``(z, y, x, 1)`` to position in mm, LPS."""
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(self.direction_lps_zyx, dtype=float).T * self.spacing_mm_zyx
        affine[:3, 3] = self.origin_mm_lps
        return affine

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm_zyx)) / 1000.0

    def position_mm_lps(self, index_zyx: tuple[float, float, float]) -> NDArray[np.float64]:
        """Position of an index, ``(3,)`` float64, LPS, mm."""
        return np.asarray((self.affine_lps @ np.array([*index_zyx, 1.0]))[:3], dtype=np.float64)

    def is_same_as(self, other: VolumeGeometry) -> bool:
        """True when both grids have the same shape and the same corners."""
        if self.shape_zyx != other.shape_zyx:
            return False
        far = tuple(n - 1 for n in self.shape_zyx)
        corners = [(0, 0, 0), (far[0], 0, 0), (0, far[1], 0), (0, 0, far[2])]
        return all(
            np.allclose(self.position_mm_lps(c), other.position_mm_lps(c), atol=TOLERANCE_MM) for c in corners
        )
