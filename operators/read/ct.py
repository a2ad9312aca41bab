"""CT slices to Hounsfield units with a geometry (PS3.3 A.3, one instance per slice).

What cannot be trusted is refused with the attribute at fault: mixed orientation,
missing, repeated or shifted slices, a tilted gantry, unknown rescale. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read import slices

PADDING_HU = -2000.0
"""What pixels outside of the reconstructed circle become."""
BODY_HU = (-950.0, 3000.0)
"""A padding value among these is not believed: real pixels have it, too."""
NEEDED = (*slices.NEEDED, "RescaleSlope", "RescaleIntercept")


@dataclass(frozen=True, kw_only=True, eq=False)
class CtVolume:
    """A CT series as one volume.

    Args:
        hu_zyx: ``(z, y, x)`` float32, Hounsfield units, slices in the order of `geometry`.
        geometry: Where the voxels are, LPS mm.
        instances: Headers without their pixels, one for each slice, in slice order.
    """

    hu_zyx: NDArray[np.float32]
    geometry: VolumeGeometry
    instances: tuple[Dataset, ...]


def read_ct_volume(files: Sequence[Path]) -> CtVolume:
    """The volume of a CT series.

    Raises:
        Refused: A slice cannot be read or decoded, an attribute is missing, pixel values are no
            Hounsfield units, there are more voxels than fit into memory, or the slices are not an
            evenly spaced, upright stack of one orientation and matrix.
    """
    stack = slices.stack_of([(_header(path), path) for path in files], kind="CT")
    hu_zyx = np.empty(stack.geometry.shape_zyx, dtype=np.float32)
    for z, (header, path) in enumerate(zip(stack.headers, stack.paths, strict=True)):
        hu_zyx[z] = _hounsfield(header, path)
    return CtVolume(hu_zyx=hu_zyx, geometry=stack.geometry, instances=stack.headers)


def _header(path: Path) -> Dataset:
    header = slices.read_header(path, NEEDED)
    unit = str(header.get("RescaleType") or "HU").strip()
    if unit.upper() != "HU":
        raise Refused(f"RescaleType: pixel values are {unit}, not Hounsfield units", attribute="RescaleType")
    return header


def _hounsfield(header: Dataset, path: Path) -> NDArray[np.float32]:
    stored = slices.stored_plane(header, path)
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    hu = np.asarray(stored.astype(np.float32) * slope + intercept, dtype=np.float32)
    padding = header.get("PixelPaddingValue")
    if isinstance(padding, int):
        value = np.array(padding).astype(stored.dtype)  # some write it with the other sign
        if not BODY_HU[0] < float(value) * slope + intercept < BODY_HU[1]:
            hu[stored == value] = PADDING_HU
    return hu
