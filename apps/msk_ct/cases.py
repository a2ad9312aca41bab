"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` with the slices of one CT in any naming, ``truth.nii.gz`` with segment numbers in its
grid, and ``truth.json`` whose ``labels`` name the values: ``{"labels": {"1": "pelvis_right", ...}}``.
A phantom adds ``anatomy.nii.gz``: every tissue, for training alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.structures import SEGMENTS
from operators.read.case_folders import case_files, read_truth
from operators.read.ct import CtVolume, read_ct_volume
from operators.read.labels import read_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCase:
    """One patient with images and truth.

    Args:
        name: Of the folder.
        patient_id: From the slices: what splits go by.
        volume: The CT.
        segments_zyx: ``(z, y, x)`` uint8, segment numbers 0..43, in the grid of the CT.
        tissues_zyx: ``(z, y, x)`` uint8, values of `anatomy.nii.gz`; None where there is none.
        truth: All of truth.json.
    """

    name: str
    patient_id: str
    volume: CtVolume
    segments_zyx: NDArray[np.uint8]
    tissues_zyx: NDArray[np.uint8] | None = None
    truth: dict[str, Any] = field(default_factory=dict)


def read_case(folder: Path, *, tissues: bool = False) -> TruthCase:
    """One case folder.

    Args:
        folder: With ``dicom/``, ``truth.nii.gz`` and ``truth.json``.
        tissues: Whether to read ``anatomy.nii.gz`` too, where there is one.

    Raises:
        Refused: The slices cannot be used.
        ValueError: The labels do not fit them.
    """
    truth = read_truth(folder)
    volume = read_ct_volume(case_files(folder))
    labels = read_labels(folder / "truth.nii.gz", volume.geometry)
    fine = folder / "anatomy.nii.gz"
    return TruthCase(
        name=folder.name,
        patient_id=str(volume.instances[0].get("PatientID", folder.name)),
        volume=volume,
        segments_zyx=renumbered(labels, truth.get("labels", {})),
        tissues_zyx=read_labels(fine, volume.geometry) if tissues and fine.exists() else None,
        truth=truth,
    )


def renumbered(labels_zyx: NDArray[np.uint8], names: dict[str, str]) -> NDArray[np.uint8]:
    """Labels with segment numbers, by the names that truth.json gives them; others become 0.

    >>> renumbered(np.array([0, 5, 7], dtype=np.uint8), {"5": "sacrum", "7": "bladder"}).tolist()
    [0, 43, 0]
    """
    numbers = {segment.name: segment.number for segment in SEGMENTS}
    table = np.zeros(256, dtype=np.uint8)
    for value, name in names.items():
        table[int(value)] = numbers.get(name, 0)
    return table[labels_zyx]
