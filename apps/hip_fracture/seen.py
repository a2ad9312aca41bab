"""Whether a hip lies wholly in the part of a picture that got rays.

The femoral head, both trochanters and the shaft just below them must be seen before anything is said of a
hip, least of all that it is not broken. The detector finds the joint and the middle between the trochanters;
where the other parts are follows from these two, as they lie in the phantoms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from operators.read.projection import View
from operators.read.radiograph import Radiograph

PointYx = tuple[float, float]

HEAD_RADIUS_MM = {View.AP: 24.0, View.LATERAL: 22.0}
BELOW_LESSER_MM = {View.AP: (22.0, 32.0), View.LATERAL: (28.0, -8.0)}
"""The shaft 15 mm below the lesser trochanter, from the middle between both: along the line from the joint,
and across it towards the inside of the leg of a right hip."""
TROCHANTERS_MM = {View.AP: ((-7.0, -28.0), (7.0, 28.0)), View.LATERAL: ((14.0, -2.0),)}
"""In the same way: greater and lesser trochanter; in a lateral the greater one lies over the neck."""
NEAR_BORDER_MM = 5.0
"""Nearer than this to a border nobody knows that a part is whole: so far off may the detector be."""
RIM_MM_PER_PX = 2.0
RIM_RANGE = 0.03
"""A row or column at a border, the middle 80 % of whose greys (0 to 1) differ by less, shows nothing."""
FLAT_MM = 4.0
"""Half the side of the square around a part that is looked at for greys that are all the same."""
FLAT_RANGE = 1e-3
_EDGES = {
    "CollimatorShape": (
        "CollimatorUpperHorizontalEdge", "CollimatorLeftVerticalEdge",
        "CollimatorLowerHorizontalEdge", "CollimatorRightVerticalEdge",
    ),
    "ShutterShape": (
        "ShutterUpperHorizontalEdge", "ShutterLeftVerticalEdge",
        "ShutterLowerHorizontalEdge", "ShutterRightVerticalEdge",
    ),
}  # fmt: skip
"""Rectangles of PS3.3 C.8.7.3 and C.7.6.11, in pixels from 1: top, left, bottom, right."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """What got rays: a rectangle of a picture, pixels from 0; bottom and right are beyond it."""

    top: float
    left: float
    bottom: float
    right: float

    def distance_mm(self, y: float, x: float, spacing_mm_yx: PointYx) -> float:
        """From a place to the nearest side, mm; negative outside.

        >>> Field(top=0, left=0, bottom=100, right=50).distance_mm(20.0, 45.0, (1.0, 2.0))
        10.0
        """
        row_mm, column_mm = spacing_mm_yx
        down = min(y - self.top, self.bottom - y) * row_mm
        return min(down, min(x - self.left, self.right - x) * column_mm)


def field_of(radiograph: Radiograph) -> Field:
    """The rectangle within rims of one grey, and within the collimator and shutter that the header tells."""
    rows, columns = radiograph.pixels_yx.shape
    row_mm, column_mm = radiograph.spacing_mm_yx
    size = max(round(columns * column_mm / RIM_MM_PER_PX), 1), max(round(rows * row_mm / RIM_MM_PER_PX), 1)
    small = cv2.resize(radiograph.pixels_yx, size, interpolation=cv2.INTER_AREA)
    top, left, bottom, right = _within_rims(np.asarray(small, dtype=np.float32))
    to_rows, to_columns = rows / size[1], columns / size[0]
    field = Field(
        top=top * to_rows, left=left * to_columns, bottom=bottom * to_rows, right=right * to_columns
    )
    for shape, edges in _EDGES.items():
        field = _within(field, radiograph.header, shape, edges)
    return field


def _within_rims(small_yx: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what is left without flat rows and columns at the borders."""
    top, left = 0, 0
    bottom, right = small_yx.shape
    is_smaller = True
    while is_smaller and bottom - top > 1 and right - left > 1:
        part = small_yx[top:bottom, left:right]
        if _is_flat(part[0]):
            top += 1
        elif _is_flat(part[-1]):
            bottom -= 1
        elif _is_flat(part[:, 0]):
            left += 1
        elif _is_flat(part[:, -1]):
            right -= 1
        else:
            is_smaller = False
    return top, left, bottom, right


def _is_flat(line: NDArray[np.float32]) -> bool:
    low, high = np.percentile(line, (10.0, 90.0))
    return float(high - low) < RIM_RANGE


def _within(field: Field, header: Dataset, shape: str, edges: tuple[str, ...]) -> Field:
    if "RECTANGULAR" not in str(header.get(shape, "")).upper():
        return field
    told = [header.get(edge) for edge in edges]
    if any(edge in (None, "") for edge in told):
        return field
    top, left, bottom, right = (float(edge) for edge in told)
    if not (top < bottom and left < right):
        return field
    return Field(
        top=max(field.top, top),
        left=max(field.left, left),
        bottom=min(field.bottom, bottom - 1),
        right=min(field.right, right - 1),
    )


def parts_px_yx(
    joint_px_yx: PointYx, trochanters_px_yx: PointYx, spacing_mm_yx: PointYx, view: View, *, is_left: bool
) -> dict[str, list[PointYx]]:
    """Where the parts of a hip that must be seen are expected, pixels.

    Args:
        joint_px_yx: Centre of the joint.
        trochanters_px_yx: Middle between both trochanters.
        spacing_mm_yx: Of the pixels, in the patient.
        view: From where it is seen.
        is_left: The other hip's mirror image.

    >>> found = parts_px_yx((100.0, 100.0), (140.0, 70.0), (1.0, 1.0), View.AP, is_left=False)
    >>> [(round(y), round(x)) for y, x in found["the shaft below the trochanters"]]
    [(177, 82)]
    """
    spacing = np.array(spacing_mm_yx)
    joint, middle = (np.array(point) * spacing for point in (joint_px_yx, trochanters_px_yx))
    along = (middle - joint) / max(float(np.hypot(*(middle - joint))), 1e-6)
    across = np.array([-along[1], along[0]]) * (-1.0 if is_left else 1.0)
    turns = [math.radians(degrees) for degrees in range(0, 360, 45)]
    radius = HEAD_RADIUS_MM[view]
    places_mm = {
        "the femoral head": [joint + radius * np.array([math.sin(turn), math.cos(turn)]) for turn in turns],
        "a trochanter": [middle + u * along + v * across for u, v in TROCHANTERS_MM[view]],
        "the shaft below the trochanters": [
            middle + BELOW_LESSER_MM[view][0] * along + BELOW_LESSER_MM[view][1] * across
        ],
    }
    return {
        name: [(float(y), float(x)) for y, x in (place / spacing for place in places)]
        for name, places in places_mm.items()
    }


def unseen(
    radiograph: Radiograph, field: Field, parts: dict[str, list[PointYx]], spacing_mm_yx: PointYx
) -> tuple[list[str], list[str]]:
    """Names of the parts that are not seen, and of those so near to a border that nobody knows."""
    hidden, doubtful = [], []
    for name, places in parts.items():
        nearest = min(field.distance_mm(y, x, spacing_mm_yx) for y, x in places)
        if nearest < 0 or any(_is_blank(radiograph, place, spacing_mm_yx) for place in places):
            hidden.append(name)
        elif nearest < NEAR_BORDER_MM:
            doubtful.append(name)
    return hidden, doubtful


def _is_blank(radiograph: Radiograph, place: PointYx, spacing_mm_yx: PointYx) -> bool:
    """True where all greys around a place are the same: behind a shutter of any shape."""
    half = [max(round(FLAT_MM / spacing), 1) for spacing in spacing_mm_yx]
    low = [max(round(at) - reach, 0) for at, reach in zip(place, half, strict=True)]
    high = [round(at) + reach + 1 for at, reach in zip(place, half, strict=True)]
    square = radiograph.pixels_yx[low[0] : high[0], low[1] : high[1]]
    return square.size == 0 or float(np.ptp(square)) < FLAT_RANGE
