"""Counts that a gamma camera can have made, and others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from operators.errors import Refused
from operators.read.attributes import number_or

MAX_COUNTS_PER_VOXEL = 1e9
"""More than this in one voxel is not a count."""
MIN_TOTAL_COUNTS = 1000.0
"""Fewer counts than this in a whole image hold no information."""
MAX_NEGATIVE_FRACTION = 0.25
"""Filtered backprojection undershoots; more negative than this share of the positive sum is wrong."""
MAX_SATURATED_FRACTION = 0.01
"""More voxels than this at the storage maximum mean that the counts overflowed."""


def check_counts(counts: NDArray[np.float32], instance: Dataset) -> None:
    """Accepts an array of counts that a gamma camera can have made.

    Raises:
        Refused: Not finite, constant, mostly negative, too few, too many or saturated.
    """
    if not np.isfinite(counts).all():
        raise Refused("PixelData holds values that are not finite after rescale", attribute="PixelData")
    low, high = float(counts.min()), float(counts.max())
    if low == high:
        raise Refused(f"PixelData is constant ({low:g}): there is no image", attribute="PixelData")
    positive = float(counts[counts > 0].sum())
    negative = float(-counts[counts < 0].sum())
    if negative > MAX_NEGATIVE_FRACTION * positive:
        raise Refused(
            f"PixelData holds negative counts ({negative:g} against {positive:g} positive)",
            attribute="PixelData",
        )
    if positive < MIN_TOTAL_COUNTS:
        raise Refused(
            f"PixelData holds {positive:g} counts in all; at least {MIN_TOTAL_COUNTS:g} are needed",
            attribute="PixelData",
        )
    if high > MAX_COUNTS_PER_VOXEL:
        raise Refused(f"PixelData holds {high:g} counts in one voxel: not a count", attribute="PixelData")
    _check_saturation(counts, instance, high)


def _check_saturation(counts: NDArray[np.float32], instance: Dataset, high: float) -> None:
    signed = int(instance.get("PixelRepresentation", 0))
    ceiling = 2 ** (int(instance.get("BitsStored", 16)) - signed) - 1
    limit = ceiling * number_or(instance, "RescaleSlope", 1.0) + number_or(instance, "RescaleIntercept", 0.0)
    saturated = float((counts >= limit * (1 - 1e-6)).mean())
    if high >= limit * (1 - 1e-6) and saturated > MAX_SATURATED_FRACTION:
        raise Refused(
            f"PixelData is at the storage maximum in {saturated:.0%} of voxels: the counts overflowed",
            attribute="PixelData",
        )
