"""What the network says of one CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Structures of one CT by side, and how sure the network is of each.

    Args:
        segments_zyx: ``(z, y, x)`` uint8, segment numbers 0..43, on the grid of the CT.
        uncertainty_zyx: ``(z, y, x)`` float32, variance of the class probabilities over the passes,
            averaged over classes, on the grid of the CT.
        psv: Predictive structure-wise variance by segment number: mean of the variance over the
            segment's voxels on the model's grid.
        predictive_dice: By segment number: mean Dice between the segment of each pass and that of
            the averaged probabilities, on the model's grid, 0..1.
        low_confidence: Numbers of segments whose PSV is above what held-out patients of the training
            have where they are well outlined: low accuracy is to be expected.
        unknown_confidence: Numbers of segments of which that is not known for this model.
        passes: Stochastic passes.
        profile: ``cpu`` or ``gpu``.
        warnings: Sentences that a reader of the results must see.
    """

    segments_zyx: NDArray[np.uint8]
    uncertainty_zyx: NDArray[np.float32]
    psv: Mapping[int, float]
    predictive_dice: Mapping[int, float]
    low_confidence: frozenset[int]
    passes: int
    profile: str
    warnings: tuple[str, ...] = ()
    unknown_confidence: frozenset[int] = frozenset()
