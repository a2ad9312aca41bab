"""The science: which voxels of a CT are body. Arrays in, arrays out; no DICOM, no graph.

The model is a logistic regression of "tissue or air" on the smoothed attenuation, two
numbers that `train` learns; the body is the largest connected piece of tissue with the
holes of each slice (lungs, bowel gas) filled.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy import ndimage

from operators.errors import BrokenBundle, Refused
from operators.geometry import VolumeGeometry

WEIGHTS = "models/tissue.safetensors"
SMOOTHING_MM = 3.0
"""Standard deviation of the smoothing that takes the noise away before voxels are judged."""
THICKEST_COUCH_MM = 15.0
"""What touches the body and is thinner than this, such as the couch, is not body."""
HU_SCALE = 1000.0


def smoothed(hu_zyx: NDArray[np.float32], geometry: VolumeGeometry) -> NDArray[np.float32]:
    """Attenuation without noise, ``(z, y, x)`` float32, thousands of Hounsfield units."""
    sigma = [SMOOTHING_MM / spacing for spacing in geometry.spacing_mm_zyx]
    return np.asarray(ndimage.gaussian_filter(hu_zyx, sigma) / HU_SCALE, dtype=np.float32)


def find_body(hu_zyx: NDArray[np.float32], geometry: VolumeGeometry, bundle: Path) -> NDArray[np.bool_]:
    """The body, ``(z, y, x)`` bool.

    Args:
        hu_zyx: ``(z, y, x)`` float32, Hounsfield units.
        geometry: Grid of the volume.
        bundle: The model's folder.

    Raises:
        Refused: There is no tissue in the volume.
        BrokenBundle: The model cannot be read.
    """
    weight, bias = load_model(bundle.resolve())
    tissue = smoothed(hu_zyx, geometry) * weight + bias > 0
    radius = [max(round(THICKEST_COUCH_MM / 2 / mm), 1) for mm in geometry.spacing_mm_zyx[1:]]
    opened = ndimage.binary_opening(tissue, np.ones((1, 2 * radius[0] + 1, 2 * radius[1] + 1), dtype=bool))
    pieces, count = ndimage.label(opened)
    if count == 0:
        raise Refused("PixelData shows no body: there is no tissue in the volume", attribute="PixelData")
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    rounded = ndimage.binary_dilation(pieces == largest, np.ones((1, 3, 3), dtype=bool)) & tissue
    return np.stack([ndimage.binary_fill_holes(plane) for plane in rounded])


@lru_cache(maxsize=4)
def load_model(bundle: Path) -> tuple[float, float]:
    """Weight and bias of a bundle; read once in a process.

    Raises:
        BrokenBundle: The file is missing or is not what it claims.
    """
    try:
        tensors = load_file(bundle / WEIGHTS)
        return float(tensors["weight"][0]), float(tensors["bias"][0])
    except (OSError, KeyError, IndexError, SafetensorError) as error:
        raise BrokenBundle(f"{WEIGHTS} cannot be used: {error}") from error
