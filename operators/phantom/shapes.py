"""Analytic bodies as soft occupancies: what fraction of a voxel is inside.

Points are ``(..., 3)`` float32 (x, y, z), millimetres, LPS axes. Shapes are evaluated at
voxel centres; the edge is a linear ramp of one voxel, so that coarse grids keep volumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Occupancy = NDArray[np.float32]


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, or with `exponent` above 2 a boxier superellipsoid.

    Args:
        centre_mm: Centre, (x, y, z).
        semi_axes_mm: Half lengths along its own axes.
        axes: ``(3, 3)`` rows: its own axes as unit vectors; the identity by default.
        exponent: 2 for an ellipsoid.
    """

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    exponent: float = 2.0

    def local_mm(self, points: Points) -> Points:
        """Points in the shape's own axes, ``(..., 3)`` float32, mm from its centre."""
        shifted = points - np.asarray(self.centre_mm, dtype=np.float32)
        if self.axes == ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
            return shifted
        return shifted @ np.asarray(self.axes, dtype=np.float32).T

    def depth_mm(self, points: Points) -> NDArray[np.float32]:
        """About how deep inside the surface each point lies, mm; negative outside.

        >>> ball = Ellipsoid((0, 0, 0), (10, 10, 10))
        >>> ball.depth_mm(np.array([[0, 0, 0], [15, 0, 0]], dtype=np.float32)).round(3).tolist()
        [10.0, -5.0]
        """
        scaled = np.abs(self.local_mm(points)) / np.asarray(self.semi_axes_mm, dtype=np.float32)
        if self.exponent == 2.0:
            radius = np.sqrt((scaled * scaled).sum(axis=-1))
        else:
            radius = (scaled**self.exponent).sum(axis=-1) ** (1 / self.exponent)
        return np.asarray((1 - radius) * np.float32(min(self.semi_axes_mm)), dtype=np.float32)


@dataclass(frozen=True)
class Capsule:
    """All points within `radius_mm` of a line: an arm, a spine."""

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    radius_mm: float

    def depth_mm(self, points: Points) -> NDArray[np.float32]:
        """How deep inside the surface each point lies, mm; negative outside."""
        start = np.asarray(self.start_mm, dtype=np.float32)
        along = np.asarray(self.end_mm, dtype=np.float32) - start
        shifted = points - start
        fraction = np.clip(shifted @ along / float(along @ along), 0, 1)
        distance = np.linalg.norm(shifted - fraction[..., None] * along, axis=-1)
        return np.asarray(self.radius_mm - distance, dtype=np.float32)


def soft(depth_mm: NDArray[np.float32], voxel_mm: float) -> Occupancy:
    """Fraction of a voxel inside, 0..1 float32, from the depth of its centre.

    >>> soft(np.array([-5.0, 0.0, 5.0], dtype=np.float32), 4.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.asarray(np.clip(depth_mm / np.float32(voxel_mm) + np.float32(0.5), 0, 1), dtype=np.float32)


def rotation_about(axis: tuple[float, float, float], angle_rad: float) -> NDArray[np.float64]:
    """``(3, 3)`` float64 right-handed rotation about an axis.

    >>> np.round(rotation_about((0, 0, 1), np.pi / 2) @ [1, 0, 0], 6).tolist()
    [0.0, 1.0, 0.0]
    """
    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    return np.asarray(
        np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * (cross @ cross), dtype=np.float64
    )
