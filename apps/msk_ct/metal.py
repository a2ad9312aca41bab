"""What metal in the images takes away: which structures are not to be believed.

Streaks spread in the slices that hold the metal, most of all on its side. Metal of one hip
leaves the other one usable; metal of both leaves nothing to compare and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.structures import SEGMENTS, Side
from operators.errors import Refused
from operators.geometry import VolumeGeometry

REACH_MM = 15.0
"""Above and below the metal: partial volume, and structures that it is fixed to."""
LEAST_SHARE = 0.05
"""Of a structure's voxels in slices with metal, from which on its numbers are not believed."""
MIDLINE_MM = 45.0
"""Metal this near to the midline is of spine or sacrum and of no side."""


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
        pieces: For each piece the indices of its voxels, ``(n, 3)``.
        segments_zyx: ``(z, y, x)`` segment numbers 0 to 43.
        geometry: The grid.

    Raises:
        Refused: There is metal on both sides.
    """
    if not pieces:
        return None
    places = [_side_of(piece, segments_zyx, geometry) for piece in pieces]
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


def _side_of(
    piece: NDArray[np.intp], segments_zyx: NDArray[np.integer], geometry: VolumeGeometry
) -> Side | None:
    """The side on which a piece lies, by the structures in its slices; None near the midline."""
    middle_mm = _midline_mm(segments_zyx, geometry, _slices(piece, 0))
    if middle_mm is None:
        middle_mm = _midline_mm(segments_zyx, geometry, slice(None))
    if middle_mm is None:  # one side alone: it is the metal's
        numbers = np.flatnonzero(np.bincount(segments_zyx.ravel(), minlength=len(SEGMENTS) + 1))[1:]
        sides = {SEGMENTS[number - 1].side for number in numbers} - {None}
        return next(iter(sides)) if len(sides) == 1 else None
    across_mm = float(geometry.position_mm_lps(tuple(piece.mean(axis=0)))[0]) - middle_mm
    if abs(across_mm) < MIDLINE_MM:
        return None
    return Side.LEFT if across_mm > 0 else Side.RIGHT


def _midline_mm(segments_zyx: NDArray[np.integer], geometry: VolumeGeometry, slices: slice) -> float | None:
    """LPS x half way between the structures of both sides; None when only one side is there."""
    found = np.argwhere(segments_zyx[slices] > 0)
    if not len(found):
        return None
    side_of = np.array([0, *(0 if s.side is None else 1 if s.side is Side.RIGHT else 2 for s in SEGMENTS)])
    sides = side_of[segments_zyx[slices][tuple(found.T)]]
    found[:, 0] += slices.start or 0
    x_mm = found @ geometry.affine_lps[0, :3] + geometry.affine_lps[0, 3]
    if not (sides == 1).any() or not (sides == 2).any():
        return None
    return float(x_mm[sides == 1].mean() + x_mm[sides == 2].mean()) / 2
