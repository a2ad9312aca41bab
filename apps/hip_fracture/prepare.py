"""A hip as the classifiers see it: cut out of its radiograph, turned, left mirrored, contrast made alike.

Pictures are hung as usual: patient's right on the picture's left, so that a right femur leaves its joint to
the left. A left hip is mirrored to look like a right one. A lateral may be stored turned by any angle; it is
turned so that joint and trochanters lie as in an AP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from operators.read.radiograph import Radiograph

OVERVIEW_MM = 2.0
"""Size of a pixel in which hips are looked for."""
CROP_PX = 224
CROP_MM_PER_PX = 0.54
"""In the patient: 121 mm hold head, neck, both trochanters and some shaft."""
MARGIN_PX = 16
"""On each side, in training: what turning and shifting bring into view."""
TYPICAL_MAGNIFICATION = 1.15
"""Of a hip, where the header does not tell: the joint lies a good hand's breadth in front of the detector."""
CANONICAL_RAD = math.radians(135.0)
"""Direction of the trochanters from the joint, clockwise from the picture's right: to the left and down, as
in an AP of a right hip."""
BEYOND_MIDDLE = 0.6
"""Of the way from the joint to the trochanters: where a crop has its middle."""
LOCAL_SIGMA_PX = 9.0
"""Of the neighbourhood to whose mean and contrast the second channel is held."""
LOCAL_NOISE = 0.02
"""Contrast (0 to 1) below which the second channel is not raised: that of noise."""
LOCAL_SPREADS = 3.0
"""Standard deviations from the neighbourhood's mean that are black and white in the second channel."""

PointYx = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a crop of `CROP_PX` rows and columns lies in its picture.

    Args:
        crop_to_image: Two rows of three: ``(x, y, 1)`` of the crop to ``(x, y)`` of the picture, pixels whose
            centres have whole numbers.
    """

    crop_to_image: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``(2, 3)`` float64."""
        return np.array(self.crop_to_image)

    def corners_px_yx(self, margin_px: int = 0) -> NDArray[np.float64]:
        """``(4, 2)``: corners of the crop, with a margin around it, in the picture; row and column."""
        low, high = -margin_px - 0.5, CROP_PX + margin_px - 0.5
        corners = np.array([[low, low, 1.0], [high, low, 1.0], [high, high, 1.0], [low, high, 1.0]])
        return np.asarray((corners @ self.matrix.T)[:, ::-1])


def patient_spacing_mm_yx(radiograph: Radiograph) -> PointYx:
    """Distance of pixels in the patient, mm, along rows' and columns' index."""
    row_mm, column_mm = radiograph.spacing_mm_yx
    magnification = TYPICAL_MAGNIFICATION if radiograph.is_magnified else 1.0
    return row_mm / magnification, column_mm / magnification


def overview(radiograph: Radiograph) -> tuple[NDArray[np.uint8], PointYx]:
    """A picture as the detector sees it, ``(y, x)`` uint8, and its spacing in the patient, mm.

    The middle 98 % of its greys are spread over all of them.
    """
    rows, columns = radiograph.pixels_yx.shape
    row_mm, column_mm = patient_spacing_mm_yx(radiograph)
    size = max(round(rows * row_mm / OVERVIEW_MM), 1), max(round(columns * column_mm / OVERVIEW_MM), 1)
    small = cv2.resize(radiograph.pixels_yx, size[::-1], interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (1.0, 99.0))
    grey = np.clip((small - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    return (grey * 255.0 + 0.5).astype(np.uint8), (rows * row_mm / size[0], columns * column_mm / size[1])


def place(
    joint_px_yx: PointYx,
    trochanters_px_yx: PointYx,
    spacing_mm_yx: PointYx,
    *,
    is_left: bool,
    is_turned: bool,
) -> Placement:
    """Where the crop of a hip lies.

    Args:
        joint_px_yx: Centre of the joint in the picture, row and column.
        trochanters_px_yx: Middle between greater and lesser trochanter.
        spacing_mm_yx: Of the picture's pixels, in the patient.
        is_left: The crop is mirrored.
        is_turned: The crop is turned so that the line from joint to trochanters points as it should; without
            it rows stay rows.

    >>> placed = place((100.0, 100.0), (150.0, 50.0), (0.54, 0.54), is_left=False, is_turned=True)
    >>> placed.corners_px_yx()[0].round(3).tolist()
    [18.0, -42.0]
    """
    row_mm, column_mm = spacing_mm_yx
    down_mm = (trochanters_px_yx[0] - joint_px_yx[0]) * row_mm
    right_mm = (trochanters_px_yx[1] - joint_px_yx[1]) * column_mm
    mirror = -1.0 if is_left else 1.0
    # The turn is that of the mirrored picture, in which x has the other sign.
    turn_rad = math.atan2(down_mm, mirror * right_mm) - CANONICAL_RAD if is_turned else 0.0
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    half = (CROP_PX - 1) / 2.0
    to_mm = CROP_MM_PER_PX * np.array([[1.0, 0.0, -half], [0.0, 1.0, -half]])
    placed_mm = np.array([[mirror * cosine, -mirror * sine], [sine, cosine]]) @ to_mm
    placed_mm[0, 2] += joint_px_yx[1] * column_mm + BEYOND_MIDDLE * right_mm
    placed_mm[1, 2] += joint_px_yx[0] * row_mm + BEYOND_MIDDLE * down_mm
    x_row, y_row = (placed_mm / np.array([[column_mm], [row_mm]])).tolist()
    return Placement(crop_to_image=(tuple(x_row), tuple(y_row)))


def cut_out(pixels_yx: NDArray[np.float32], placement: Placement, margin_px: int = 0) -> NDArray[np.float32]:
    """The crop, ``(y, x)`` float32 in the picture's greys; 0 beyond the picture's border.

    Args:
        pixels_yx: ``(y, x)`` float32.
        placement: Of the crop.
        margin_px: Around it, in its own pixels.
    """
    size = CROP_PX + 2 * margin_px
    corners = placement.corners_px_yx(margin_px)
    step = math.sqrt(abs(float(np.linalg.det(placement.matrix[:, :2]))))
    reach = math.ceil(2 * step) + 2
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + reach, pixels_yx.shape)
    if (high <= low).any():
        return np.zeros((size, size), dtype=np.float32)
    region = np.ascontiguousarray(pixels_yx[low[0] : high[0], low[1] : high[1]], dtype=np.float32)
    if step > 1.2:
        # Pixels of the crop are larger than those of the picture: what is finer would alias.
        region = cv2.GaussianBlur(region, (0, 0), 0.42 * math.sqrt(step**2 - 1))
    matrix = placement.matrix
    matrix[:, 2] -= matrix[:, :2].sum(axis=1) * margin_px + low[::-1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(region, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(crop, dtype=np.float32)


def inside_share(placement: Placement, shape_yx: tuple[int, int]) -> float:
    """Share of a crop that lies within the picture.

    >>> placed = place((50.0, 50.0), (50.0, 50.0), (0.54, 0.54), is_left=False, is_turned=False)
    >>> round(inside_share(placed, (1000, 1000)), 1)
    0.5
    """
    steps = np.linspace(0, CROP_PX - 1, 29)
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    columns, rows = placement.matrix @ np.stack([x, y, np.ones_like(x)])
    inside = (rows >= 0) & (rows < shape_yx[0]) & (columns >= 0) & (columns < shape_yx[1])
    return float(inside.mean())


def channels(crop_yx: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What the classifiers get of a crop: ``(2, y, x)`` uint8.

    The first channel spans the 1st to 99th percentile of the crop without its margin, so that exposure,
    window and processing matter little; the second one is held to the mean and the contrast of each pixel's
    neighbourhood, so that a fracture line is as plain in the dense femoral head as in the pale trochanter.

    Args:
        crop_yx: ``(y, x)`` float32, bone bright, with or without a margin.

    >>> channels(np.zeros((CROP_PX, CROP_PX), dtype=np.float32)).shape
    (2, 224, 224)
    """
    margin = (len(crop_yx) - CROP_PX) // 2
    middle = crop_yx[margin : margin + CROP_PX, margin : margin + CROP_PX]
    low, high = np.percentile(middle, (1.0, 99.0))
    whole = np.clip((crop_yx - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)
    mean = cv2.GaussianBlur(whole, (0, 0), LOCAL_SIGMA_PX)
    variance = cv2.GaussianBlur((whole - mean) ** 2, (0, 0), LOCAL_SIGMA_PX)
    local = (whole - mean) / (np.sqrt(variance) + LOCAL_NOISE)
    local = np.clip(0.5 + local / (2 * LOCAL_SPREADS), 0.0, 1.0)
    return (np.stack([whole, local]) * 255.0 + 0.5).astype(np.uint8)
