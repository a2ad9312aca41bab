"""The sequences of one study together: in one frame of reference, T1 first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.spine_metastasis.labels import Weighting
from apps.spine_metastasis.stack import SagittalStack, turned
from operators.read.mr import read_mr_stack

LEAST_SHARED = 0.5
"""Of the height of the lower stack: sequences that share less are told to show different parts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What was read.

    Args:
        stacks: The sequences, in one frame of reference.
        warnings: What a reader must know of the reading.
    """

    stacks: dict[Weighting, SagittalStack]
    warnings: tuple[str, ...] = ()


def read_study(files: Mapping[Weighting, Sequence[Path]]) -> Study:
    """The sequences of a study.

    Raises:
        Refused: The slices of a sequence are no even stack, or cannot be decoded.
    """
    stacks = {w: turned(read_mr_stack(files[w])) for w in Weighting if w in files}
    if len({stack.frame_of_reference_uid for stack in stacks.values()}) > 1:
        # Positions cannot be compared: a vertebra of one might be its neighbour in the other.
        del stacks[Weighting.STIR]
        return Study(
            stacks=stacks,
            warnings=(
                "FrameOfReferenceUID: T1 and STIR lie in different frames of reference, so that vertebrae "
                "cannot be matched; STIR was left out",
            ),
        )
    if len(stacks) > 1 and shared_height(*stacks.values()) < LEAST_SHARED:
        return Study(
            stacks=stacks,
            warnings=(
                "T1 and STIR show different parts of the spine: one of them alone may judge a vertebra",
            ),
        )
    return Study(stacks=stacks)


def shared_height(one: SagittalStack, other: SagittalStack) -> float:
    """Share of the lower stack's height that the other one shows, too, 0 to 1."""
    ranges = []
    for stack in (one, other):
        last = stack.signal.shape[1] - 1
        ends = [float(stack.geometry.position_mm_lps((0, row, 0))[2]) for row in (0, last)]
        ranges.append((min(ends), max(ends)))
    shared = min(high for _, high in ranges) - max(low for low, _ in ranges)
    return float(np.clip(shared / min(high - low for low, high in ranges), 0.0, 1.0))
