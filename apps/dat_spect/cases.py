"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` with one reconstructed SPECT (one multi-frame object or single slices, any file names)
and ``truth.json``; ``truth.nii.gz`` with labels in the grid of the SPECT where structures
were outlined. Labels are needed to make a template, not to train classifiers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from apps.dat_spect.labels import LABELS
from operators.errors import Refused
from operators.read.case_folders import case_files, read_truth
from operators.read.labels import read_labels
from operators.read.nm import NmVolume, read_nm_volume


@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCase:
    """One patient with the scan and what is known of it.

    Args:
        name: Of the folder.
        patient_id: From the instances: what splits go by.
        volume: The SPECT.
        labels_zyx: ``(z, y, x)`` uint8, values of `LABELS`, in the grid of the volume; None without.
        truth: All of truth.json.
    """

    name: str
    patient_id: str
    volume: NmVolume
    labels_zyx: NDArray[np.uint8] | None
    truth: dict[str, Any] = field(default_factory=dict)


def read_case(folder: Path) -> TruthCase:
    """One case folder.

    Raises:
        Refused: The SPECT cannot be used, or there is none.
        ValueError: The labels do not fit the volume.
    """
    truth = read_truth(folder)
    volume = read_nm_volume(_tomogram(folder))
    outlined = folder / "truth.nii.gz"
    labels = None
    if outlined.is_file():
        names = truth.get("labels") or {str(value): name for name, value in LABELS.items()}
        labels = _renumbered(read_labels(outlined, volume.geometry), names)
    return TruthCase(
        name=folder.name,
        patient_id=str(volume.instances[0].get("PatientID", folder.name)),
        volume=volume,
        labels_zyx=labels,
        truth=truth,
    )


def _tomogram(folder: Path) -> list[Path]:
    """The files of a case's reconstructed SPECT."""
    series: dict[str, list[Path]] = {}
    for path in case_files(folder):
        header = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=["ImageType", "SeriesInstanceUID"]
        )
        image_type = [str(value) for value in header.get("ImageType") or []]
        if len(image_type) > 2 and image_type[2] == "RECON TOMO":
            series.setdefault(str(header.SeriesInstanceUID), []).append(path)
    if len(series) != 1:
        raise Refused(
            f"{folder.name} holds {len(series)} reconstructed SPECT series; one is needed",
            attribute="ImageType",
        )
    return next(iter(series.values()))


def _renumbered(labels: NDArray[np.uint8], names: dict[str, str]) -> NDArray[np.uint8]:
    """Values of `LABELS` for those of the file; other structures become 0."""
    out = np.zeros(labels.shape, dtype=np.uint8)
    for value, name in names.items():
        if name in LABELS:
            out[labels == int(value)] = LABELS[name]
    return out
