"""Case folders, of phantoms or of a hospital: images, true labels, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from operators.read.case_folders import case_files, find_cases, read_truth
from operators.read.ct import CtVolume, read_ct_volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One patient with truth.

    Args:
        patient_id: What splits and resampling go by.
        volume: The CT.
        body_zyx: ``(z, y, x)`` bool, the true body.
        truth: Content of truth.json.
    """

    patient_id: str
    volume: CtVolume
    body_zyx: NDArray[np.bool_]
    truth: dict[str, Any]


def read_cases(data: Path) -> list[Case]:
    """Every case below a folder, in the order of names.

    Raises:
        FileNotFoundError: There is none.
        Refused: A case's images cannot be used.
        ValueError: A case's labels do not fit its images.
    """
    return [_read_case(folder) for folder in find_cases(data)]


def _read_case(folder: Path) -> Case:
    volume = read_ct_volume(case_files(folder))
    labels = np.asarray(nibabel.load(folder / "truth.nii.gz").dataobj).T
    if labels.shape != volume.geometry.shape_zyx:
        raise ValueError(
            f"{folder.name}: truth.nii.gz has {labels.shape} voxels, not {volume.geometry.shape_zyx}"
        )
    return Case(
        patient_id=str(volume.instances[0].PatientID),
        volume=volume,
        body_zyx=labels == 1,
        truth=read_truth(folder),
    )
