"""Label volumes of NIfTI files in the order of a DICOM volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry

TOLERANCE = 0.1
"""Largest difference of directions, and of corners in voxels."""


def read_labels(path: Path, geometry: VolumeGeometry) -> NDArray[np.uint8]:
    """Labels of a NIfTI file in the grid of a volume, ``(z, y, x)`` uint8, whichever way its axes run.

    Raises:
        ValueError: Its grid is not that of the volume, or it cannot be read.
    """
    try:
        image: Any = nibabel.load(path)
        data = np.asarray(image.dataobj)
    except (OSError, nibabel.filebasedimages.ImageFileError, EOFError) as broken:
        raise ValueError(f"{path.name} cannot be read: {broken}") from broken
    affine = np.array(image.affine, dtype=np.float64)
    affine[:2] *= -1
    to_volume = np.linalg.inv(geometry.affine_lps) @ affine
    steps = np.rint(to_volume[:3, :3])
    if np.abs(to_volume[:3, :3] - steps).max() > TOLERANCE or np.abs(np.linalg.det(steps)) != 1:
        raise ValueError(f"{path.name} is not in the grid of its images")
    order = [int(np.flatnonzero(steps[axis])[0]) for axis in range(3)]
    labels = data.transpose(order)
    for axis in range(3):
        first = 0
        if steps[axis, order[axis]] < 0:
            labels = np.flip(labels, axis=axis)
            first = labels.shape[axis] - 1
        if abs(to_volume[axis, 3] - first) > TOLERANCE:
            raise ValueError(f"{path.name} is not in the grid of its images")
    if labels.shape != geometry.shape_zyx:
        raise ValueError(f"{path.name} has {labels.shape} voxels, its images {geometry.shape_zyx}")
    return np.ascontiguousarray(labels).astype(np.uint8)
