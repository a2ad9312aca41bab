"""Names that every module of this app shares: structures, their label values, sides."""

from __future__ import annotations

from enum import StrEnum

LABELS: dict[str, int] = {
    "caudate_right": 1,
    "caudate_left": 2,
    "putamen_right": 3,
    "putamen_left": 4,
    "reference": 5,
}
"""Label values of every mask of this app, of truth.nii.gz and of the SEG's segment numbers."""

PARTS: tuple[str, ...] = (
    "caudate_right",
    "caudate_left",
    "putamen_anterior_right",
    "putamen_anterior_left",
    "putamen_posterior_right",
    "putamen_posterior_left",
)
"""What uptake is measured in: the putamen is halved, because disease begins at its back."""

STRUCTURE_OF: dict[str, str] = {
    part: part.replace("_anterior", "").replace("_posterior", "") for part in PARTS
}
"""The labelled structure that a part belongs to."""


class Side(StrEnum):
    """Of the patient, not of the picture."""

    RIGHT = "right"
    LEFT = "left"


class Feature(StrEnum):
    """The three features that a reader names, and what a high probability means.

    High uptake is F1, symmetry F2, the comma shape F3; each probability is that of the
    abnormal answer: low uptake, asymmetry, dot shape.
    """

    LOW_UPTAKE = "low_uptake"
    ASYMMETRY = "asymmetry"
    DOT_SHAPE = "dot_shape"
