"""Sagittal slices in reading order, and positions in them: what every later step looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from operators.geometry import VolumeGeometry
from operators.read.mr import MrVolume

READING_AXES_LPS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Where slices, rows and columns lead after turning: to the left, to the feet, to the back."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SagittalStack:
    """A sagittal series, turned for reading.

    Args:
        signal: ``(slice, row, column)`` float32, arbitrary units, not below 0; axes as in
            `apps.spine_metastasis.labels`.
        geometry: Of the turned array, LPS mm; its z, y, x are slice, row, column.
        volume: As read, on whose grid results are encoded.
    """

    signal: NDArray[np.float32]
    geometry: VolumeGeometry
    volume: MrVolume

    @property
    def headers(self) -> tuple[Dataset, ...]:
        """Headers of the source images, in the order of `volume`."""
        return self.volume.headers

    @property
    def frame_of_reference_uid(self) -> str:
        """Which positions can be compared with those of another series."""
        return str(self.volume.headers[0].get("FrameOfReferenceUID", ""))

    def index_of(self, position_mm_lps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional ``(slice, row, column)`` of positions ``(..., 3)`` in mm, LPS."""
        return index_in(self.geometry, position_mm_lps)


def index_in(geometry: VolumeGeometry, position_mm_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional ``(z, y, x)`` of positions ``(..., 3)`` mm LPS in a grid.

    >>> grid = VolumeGeometry((2, 2, 2), (4.0, 1.0, 1.0), (0.0, 0.0, 5.0),
    ...                       ((1, 0, 0), (0, 0, -1), (0, 1, 0)))
    >>> index_in(grid, np.array([4.0, 2.0, 4.0])).tolist()
    [1.0, 1.0, 2.0]
    """
    inverse = np.linalg.inv(geometry.affine_lps)
    found: NDArray[np.float64] = np.asarray(position_mm_lps) @ inverse[:3, :3].T + inverse[:3, 3]
    return found


def turned(volume: MrVolume) -> SagittalStack:
    """The series with its axes in reading order; nothing is resampled."""
    geometry = volume.geometry
    directions = np.asarray(geometry.direction_lps_zyx, dtype=float)
    likeness = READING_AXES_LPS @ directions.T
    order: list[int] = []
    for row in np.abs(likeness):
        free = [axis for axis in range(3) if axis not in order]
        order.append(free[int(np.argmax(row[free]))])
    flipped = tuple(axis for axis in range(3) if likeness[axis, order[axis]] < 0)
    signal = np.flip(np.transpose(volume.signal_zyx, order), flipped)
    first = [0.0, 0.0, 0.0]
    for axis in flipped:
        first[order[axis]] = geometry.shape_zyx[order[axis]] - 1.0
    signs = [-1.0 if axis in flipped else 1.0 for axis in range(3)]
    origin = geometry.position_mm_lps((first[0], first[1], first[2]))
    shape = tuple(geometry.shape_zyx[axis] for axis in order)
    spacing = tuple(geometry.spacing_mm_zyx[axis] for axis in order)
    leads = [signs[axis] * directions[order[axis]] for axis in range(3)]
    return SagittalStack(
        signal=np.ascontiguousarray(np.maximum(signal, 0), dtype=np.float32),
        geometry=VolumeGeometry(
            shape_zyx=(shape[0], shape[1], shape[2]),
            spacing_mm_zyx=(spacing[0], spacing[1], spacing[2]),
            origin_mm_lps=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction_lps_zyx=(_triple(leads[0]), _triple(leads[1]), _triple(leads[2])),
        ),
        volume=volume,
    )


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
