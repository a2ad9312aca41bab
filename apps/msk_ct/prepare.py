"""What the network sees: the CT in the patient's axes, on one grid, the body alone.

The axes are those of the volume, put in the order and direction of the patient, so nothing is
turned and every voxel goes back where it came from. Training and inference both begin here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.preprocess.separable import Axis, resampled, weights

SLICE_MM = 4.0
"""Between slices of the model's grid; the finer profile takes a part of it."""
PIXEL_MM = 2.4
CONTEXT_MM = (0.0, -4.0, 4.0, -12.0, 12.0, -36.0, 36.0)
"""Places along the body of the slices that the network sees with the one that it labels."""
CHANNELS = len(CONTEXT_MM) + 1
SOFT_WINDOW_HU = (-150.0, 350.0)
BONE_WINDOW_HU = (-200.0, 1400.0)
AIR_HU = -1000.0
HIGHEST_HU = 3071.0
BODY_HU = -300.0
SMALLEST_PART = 0.03
"""Of the largest part: what is smaller is a sheet, a tube or the table."""
MARGIN_PIXELS = 3
MULTIPLE = 16
"""The network halves its input four times."""
LARGEST_OBLIQUITY = 0.25
"""Sine of the largest angle between an axis of the volume and one of the patient: 14 degrees.

The plane between the sides is looked for up to there.
"""


@dataclass(frozen=True)
class Orientation:
    """How the axes of a volume become those of the patient.

    Slices then run to the head, rows to the back, columns to the left.

    Args:
        order: Axis of the volume for each axis of the patient, ``(z, y, x)``.
        flipped: Which of them then run the other way.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of an array of the volume in the order of the patient."""
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of an array in the order of the patient, back in the order of the volume."""
        turned = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        return turned.transpose(tuple(int(i) for i in np.argsort(self.order)))


def orientation_of(geometry: VolumeGeometry) -> Orientation:
    """The axes of a volume against those of the patient.

    Raises:
        Refused: The axes lie between those of the patient.

    >>> axes = ((0, 0, -1), (0, 1, 0), (1, 0, 0))
    >>> orientation_of(VolumeGeometry((2, 2, 2), (1, 1, 1), (0, 0, 0), axes)).flipped
    (True, False, False)
    """
    patient_zyx = np.asarray(geometry.direction_lps_zyx, dtype=float)[:, ::-1].T
    order = max(permutations(range(3)), key=lambda o: sum(abs(patient_zyx[i, o[i]]) for i in range(3)))
    along = [float(patient_zyx[i, order[i]]) for i in range(3)]
    if min(abs(a) for a in along) < np.sqrt(1 - LARGEST_OBLIQUITY**2):
        raise Refused(
            "the slices lie oblique in the patient, axial ones are needed",
            attribute="ImageOrientationPatient",
        )
    return Orientation(order, tuple(a < 0 for a in along))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A CT on the model's grid.

    Args:
        hu_zyx: ``(z, y, x)`` int16 in the order of the patient, Hounsfield units, air outside the body.
        body_zyx: ``(z, y, x)`` bool, where the body is.
        axes: Of the model's grid, mm along the axes of the patient.
        source_axes: Of the CT in the order of the patient.
        orientation: From the CT to the order of the patient.
    """

    hu_zyx: NDArray[np.int16]
    body_zyx: NDArray[np.bool_]
    axes: tuple[Axis, Axis, Axis]
    source_axes: tuple[Axis, Axis, Axis]
    orientation: Orientation

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the model's grid, mL."""
        return float(np.prod([axis.spacing_mm for axis in self.axes])) / 1000


def prepare(hu_zyx: NDArray[np.float32], geometry: VolumeGeometry, *, slice_mm: float = SLICE_MM) -> Prepared:
    """A CT on the model's grid, cut to the body.

    Raises:
        Refused: The slices are oblique, or there is nothing in them.
    """
    orientation = orientation_of(geometry)
    hu = orientation.apply(hu_zyx)
    spacing = [geometry.spacing_mm_zyx[axis] for axis in orientation.order]
    source = tuple(Axis(n, s) for n, s in zip(hu.shape, spacing, strict=True))
    grid = [axis.centred(mm) for axis, mm in zip(source, (slice_mm, PIXEL_MM, PIXEL_MM), strict=True)]
    coarse = _coarse(hu, source, grid)
    body = body_mask(coarse)
    if not body.any():
        raise Refused("there is no body in the CT volume", attribute="PixelData")
    coarse[~body] = AIR_HU
    rows, columns = (_box(body.any(axis=(0, 3 - axis)), MARGIN_PIXELS) for axis in (1, 2))
    return Prepared(
        hu_zyx=np.ascontiguousarray(coarse[:, rows, columns]).astype(np.int16),
        body_zyx=np.ascontiguousarray(body[:, rows, columns]),
        axes=(grid[0], grid[1].part(rows.start, rows.stop), grid[2].part(columns.start, columns.stop)),
        source_axes=source,  # type: ignore[arg-type]
        orientation=orientation,
    )


def _coarse(hu: NDArray[np.float32], source: Sequence[Axis], grid: Sequence[Axis]) -> NDArray[np.float32]:
    """The CT on a coarser grid, a few slices at a time in the plane, then along the body."""
    along_y, along_x = (weights(s, g) for s, g in zip(source[1:], grid[1:], strict=True))
    planes = np.empty((len(hu), len(along_y), len(along_x)), dtype=np.float32)
    for start in range(0, len(hu), 16):
        part = torch.from_numpy(np.ascontiguousarray(hu[start : start + 16], dtype=np.float32))
        part = part.clamp(AIR_HU, HIGHEST_HU)
        planes[start : start + 16] = resampled(part, (None, along_y, along_x)).numpy()
    return np.asarray(resampled(torch.from_numpy(planes), (weights(source[0], grid[0]), None, None)).numpy())


def body_mask(hu_zyx: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Body or legs without table and cloth, holes filled, ``(z, y, x)`` bool."""
    flat = np.ones((1, 3, 3), dtype=bool)
    solid = ndimage.binary_opening(hu_zyx > BODY_HU, flat)
    parts, count = ndimage.label(solid)
    if count == 0:
        return np.zeros(hu_zyx.shape, dtype=np.bool_)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = (sizes > SMALLEST_PART * sizes.max())[parts]
    return np.stack([ndimage.binary_fill_holes(one) for one in kept])


def _box(occupied: NDArray[np.bool_], margin: int) -> slice:
    found = np.flatnonzero(occupied)
    return slice(max(0, int(found[0]) - margin), min(len(occupied), int(found[-1]) + 1 + margin))


def context_slices(count: int, index: int, slice_mm: float, stretch: float = 1.0) -> list[int | None]:
    """Indices of the slices that the network sees for one; None beyond the ends.

    >>> context_slices(12, 1, 4.0)
    [1, 0, 2, None, 4, None, 10]
    """
    wanted = [index + round(mm * stretch / slice_mm) for mm in CONTEXT_MM]
    return [one if 0 <= one < count else None for one in wanted]


def channels(hu: torch.Tensor) -> torch.Tensor:
    """``(..., CHANNELS, y, x)`` float32, 0..1, of ``(..., 7, y, x)`` HU, the labelled slice first.

    All slices in the soft-tissue window, the labelled one in that of bone too.
    """
    soft = ((hu - SOFT_WINDOW_HU[0]) / (SOFT_WINDOW_HU[1] - SOFT_WINDOW_HU[0])).clamp(0, 1)
    first = hu[..., :1, :, :]
    bone = ((first - BONE_WINDOW_HU[0]) / (BONE_WINDOW_HU[1] - BONE_WINDOW_HU[0])).clamp(0, 1)
    return torch.cat([soft, bone], dim=-3)


def network_input(hu_zyx: NDArray[np.int16], slices: range, slice_mm: float) -> torch.Tensor:
    """``(len(slices), CHANNELS, y, x)`` float32 of a prepared CT, padded to what the network halves."""
    count, rows, columns = hu_zyx.shape
    padded = [-(-n // MULTIPLE) * MULTIPLE for n in (rows, columns)]
    stack = np.full((len(slices), len(CONTEXT_MM), *padded), AIR_HU, dtype=np.float32)
    for place, index in enumerate(slices):
        for channel, one in enumerate(context_slices(count, index, slice_mm)):
            if one is not None:
                stack[place, channel, :rows, :columns] = hu_zyx[one]
    return channels(torch.from_numpy(stack))
