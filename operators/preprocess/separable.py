"""Axis-aligned volumes on another spacing, one axis after the other, as products of small matrices.

Faster and leaner than sampling every voxel on its own, where both grids share their axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """Equally spaced places along one axis.

    Args:
        count: How many.
        spacing_mm: Between neighbours.
        first_mm: Place of the first one.

    >>> Axis(4, 2.0).centred(4.0)
    Axis(count=2, spacing_mm=4.0, first_mm=1.0)
    """

    count: int
    spacing_mm: float
    first_mm: float = 0.0

    def centred(self, spacing_mm: float) -> Axis:
        """The axis of another spacing that covers about the same stretch with the same middle."""
        count = max(1, round(self.count * self.spacing_mm / spacing_mm))
        middle = self.first_mm + (self.count - 1) / 2 * self.spacing_mm
        return Axis(count, spacing_mm, middle - (count - 1) / 2 * spacing_mm)

    def part(self, start: int, stop: int) -> Axis:
        """The places from one index up to another."""
        return Axis(stop - start, self.spacing_mm, self.first_mm + start * self.spacing_mm)

    @property
    def places_mm(self) -> NDArray[np.float64]:
        """``(count,)`` float64."""
        return np.asarray(self.first_mm + np.arange(self.count) * self.spacing_mm, dtype=np.float64)

    def nearest(self, other: Axis) -> NDArray[np.int64]:
        """For each place of another axis the index of the nearest one here, ``(other.count,)``."""
        index = np.rint((other.places_mm - self.first_mm) / self.spacing_mm).astype(np.int64)
        return np.clip(index, 0, self.count - 1)


def weights(source: Axis, target: Axis) -> torch.Tensor:
    """``(target, source)`` float32: linear interpolation, or a triangle as wide as coarser targets ask for.

    Rows add up to 1; beyond the ends the outermost value goes on.

    >>> weights(Axis(3, 1.0), Axis(2, 1.0, 0.5)).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    places = np.clip(target.places_mm, source.places_mm[0], source.places_mm[-1])
    reach = max(source.spacing_mm, target.spacing_mm)
    distance = np.abs(places[:, None] - source.places_mm[None])
    triangle = np.clip(1 - distance / reach, 0, None)
    return torch.tensor(triangle / triangle.sum(axis=1, keepdims=True), dtype=torch.float32)


def resampled(volume: torch.Tensor, matrices: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """``(..., z, y, x)`` with each axis multiplied by its ``(target, source)`` matrix; None leaves it.

    The last axis goes first, so axes that shrink make the work of the others less.
    """
    along_z, along_y, along_x = matrices
    if along_x is not None:
        volume = volume @ along_x.T
    if along_y is not None:
        volume = along_y @ volume
    if along_z is not None:
        shape = volume.shape
        flat = along_z @ volume.reshape(*shape[:-3], shape[-3], -1)
        volume = flat.reshape(*shape[:-3], len(along_z), *shape[-2:])
    return volume
