"""Truth of a phantom as NIfTI: what hospitals annotate with."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry


def save_labels(
    path: Path, labels_zyx: NDArray[np.uint8], geometry: VolumeGeometry, *, compression: int = 6
) -> None:
    """Writes labels as NIfTI ``(x, y, z)`` with an RAS affine; the same labels give the same bytes.

    Args:
        path: Its folder is made when missing.
        labels_zyx: ``(z, y, x)`` uint8.
        geometry: Its grid, LPS mm.
        compression: Of gzip, 0 to 9: volumes of many slices are written faster with less.
    """
    affine = geometry.affine_lps[:, [2, 1, 0, 3]].copy()
    affine[:2] *= -1
    image = nibabel.Nifti1Image(np.ascontiguousarray(labels_zyx.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=compression, mtime=0))
