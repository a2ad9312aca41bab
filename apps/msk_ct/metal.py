"""What metal in the images takes away: which structures are not to be believed.

Streaks spread in the slices that hold the metal, most of all on its side. Metal of one hip
leaves the other one usable; metal of both leaves nothing to compare and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.structures import SEGMENTS, Side
from operators.errors import Refused
from operators.geometry import VolumeGeometry

REACH_MM = 15.0
"""Above and below the metal: partial volume, and structures that it is fixed to."""
LEAST_SHARE = 0.05
"""Of a structure's voxels in slices with metal, from which on its numbers are not believed."""
MIDLINE_MM = 45.0
"""Metal this near to the midline is of spine or sacrum and of no side."""
NEAR_MM = 10.0
"""Metal of a side that is farther from all structures (up to twice as far is still near) lies on the
patient or beside them: rivets, a ring."""


@dataclass(frozen=True, kw_only=True)
class Metal:
    """Metal that was found.

    Args:
        volume_ml: Of all pieces.
        side: Where; None in the middle, or in the middle and on one side.
        affected: Numbers of the segments that are not to be believed.
    """

    volume_ml: float
    side: Side | None
    affected: frozenset[int]


def judge_metal(
    pieces: Sequence[NDArray[np.intp]], segments_zyx: NDArray[np.integer], geometry: VolumeGeometry
) -> Metal | None:
    """What the metal takes away; None without metal.

    Args:
        pieces: For each piece the indices of its voxels, ``(n, 3)``; those of a side and away from all
            structures take nothing away.
        segments_zyx: ``(z, y, x)`` segment numbers 0 to 43.
        geometry: The grid.

    Raises:
        Refused: There is metal on both sides.
    """
    if not pieces:
        return None
    centres = _Centres.of(segments_zyx)
    near = _near(pieces, segments_zyx, geometry)
    told = [
        (piece, _side_of(piece, centres, geometry), is_near)
        for piece, is_near in zip(pieces, near, strict=True)
    ]
    pieces = [piece for piece, place, is_near in told if place is None or is_near]
    places = [place for _, place, is_near in told if place is None or is_near]
    if not pieces:
        return None
    sides = {place for place in places if place is not None}
    volume_ml = sum(len(piece) for piece in pieces) * geometry.voxel_volume_ml
    if len(sides) == len(Side):
        raise Refused(
            f"PixelData: metal ({volume_ml:.0f} mL brighter than any bone) on both sides; CT after joint "
            "replacement or osteosynthesis of both hips is not for this app",
            attribute="PixelData",
        )
    reach = int(np.ceil(REACH_MM / geometry.spacing_mm_zyx[0]))
    total = np.bincount(segments_zyx.ravel(), minlength=len(SEGMENTS) + 1)
    affected: set[int] = set()
    for piece, place in zip(pieces, places, strict=True):
        slices = _slices(piece, reach)
        inside = np.bincount(segments_zyx[slices].ravel(), minlength=len(SEGMENTS) + 1)
        reached = {s.number for s in SEGMENTS if inside[s.number] > LEAST_SHARE * total[s.number]}
        of_side = {s.number for s in SEGMENTS if place is None or s.side in (place, None)}
        affected |= reached & of_side
    side = next(iter(sides)) if len(sides) == 1 and None not in places else None
    return Metal(volume_ml=volume_ml, side=side, affected=frozenset(affected))


def _slices(piece: NDArray[np.intp], reach: int) -> slice:
    return slice(max(int(piece[:, 0].min()) - reach, 0), int(piece[:, 0].max()) + reach + 1)


def _near(
    pieces: Sequence[NDArray[np.intp]], segments_zyx: NDArray[np.integer], geometry: VolumeGeometry
) -> list[bool]:
    """Whether each piece is near a structure, told in blocks of `NEAR_MM`."""
    steps = [max(1, round(NEAR_MM / mm)) for mm in geometry.spacing_mm_zyx]
    blocks = segments_zyx > 0
    for axis, step in enumerate(steps):
        blocks = np.logical_or.reduceat(blocks, np.arange(0, blocks.shape[axis], step), axis=axis)
    blocks = ndimage.binary_dilation(blocks, np.ones((3, 3, 3)))
    return [bool(blocks[tuple((piece // steps).T)].any()) for piece in pieces]


@dataclass(frozen=True, eq=False)
class _Centres:
    """Where the structures of each side are, slice by slice.

    Args:
        counts: ``(slices, 3)``: voxels without a side, of the right and of the left.
        sums: ``(slices, 3, 3)``: of their indices z, y, x (last axis).
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]

    @staticmethod
    def of(segments_zyx: NDArray[np.integer]) -> _Centres:
        """Slice by slice, so that no second volume is needed."""
        side_of = np.array(
            [0, *(0 if s.side is None else 1 if s.side is Side.RIGHT else 2 for s in SEGMENTS)]
        )
        counts, sums = np.zeros((len(segments_zyx), 3)), np.zeros((len(segments_zyx), 3, 3))
        for z, plane in enumerate(segments_zyx):
            rows, columns = np.nonzero(plane)
            sides = side_of[plane[rows, columns]]
            counts[z] = np.bincount(sides, minlength=3)
            sums[z, :, 0] = z * counts[z]
            sums[z, :, 1] = np.bincount(sides, weights=rows, minlength=3)
            sums[z, :, 2] = np.bincount(sides, weights=columns, minlength=3)
        return _Centres(counts, sums)

    def midline_mm(self, geometry: VolumeGeometry, slices: slice) -> float | None:
        """LPS x half way between the structures of both sides; None when only one side is there."""
        counts, sums = self.counts[slices].sum(axis=0), self.sums[slices].sum(axis=0)
        if not counts[1] or not counts[2]:
            return None
        x_mm = [float(geometry.position_mm_lps(tuple(sums[side] / counts[side]))[0]) for side in (1, 2)]
        return sum(x_mm) / 2


def _side_of(piece: NDArray[np.intp], centres: _Centres, geometry: VolumeGeometry) -> Side | None:
    """The side on which a piece lies, by the structures in its slices; None near the midline."""
    middle_mm = centres.midline_mm(geometry, _slices(piece, 0))
    if middle_mm is None:
        middle_mm = centres.midline_mm(geometry, slice(None))
    if middle_mm is None:  # one side alone: it is the metal's
        right, left = (bool(centres.counts[:, side].any()) for side in (1, 2))
        return (Side.RIGHT if right else Side.LEFT) if right != left else None
    across_mm = float(geometry.position_mm_lps(tuple(piece.mean(axis=0)))[0]) - middle_mm
    if abs(across_mm) < MIDLINE_MM:
        return None
    return Side.LEFT if across_mm > 0 else Side.RIGHT
