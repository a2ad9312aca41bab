"""A stack of thin sagittal planes onto which tissues are painted, one over the other.

Three signals are kept: water and fat of T1, because the chemical shift moves fat alone, and STIR,
where fat gives next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

Volume = NDArray[np.float32]
Value = tuple[float | Volume, float | Volume, float | Volume]
"""Water of T1, fat of T1, STIR."""


@dataclass(frozen=True)
class Window:
    """A box of the canvas."""

    planes: slice
    rows: slice
    columns: slice

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """For arrays ``(plane, row, column)``."""
        return self.planes, self.rows, self.columns


class Canvas:
    """Planes of one pixel size.

    Args:
        x_mm: ``(n,)`` places of the planes, LPS, in their order.
        y_mm: ``(m,)`` places of the columns, growing.
        z_mm: ``(k,)`` places of the rows, falling.
        rng: For the textures.
    """

    def __init__(
        self,
        x_mm: NDArray[np.float64],
        y_mm: NDArray[np.float64],
        z_mm: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self.x_mm = x_mm.astype(np.float32)
        self.y_mm = y_mm.astype(np.float32)
        self.z_mm = z_mm.astype(np.float32)
        self.pixel_mm = float(y_mm[1] - y_mm[0])
        self.signals = np.zeros((3, len(x_mm), len(z_mm), len(y_mm)), dtype=np.float32)
        self._rng = rng
        self.fine = self.texture(2.2)
        self.coarse = self.texture(8.0)
        self.streaks = self.texture(2.6, along=5.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(self.x_mm), len(self.z_mm), len(self.y_mm)

    @cached_property
    def whole(self) -> Window:
        """All of it."""
        return Window(slice(None), slice(None), slice(None))

    def texture(self, scale_mm: float, along: float = 1.0) -> Volume:
        """``(plane, row, column)`` float32: smooth noise of mean 0 and about unit variance.

        Args:
            scale_mm: Size of its grains.
            along: How much longer they are from head to feet.
        """
        planes, rows, columns = self.shape
        step = max(scale_mm / self.pixel_mm, 1.0)
        small = self._rng.standard_normal(
            (planes, int(rows / step / along) + 3, int(columns / step) + 3), dtype=np.float32
        )
        across = max(int(scale_mm / max(abs(float(self.x_mm[1] - self.x_mm[0])), 0.3)), 1)
        if across > 1:
            small = uniform_filter1d(small, across, axis=0, mode="wrap") * np.float32(np.sqrt(across))
        out = np.empty(self.shape, dtype=np.float32)
        for plane, values in enumerate(small):
            out[plane] = cv2.resize(values.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
        return out

    def window(
        self,
        centre_yz: tuple[float, float],
        reach_mm: float | tuple[float, float],
        x_range: tuple[float, float],
    ) -> Window | None:
        """The box around a place, or None when it is outside.

        Args:
            centre_yz: Middle.
            reach_mm: To each side, or along y and along z.
            x_range: Lowest and highest x.
        """
        reach_y, reach_z = (reach_mm, reach_mm) if isinstance(reach_mm, float | int) else reach_mm
        columns = np.searchsorted(self.y_mm, (centre_yz[0] - reach_y, centre_yz[0] + reach_y))
        rows = np.searchsorted(-self.z_mm, (-centre_yz[1] - reach_z, -centre_yz[1] + reach_z))
        inside = np.flatnonzero((self.x_mm >= x_range[0]) & (self.x_mm <= x_range[1]))
        if columns[0] >= columns[1] or rows[0] >= rows[1] or not inside.size:
            return None
        return Window(
            slice(int(inside[0]), int(inside[-1]) + 1),
            slice(int(rows[0]), int(rows[1])),
            slice(int(columns[0]), int(columns[1])),
        )

    def axes(self, window: Window) -> tuple[Volume, Volume, Volume]:
        """x, y, z of a box, to be broadcast: ``(n,1,1)``, ``(1,1,m)``, ``(1,k,1)``."""
        return (
            self.x_mm[window.planes, None, None],
            self.y_mm[None, None, window.columns],
            self.z_mm[None, window.rows, None],
        )

    def soft(self, depth_mm: Volume) -> Volume:
        """Part of a pixel inside, 0..1, from the depth of its middle below the surface."""
        return np.asarray(np.clip(depth_mm / np.float32(self.pixel_mm) + np.float32(0.5), 0, 1))

    def paint(self, window: Window, opacity: Volume, value: Value) -> None:
        """Covers what is there.

        Args:
            window: Where.
            opacity: 0..1, to be broadcast to the box.
            value: Of the tissue: numbers, or arrays of the box.
        """
        for channel, one in enumerate(value):
            signal = self.signals[(channel, *window.index)]
            signal += opacity * (one - signal)
