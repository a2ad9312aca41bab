"""CT slices to Hounsfield units with a geometry (PS3.3 A.3, one instance per slice).

What cannot be trusted is refused with the attribute at fault: mixed orientation,
missing or repeated slices, a tilted gantry, unknown rescale. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from operators.errors import Refused
from operators.geometry import VolumeGeometry

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines of two slices of one volume."""
SPACING_TOLERANCE = 0.02
"""Largest deviation of a slice distance from the median, as a fraction of it."""
TILT_TOLERANCE = 0.01
"""Largest sine of the angle between the stack and the slices' normal."""
NEEDED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "RescaleSlope", "RescaleIntercept", "FrameOfReferenceUID",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class CtVolume:
    """A CT series as one volume.

    Args:
        hu_zyx: ``(z, y, x)`` float32, Hounsfield units, slices in the order of `geometry`.
        geometry: Where the voxels are, LPS mm.
        instances: Headers and pixels, one for each slice, in slice order.
    """

    hu_zyx: NDArray[np.float32]
    geometry: VolumeGeometry
    instances: tuple[Dataset, ...]


def read_ct_volume(files: Sequence[Path]) -> CtVolume:
    """The volume of a CT series.

    Raises:
        Refused: A slice cannot be read or decoded, an attribute is missing, or the slices
            are not an evenly spaced, upright stack of one orientation and matrix.
    """
    instances = [_read(path) for path in files]
    if len(instances) < 2:
        raise Refused(
            f"a CT volume needs at least 2 slices, there are {len(instances)}", attribute="SOPInstanceUID"
        )
    _check_same(instances)
    row, column = np.split(np.asarray(instances[0].ImageOrientationPatient, dtype=float), 2)
    normal = np.cross(row, column)
    instances.sort(key=lambda one: float(np.dot(normal, np.asarray(one.ImagePositionPatient, dtype=float))))
    step_mm = _slice_distance(instances, normal)
    spacing_y, spacing_x = (float(v) for v in instances[0].PixelSpacing)
    origin = [float(v) for v in instances[0].ImagePositionPatient]
    geometry = VolumeGeometry(
        shape_zyx=(len(instances), int(instances[0].Rows), int(instances[0].Columns)),
        spacing_mm_zyx=(step_mm, spacing_y, spacing_x),
        origin_mm_lps=(origin[0], origin[1], origin[2]),
        direction_lps_zyx=(_triple(normal), _triple(column), _triple(row)),
    )
    return CtVolume(
        hu_zyx=np.stack([_hounsfield(one) for one in instances]),
        geometry=geometry,
        instances=tuple(instances),
    )


def _read(path: Path) -> Dataset:
    try:
        dataset = pydicom.dcmread(path)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise Refused(f"a slice is not a DICOM file: {error}", attribute="SOPInstanceUID") from error
    for keyword in NEEDED:
        if dataset.get(keyword) in (None, ""):
            raise Refused(f"{keyword} is missing in a slice", attribute=keyword)
    return dataset


def _check_same(instances: Sequence[Dataset]) -> None:
    first = instances[0]
    for keyword in ("Rows", "Columns", "PixelSpacing", "FrameOfReferenceUID", "SeriesInstanceUID"):
        if any(one.get(keyword) != first.get(keyword) for one in instances):
            raise Refused(f"{keyword} differs between slices of one volume", attribute=keyword)
    reference = np.asarray(first.ImageOrientationPatient, dtype=float)
    for one in instances:
        if not np.allclose(
            np.asarray(one.ImageOrientationPatient, dtype=float), reference, atol=ORIENTATION_TOLERANCE
        ):
            raise Refused(
                "ImageOrientationPatient differs between slices", attribute="ImageOrientationPatient"
            )


def _slice_distance(instances: Sequence[Dataset], normal: NDArray[np.float64]) -> float:
    """Distance of neighbouring slices, mm, the same everywhere and along the normal."""
    positions = np.array([[float(v) for v in one.ImagePositionPatient] for one in instances])
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    median = float(np.median(along))
    if median <= 0 or np.any(np.abs(along - median) > SPACING_TOLERANCE * median):
        raise Refused(
            f"ImagePositionPatient: slices are {along.min():.2f} to {along.max():.2f} mm apart, "
            "an even distance is needed; slices are missing or repeated",
            attribute="ImagePositionPatient",
        )
    aside = np.linalg.norm(steps - np.outer(along, normal), axis=1)
    if np.any(aside > TILT_TOLERANCE * median):
        raise Refused("ImagePositionPatient: the gantry was tilted", attribute="ImagePositionPatient")
    return median


def _hounsfield(instance: Dataset) -> NDArray[np.float32]:
    try:
        stored = instance.pixel_array
    except (ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise Refused(f"PixelData cannot be decoded: {error}", attribute="PixelData") from error
    slope, intercept = float(instance.RescaleSlope), float(instance.RescaleIntercept)
    return np.asarray(stored.astype(np.float32) * slope + intercept, dtype=np.float32)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
