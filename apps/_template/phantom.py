"""Phantom cases with known truth: an elliptic body with two lungs, on a couch."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from operators.geometry import VolumeGeometry
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.phantom.identity import generator

APP = Path(__file__).resolve().parent.name
LABELS = {"1": "body"}
SHAPE_ZYX = (24, 72, 80)


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Write one case: ``dicom/``, ``truth.json``, ``truth.nii.gz``.

    Args:
        seed: The same seed gives the same case.
        output: Folder of the case.
        shift: Draw from "hospital B": other sizes, more noise, another slice thickness.
    """
    rng = generator(seed, int(shift), 77)
    spacing = (float(rng.uniform(4, 6) if shift else 5.0), 6.0, 6.0)
    geometry = VolumeGeometry(SHAPE_ZYX, spacing, (-240.0, -216.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    z, y, x = (np.indices(SHAPE_ZYX).T * spacing + geometry.origin_mm_lps[::-1]).T  # mm, LPS
    wide, deep = rng.uniform(150, 200) * (1.08 if shift else 1.0), rng.uniform(95, 125)
    body = (x / wide) ** 2 + (y / deep) ** 2 < 1
    hu = np.full(SHAPE_ZYX, -1000.0)
    hu[body] = rng.uniform(20, 50)
    for side in (-1, 1):
        lung = ((x - side * wide * 0.45) / (wide * 0.32)) ** 2 + (y / (deep * 0.6)) ** 2 < 1
        hu[lung & (z > 20)] = rng.uniform(-880, -780)
    hu[np.abs(y - deep - 24) < 5] = -200.0  # the couch
    hu = ndimage.gaussian_filter(hu, [0.3, 0.5, 0.5])
    hu += rng.normal(0, rng.uniform(20, 40) if shift else rng.uniform(8, 20), SHAPE_ZYX)
    study = CtPhantomStudy(
        kind=APP.upper().strip("_"),
        seed=seed,
        station="HOSPITAL_B" if shift else "HOSPITAL_A",
        body_part="CHEST",
        description="body phantom",
    )
    write_ct_series(output / "dicom", hu.astype(np.float32), geometry, study)
    truth = {
        "app": APP,
        "kind": "synthetic phantom",
        "seed": seed,
        "hospital": "B" if shift else "A",
        "labels": LABELS,
        "body_volume_ml": float(body.sum() * geometry.voxel_volume_ml),
        "body_mean_hu": float(hu[body].mean()),
    }
    (output / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    nibabel.save(_nifti(body, geometry), output / "truth.nii.gz")


def _nifti(body: np.ndarray, geometry: VolumeGeometry) -> nibabel.Nifti1Image:
    """Labels with axes (x, y, z) and a RAS affine, as NIfTI has it."""
    lps = geometry.affine_lps[:, [2, 1, 0, 3]]
    return nibabel.Nifti1Image(body.T.astype(np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
