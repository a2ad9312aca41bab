"""Counts of a gamma camera on the scale that networks see."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry

HIGHEST = 9.0
"""Counts are clipped at this multiple of the typical bright level."""
BODY_FRACTION = 0.25
"""Columns of the projection above this fraction of the median bright one belong to the body."""


def variance_stabilised(counts: torch.Tensor) -> torch.Tensor:
    """Square root of counts over the mean of the brighter-than-average voxels, 0..3 float32.

    Counts have Poisson noise; after the square root its size no longer depends on the signal.

    >>> variance_stabilised(torch.tensor([0.0, 0.0, 4.0, 4.0])).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    positive = counts.clamp(min=0)
    mean = positive.mean()
    if float(mean) <= 0:
        return torch.zeros_like(counts)
    return (positive / positive[positive > mean].mean()).clamp(max=HIGHEST).sqrt()


def body_centre_mm_lps(counts_zyx: NDArray[np.float32], geometry: VolumeGeometry) -> NDArray[np.float64]:
    """Middle of the body across, middle of the field of view along: ``(3,)`` float64, LPS mm.

    Counts are clipped at their typical level first, so that a bright liver does not pull.
    """
    plane = np.clip(counts_zyx, 0, None).mean(axis=0)
    bright = float(np.median(plane[plane > plane.mean()]))
    rows, columns = np.nonzero(plane > BODY_FRACTION * bright)
    if not len(rows):
        rows, columns = np.indices(plane.shape).reshape(2, -1)
    middle = (geometry.shape_zyx[0] - 1) / 2
    y, x = (float(np.mean(np.percentile(places, [2, 98]))) for places in (rows, columns))
    return geometry.position_mm_lps((middle, y, x))
