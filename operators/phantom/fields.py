"""Signed distances on a grid: tubes, ellipsoids, smooth unions; and their way to a finer grid.

Everything is float32 (wider for a moment), millimetres, negative inside. `Points` are three
arrays of one shape; in side coordinates they are (medial, posterior, superior) from the hip
centre, in body coordinates (x to the left, y posterior, z superior) from the middle between
the hips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
Points = tuple[Field, Field, Field]
Slices = tuple[slice, slice, slice]
Path3 = Sequence[tuple[float, float, float]]

FAR_MM = np.float32(1e3)


def distance_to_path(points: Points, path: Path3, radii: Sequence[float]) -> Field:
    """Signed distance to a tube along a polyline whose radius changes linearly, mm.

    >>> x = np.array([0.0, 5.0, 20.0], dtype=np.float32); o = np.zeros(3, dtype=np.float32)
    >>> distance_to_path((x, o, o), [(0, 0, -10), (0, 0, 10)], [5, 5]).round(3).tolist()
    [-5.0, 0.0, 15.0]
    """
    best = np.full(points[0].shape, FAR_MM, dtype=np.float32)
    for start, end, r0, r1 in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        t, distance = _segment(points, start, end)
        distance -= np.float32(r0) + t * np.float32(r1 - r0)
        np.minimum(best, distance, out=best)
    return best


def _segment(
    points: Points, start: tuple[float, float, float], end: tuple[float, float, float]
) -> tuple[Field, Field]:
    """Fraction along a segment, 0..1, and distance to it, mm."""
    a = np.asarray(start, dtype=np.float32)
    d = np.asarray(end, dtype=np.float32) - a
    u = [axis - value for axis, value in zip(points, a, strict=True)]
    inverse = np.float32(1.0) / max(np.float32(d @ d), np.float32(1e-6))
    t = u[0] * (d[0] * inverse)
    t += u[1] * (d[1] * inverse)
    t += u[2] * (d[2] * inverse)
    np.clip(t, 0, 1, out=t)
    square = np.zeros_like(t)
    for offset, along in zip(u, d, strict=True):
        off = offset - t * along
        square += off * off
    return t, np.sqrt(square, out=square)


def distance_ratio(points: Points, path: NDArray[np.float32], radii: NDArray[np.float32]) -> Field:
    """Least distance to a polyline over its radius there: 1 on the tube's surface, 0 on the line.

    Args:
        points: Where.
        path: ``(n, 3)`` mm.
        radii: ``(n,)`` mm.
    """
    best = np.full(points[0].shape, FAR_MM, dtype=np.float32)
    for i in range(len(path) - 1):
        t, distance = _segment(points, tuple(path[i]), tuple(path[i + 1]))
        t *= radii[i + 1] - radii[i]
        t += radii[i]
        distance /= t
        np.minimum(best, distance, out=best)
    return best


def ellipsoid(
    points: Points,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    exponent: float = 2.0,
) -> Field:
    """About the signed distance to an ellipsoid (or superellipsoid), mm."""
    total = np.zeros_like(points[0])
    for axis, c, r in zip(points, centre, radii, strict=True):
        scaled = np.abs((axis - np.float32(c)) * np.float32(1 / r))
        total += scaled * scaled if exponent == 2 else scaled ** np.float32(exponent)
    norm = np.sqrt(total) if exponent == 2 else total ** np.float32(1 / exponent)
    return np.asarray((norm - 1) * np.float32(min(radii)), dtype=np.float32)


def union(a: Field, b: Field, smooth_mm: float) -> Field:
    """Smooth minimum: the union, with a fillet of about `smooth_mm`."""
    if smooth_mm <= 0:
        return np.minimum(a, b)
    k = np.float32(smooth_mm)
    h = np.maximum(k - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - h * h / (4 * k), dtype=np.float32)


def intersection(a: Field, b: Field, smooth_mm: float = 0.0) -> Field:
    """Smooth maximum: what is inside both."""
    return -union(-a, -b, smooth_mm)


def box_of(points: Points, low: Sequence[float], high: Sequence[float], step: int = 4) -> Slices | None:
    """The smallest index box whose points lie between `low` and `high`; None when there are none."""
    every = (slice(None, None, step),) * 3
    inside = np.ones(points[0][every].shape, dtype=bool)
    for axis, a, b in zip(points, low, high, strict=True):
        inside &= (axis[every] >= a) & (axis[every] <= b)
    if not inside.any():
        return None
    slices = []
    for d in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(i for i in range(3) if i != d)))
        slices.append(
            slice(max(0, (int(hit[0]) - 1) * step), min(points[0].shape[d], (int(hit[-1]) + 1) * step + 1))
        )
    return slices[0], slices[1], slices[2]


def at(points: Points, box: Slices) -> Points:
    """The points of a box."""
    return points[0][box], points[1][box], points[2][box]


@dataclass(frozen=True)
class Axis:
    """Linear interpolation from coarse samples to fine ones along one axis.

    Args:
        low: Lower coarse neighbour of each fine sample.
        weight: Of the upper neighbour.
    """

    low: NDArray[np.intp]
    weight: Field

    @classmethod
    def between(cls, coarse_start: float, coarse_step: float, n: int, fine: NDArray[np.float64]) -> Axis:
        """For coarse samples at ``start + step * i`` and fine ones at given positions, mm."""
        at_index = (fine - coarse_start) / coarse_step
        low = np.clip(np.floor(at_index).astype(np.intp), 0, n - 2)
        return cls(low, np.clip(at_index - low, 0, 1).astype(np.float32))

    def covering(self, coarse: slice) -> slice:
        """The fine samples that lie between the samples of a coarse slice."""
        hit = np.flatnonzero((self.low >= coarse.start) & (self.low + 1 < coarse.stop))
        return slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)

    def apply(self, values: Field, dimension: int, coarse_start: int, fine: slice) -> Field:
        """Values along a dimension, interpolated."""
        low = self.low[fine] - coarse_start
        shape = [1, 1, 1]
        shape[dimension] = low.size
        weight = self.weight[fine].reshape(shape)
        a = np.take(values, low, axis=dimension)
        b = np.take(values, low + 1, axis=dimension)
        b -= a
        b *= weight
        b += a
        return b


@dataclass(frozen=True)
class Refiner:
    """From the working grid to the grid of the CT."""

    axes: tuple[Axis, Axis, Axis]

    def fine_box(self, box: Slices) -> Slices:
        """The fine voxels inside a coarse box."""
        z, y, x = (axis.covering(s) for axis, s in zip(self.axes, box, strict=True))
        return z, y, x

    def refine(self, values: Field, box: Slices) -> Field:
        """Values given on a coarse box, on the fine voxels of `fine_box`."""
        fine = self.fine_box(box)
        for d in range(3):
            values = self.axes[d].apply(values, d, box[d].start, fine[d])
        return values
