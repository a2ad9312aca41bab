"""How sure the network is of each structure, from its passes on the model's grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Side

COUNT = len(SEGMENTS) + 1


def segments_of(classes_zyx: NDArray[np.uint8], left_zyx: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Segment numbers 0..43 of class values and sides, uint8 of the same shape.

    >>> segments_of(np.array([0, 1, 1, 22]), np.array([True, False, True, True])).tolist()
    [0, 1, 2, 43]
    """
    table = np.zeros((2, len(STRUCTURES) + 1), dtype=np.uint8)
    for segment in SEGMENTS:
        for left in (0, 1):
            if segment.side in (None, Side.LEFT if left else Side.RIGHT):
                table[left, segment.class_value] = segment.number
    return np.asarray(np.where(left_zyx, table[1][classes_zyx], table[0][classes_zyx]), dtype=np.uint8)


def structure_wise_variance(
    segments_zyx: NDArray[np.uint8], variance_zyx: NDArray[np.float32]
) -> dict[int, float]:
    """PSV: the mean voxel variance over each segment there is, by segment number.

    >>> structure_wise_variance(np.array([0, 2, 2], dtype=np.uint8), np.array([9.0, 1.0, 2.0]))
    {2: 1.5}
    """
    flat = segments_zyx.ravel()
    sizes = np.bincount(flat, minlength=COUNT)
    sums = np.bincount(flat, weights=variance_zyx.ravel(), minlength=COUNT)
    return {n: float(sums[n] / sizes[n]) for n in range(1, COUNT) if sizes[n]}


def predictive_dice(
    segments_zyx: NDArray[np.uint8], passes_tzyx: NDArray[np.uint8], left_zyx: NDArray[np.bool_]
) -> dict[int, float]:
    """Mean Dice between each pass and the averaged result, by segment number, 0..1.

    Args:
        segments_zyx: ``(z, y, x)`` uint8, the result.
        passes_tzyx: ``(passes, z, y, x)`` uint8, class values of each pass.
        left_zyx: ``(z, y, x)`` bool, where the patient's left is.
    """
    sizes = np.bincount(segments_zyx.ravel(), minlength=COUNT)
    found = np.zeros(COUNT)
    for classes in passes_tzyx:
        one = segments_of(classes, left_zyx)
        own = np.bincount(one.ravel(), minlength=COUNT)
        both = np.bincount(one[one == segments_zyx], minlength=COUNT)
        found += 2 * both / np.maximum(sizes + own, 1)
    return {n: float(found[n] / len(passes_tzyx)) for n in range(1, COUNT) if sizes[n]}
