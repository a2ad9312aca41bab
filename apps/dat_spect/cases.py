"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` with one reconstructed SPECT (one multi-frame object or single slices, any file names)
and ``truth.json``; ``truth.nii.gz`` with labels in the grid of the SPECT where structures
were outlined. Labels are needed to make a template, not to train classifiers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from apps.dat_spect.labels import LABELS
from operators.errors import Refused
from operators.read.labels import read_labels
from operators.read.nm import NmVolume, read_nm_volume

PHANTOM_KIND = "synthetic phantom"
"""Of truth.json's ``kind``, where no patient was imaged."""


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

    @property
    def is_phantom(self) -> bool:
        """True when no patient was imaged; a case that does not say what it is counts as a patient's."""
        return self.truth.get("kind") == PHANTOM_KIND


def find_cases(data: Path) -> list[Path]:
    """Case folders below a folder, sorted by name.

    Raises:
        FileNotFoundError: There is none.
    """
    cases = sorted(path.parent for path in data.rglob("truth.json") if (path.parent / "dicom").is_dir())
    if not cases:
        raise FileNotFoundError(f"{data} holds no case: a case is a folder with dicom/ and truth.json")
    return cases


def read_case(folder: Path) -> TruthCase:
    """One case folder.

    Raises:
        Refused: The SPECT cannot be used, or there is none.
        ValueError: The labels do not fit the volume.
    """
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    volume = read_nm_volume(_tomogram(folder / "dicom"))
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
    """The files of the reconstructed SPECT."""
    series: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        header = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=["ImageType", "SeriesInstanceUID"]
        )
        image_type = [str(value) for value in header.get("ImageType") or []]
        if len(image_type) > 2 and image_type[2] == "RECON TOMO":
            series.setdefault(str(header.SeriesInstanceUID), []).append(path)
    if len(series) != 1:
        raise Refused(
            f"{folder.parent.name} holds {len(series)} reconstructed SPECT series; one is needed",
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
