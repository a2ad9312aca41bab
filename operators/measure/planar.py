"""Heart and mediastinum on anterior planar views, and the ratio of the two.

Arrays are ``(y, x)``, rows from head to feet, columns from the patient's right to left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE_COEFFICIENT = 0.88
"""Conversion coefficient of the average medium-energy collimator, to which ratios are standardised."""
RECTANGLE_TOP = 0.10
"""The rectangle begins this fraction of the body's width below the apices of the lungs."""
RECTANGLE_WIDTH = 0.10
"""Of the body's width."""
RECTANGLE_HEIGHT = 0.30
"""Of the length of the mediastinum, from the apices of the lungs to the lower edge of the heart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanarRegions:
    """The two regions of a planar view, for drawing and for the report.

    Args:
        heart_yx: ``(y, x)`` bool, a disc.
        mediastinum_yx: ``(y, x)`` bool, an upright rectangle.
        heart_centre_px: Column, row (x, y), 0-based, of the disc's centre.
        heart_radius_px: Radius, pixels.
        mediastinum_px: Left column, top row, right column, bottom row, 0-based, inclusive.
    """

    heart_yx: NDArray[np.bool_]
    mediastinum_yx: NDArray[np.bool_]
    heart_centre_px: tuple[float, float]
    heart_radius_px: float
    mediastinum_px: tuple[int, int, int, int]


def standardised_ratio(ratio: float, coefficient: float) -> float:
    """HMR as a medium-energy collimator would have given it: 1 + (HMR - 1) * 0.88 / CC.

    Raises:
        ValueError: The coefficient is not a positive number.

    >>> round(standardised_ratio(1.55, 0.55), 6)
    1.88
    """
    if not coefficient > 0:
        raise ValueError(f"conversion coefficient {coefficient:g} is not positive")
    return 1.0 + (ratio - 1.0) * REFERENCE_COEFFICIENT / coefficient


def coefficient_of(collimator_name: str, coefficients: Mapping[str, float]) -> float | None:
    """The conversion coefficient of a collimator by its exact name, whatever the case, or None.

    >>> coefficient_of("lehr", {"LEHR": 0.55})
    0.55
    >>> coefficient_of("", {"LEHR": 0.55}) is None
    True
    """
    table = {name.strip().upper(): float(value) for name, value in coefficients.items()}
    return table.get(collimator_name.strip().upper()) if collimator_name.strip() else None


def place_regions(
    heart_yx: NDArray[np.bool_],
    lungs_yx: NDArray[np.bool_],
    right_lung_yx: NDArray[np.bool_],
    *,
    body_width_px: float,
) -> PlanarRegions:
    """A disc on the heart and a rectangle in the upper mediastinum, from projected masks.

    Args:
        heart_yx: ``(y, x)`` bool, the heart's shadow.
        lungs_yx: ``(y, x)`` bool, the shadow of both lungs.
        right_lung_yx: ``(y, x)`` bool, the shadow of the right lung.
        body_width_px: Width of the chest.

    Raises:
        ValueError: Heart or a lung has no shadow in the view.
    """
    left_lung_yx = lungs_yx & ~right_lung_yx
    if not (heart_yx.any() and right_lung_yx.any() and left_lung_yx.any()):
        raise ValueError("the heart or a lung is outside the planar view")
    rows, columns = np.nonzero(heart_yx)
    centre = (float(columns.mean()), float(rows.mean()))
    radius = float(np.sqrt(heart_yx.sum() / np.pi))
    grid_y, grid_x = np.indices(heart_yx.shape)
    disc = np.hypot(grid_x - centre[0], grid_y - centre[1]) <= radius
    apex = max(int(np.nonzero(right_lung_yx)[0].min()), int(np.nonzero(left_lung_yx)[0].min()))
    length = int(rows.max()) - apex
    top = round(apex + RECTANGLE_TOP * body_width_px)
    bottom = max(round(top + RECTANGLE_HEIGHT * length), top + 2)
    middle = _midline(right_lung_yx, left_lung_yx, top, bottom)
    half = max(RECTANGLE_WIDTH * body_width_px / 2, 1.0)
    left, right = round(middle - half), round(middle + half)
    rectangle = np.zeros(heart_yx.shape, dtype=np.bool_)
    rectangle[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
    if not rectangle.any():
        raise ValueError("the mediastinum is outside the planar view")
    return PlanarRegions(
        heart_yx=disc,
        mediastinum_yx=rectangle & ~disc,
        heart_centre_px=centre,
        heart_radius_px=radius,
        mediastinum_px=(left, top, right, bottom),
    )


def _midline(
    right_lung_yx: NDArray[np.bool_], left_lung_yx: NDArray[np.bool_], top: int, bottom: int
) -> float:
    """Column half way between the inner borders of the lungs in the rows of the rectangle."""
    middles = []
    for row in range(max(top, 0), min(bottom + 1, len(right_lung_yx))):
        right, left = np.flatnonzero(right_lung_yx[row]), np.flatnonzero(left_lung_yx[row])
        if len(right) and len(left):
            middles.append((right.max() + left.min()) / 2)
    if middles:
        return float(np.median(middles))
    return float((np.nonzero(right_lung_yx)[1].mean() + np.nonzero(left_lung_yx)[1].mean()) / 2)


def body_width_px(counts_yx: NDArray[np.float32], rows: slice) -> float:
    """Width of the body at half of the typical level of its rows, pixels."""
    profile = counts_yx[rows].mean(axis=0)
    threshold = 0.35 * float(np.median(profile[profile > 0.1 * np.percentile(profile, 95)]))
    inside = np.flatnonzero(profile > threshold)
    return float(inside[-1] - inside[0] + 1) if len(inside) else float(len(profile))


def heart_to_mediastinum(counts_yx: NDArray[np.float32], regions: PlanarRegions) -> tuple[float, float]:
    """Mean counts per pixel of heart and of mediastinum."""
    return float(counts_yx[regions.heart_yx].mean()), float(counts_yx[regions.mediastinum_yx].mean())
