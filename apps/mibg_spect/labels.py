"""Names that every module of this app shares: labels and phases."""

from __future__ import annotations

from enum import StrEnum

LABELS: dict[str, int] = {"lung_right": 1, "lung_left": 2, "liver": 3, "heart": 4}
"""Label values of every mask of this app, of truth.nii.gz and of the SEG's segment numbers."""


class Phase(StrEnum):
    """Which of the two acquisitions after injection."""

    EARLY = "early"
    LATE = "late"
