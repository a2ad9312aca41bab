"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` with the instances of one study in any naming, ``truth.nii.gz`` with labels in
the grid of the early SPECT (or the late one, when there is no early), and ``truth.json``
whose ``labels`` name the values: ``{"labels": {"1": "lung_right", ...}}``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from apps.mibg_spect.labels import LABELS, Phase
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read import labels
from operators.read.case_folders import case_files, read_truth
from operators.read.nm import NmPlanar, NmVolume, read_nm_planar, read_nm_volume

LATE_AFTER_MINUTES = 90.0
"""Between the early (10 to 60 min) and the late (150 to 330 min) acquisition."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCase:
    """One patient with images and truth.

    Args:
        name: Of the folder.
        patient_id: From the instances: what splits go by.
        volumes: SPECT by phase.
        planar: Anterior views by phase.
        labels_zyx: ``(z, y, x)`` uint8, values of `LABELS`, in the grid of the early volume,
            or the late one where there is no early.
        truth: All of truth.json.
    """

    name: str
    patient_id: str
    volumes: dict[Phase, NmVolume]
    planar: dict[Phase, NmPlanar]
    labels_zyx: NDArray[np.uint8]
    truth: dict[str, Any] = field(default_factory=dict)


def read_case(folder: Path) -> TruthCase:
    """One case folder, its series told apart by kind and time after injection.

    Raises:
        Refused: An instance cannot be used, or there is no SPECT.
        ValueError: The labels do not fit the volume.
    """
    truth = read_truth(folder)
    volumes: dict[Phase, NmVolume] = {}
    planar: dict[Phase, NmPlanar] = {}
    for kind, files in _series_of(case_files(folder)):
        if "TOMO" in kind:
            volume = read_nm_volume(files)
            volumes[_phase_of(volume)] = volume
        elif "STATIC" in kind:
            view = read_nm_planar(files)
            planar[_phase_of(view)] = view
    if not volumes:
        raise Refused(f"{folder.name} holds no reconstructed SPECT", attribute="ImageType")
    reference = volumes.get(Phase.EARLY) or volumes[Phase.LATE]
    found = read_labels(folder / "truth.nii.gz", reference.geometry, truth.get("labels", {}))
    return TruthCase(
        name=folder.name,
        patient_id=str(reference.instances[0].get("PatientID", folder.name)),
        volumes=volumes,
        planar=planar,
        labels_zyx=found,
        truth=truth,
    )


def _series_of(files: list[Path]) -> list[tuple[str, list[Path]]]:
    """Image kind (third value of Image Type) and files of each series."""
    series: dict[str, tuple[str, list[Path]]] = {}
    for path in files:
        header = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=["ImageType", "SeriesInstanceUID"]
        )
        image_type = list(header.get("ImageType") or [])
        kind = str(image_type[2]) if len(image_type) > 2 else ""
        series.setdefault(str(header.SeriesInstanceUID), (kind, []))[1].append(path)
    return list(series.values())


def _phase_of(acquisition: NmVolume | NmPlanar) -> Phase:
    minutes = acquisition.minutes_after_injection
    if minutes is None:
        text = str(acquisition.instances[0].get("SeriesDescription", "")).lower()
        is_late = any(word in text for word in ("late", "delay", "後期", "遅延"))
        return Phase.LATE if is_late else Phase.EARLY
    return Phase.LATE if minutes > LATE_AFTER_MINUTES else Phase.EARLY


def read_labels(path: Path, geometry: VolumeGeometry, names: dict[str, str]) -> NDArray[np.uint8]:
    """Labels of a NIfTI in the order of a volume, ``(z, y, x)`` uint8 with the values of `LABELS`.

    Raises:
        ValueError: Its grid is not that of the volume, whichever way its axes run.
    """
    return _renumbered(labels.read_labels(path, geometry), names)


def _renumbered(labels: NDArray[Any], names: dict[str, str]) -> NDArray[np.uint8]:
    out = np.zeros(labels.shape, dtype=np.uint8)
    for value, name in (names or {str(v): n for n, v in LABELS.items()}).items():
        if name in LABELS:
            out[labels == int(value)] = LABELS[name]
    return out
