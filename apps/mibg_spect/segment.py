"""Stage `infer` of mibg_spect: early and late volumes in, organ masks out.

Never reads files and never decides whether a study is fit: that is done by the
rules and by `operators.read.nm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from operators.read.nm import NmVolume

LABELS: dict[str, int] = {"lung_right": 1, "lung_left": 2, "liver": 3, "heart": 4}
"""Label values of every mask of this app, of truth.nii.gz and of the SEG's segment numbers."""


class Phase(StrEnum):
    """Which of the two acquisitions after injection."""

    EARLY = "early"
    LATE = "late"


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Organs of one patient, once per acquired volume.

    Args:
        reference: The phase whose grid the SEG is written in: early where there is an
            early volume, else late.
        labels_zyx: For each phase present, ``(z, y, x)`` uint8 in that volume's own grid,
            values of `LABELS`, 0 elsewhere. Both come of the same model run; the late one
            is the early one moved by `late_from_early_mm_lps`.
        heart_probability_zyx: ``(z, y, x)`` float32, 0..1, in the grid of `reference`.
        late_from_early_lps: ``(4, 4)`` float64, rigid: position in the early volume's patient
            system to the position of the same tissue in the late one, mm; identity with one phase.
        warnings: Sentences that a reader of the results must see.
    """

    reference: Phase
    labels_zyx: dict[Phase, NDArray[np.uint8]]
    heart_probability_zyx: NDArray[np.float32]
    late_from_early_lps: NDArray[np.float64]
    warnings: tuple[str, ...] = ()


def segment(
    early: NmVolume | None, late: NmVolume | None, *, bundle: Path, device: str = "auto"
) -> Segmentation:
    """Masks of lungs, liver and heart on the volumes given; one of them may be None.

    The networks are cached in the process for each bundle and device, so the second
    study is quick.

    Raises:
        ValueError: Both volumes are None.
        Refused: No lungs, liver or heart is found: the volume is not of a chest.
        BrokenBundle: The bundle is incomplete.
    """
    raise NotImplementedError
