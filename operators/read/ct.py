"""CT slices to Hounsfield units with a geometry (PS3.3 A.3, one instance per slice).

What cannot be trusted is refused with the attribute at fault: mixed orientation,
missing, repeated or shifted slices, a tilted gantry, unknown rescale. Nothing is repaired.
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
"""How far a slice may lie from its place in an even stack, as a fraction of the slices' distance."""
ROUNDING_MM = 0.11
"""As far a slice may always lie from its place: scanners round all positions to 0.1 mm."""
TILT_TOLERANCE = 0.01
"""Largest sine of the angle between the stack and the slices' normal."""
PADDING_HU = -2000.0
"""What pixels outside of the reconstructed circle become."""
BODY_HU = (-950.0, 3000.0)
"""A padding value among these is not believed: real pixels have it, too."""
MOST_VOXELS = 250_000_000
"""600 slices of 645 x 645 pixels; as numbers they take 1 GB, and the analysis a few times that."""
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
    slices = [(_header(path), path) for path in files]
    if len(slices) < 2:
        raise Refused(
            f"a CT volume needs at least 2 slices, there are {len(slices)}", attribute="SOPInstanceUID"
        )
    _check_same([header for header, _ in slices])
    first = slices[0][0]
    voxels = len(slices) * int(first.Rows) * int(first.Columns)
    if voxels > MOST_VOXELS:
        raise Refused(
            f"Rows: {len(slices)} slices of {first.Rows} x {first.Columns} are {voxels / 1e6:.0f} million "
            f"voxels, at most {MOST_VOXELS / 1e6:.0f} million can be analysed; take a thicker reconstruction",
            attribute="Rows",
        )
    row, column = np.split(np.asarray(first.ImageOrientationPatient, dtype=float), 2)
    normal = np.cross(row, column)
    slices.sort(key=lambda one: float(np.dot(normal, _position(one[0]))))
    instances = tuple(header for header, _ in slices)
    step = _step(instances, normal)
    spacing_y, spacing_x = (float(v) for v in first.PixelSpacing)
    geometry = VolumeGeometry(
        shape_zyx=(len(instances), int(first.Rows), int(first.Columns)),
        spacing_mm_zyx=(float(np.linalg.norm(step)), spacing_y, spacing_x),
        origin_mm_lps=_triple(_position(instances[0])),
        direction_lps_zyx=(_triple(step / np.linalg.norm(step)), _triple(column), _triple(row)),
    )
    hu_zyx = np.empty(geometry.shape_zyx, dtype=np.float32)
    for z, (header, path) in enumerate(slices):
        hu_zyx[z] = _hounsfield(header, path)
    return CtVolume(hu_zyx=hu_zyx, geometry=geometry, instances=instances)


def _header(path: Path) -> Dataset:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise Refused(f"a slice is not a DICOM file: {error}", attribute="SOPInstanceUID") from error
    for keyword in NEEDED:
        if header.get(keyword) in (None, ""):
            raise Refused(f"{keyword} is missing in a slice", attribute=keyword)
    unit = str(header.get("RescaleType") or "HU").strip()
    if unit.upper() != "HU":
        raise Refused(f"RescaleType: pixel values are {unit}, not Hounsfield units", attribute="RescaleType")
    return header


def _position(header: Dataset) -> NDArray[np.float64]:
    return np.asarray([float(v) for v in header.ImagePositionPatient], dtype=np.float64)


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


def _step(instances: Sequence[Dataset], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each slice to the next, ``(3,)`` mm LPS, the same everywhere and along the normal."""
    positions = np.array([_position(one) for one in instances])
    along = np.diff(positions @ normal)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    step_mm = float(np.dot(step, normal))
    places = np.arange(len(positions)) * step_mm
    off = np.abs((positions - positions[0]) @ normal - places)
    if step_mm <= 0 or off.max() > max(SPACING_TOLERANCE * step_mm, ROUNDING_MM):
        raise Refused(
            f"ImagePositionPatient: slices are {along.min():.2f} to {along.max():.2f} mm apart, "
            "an even distance is needed; slices are missing or repeated",
            attribute="ImagePositionPatient",
        )
    sideways = positions - positions[0] - np.outer((positions - positions[0]) @ normal, normal)
    if np.linalg.norm(sideways[-1]) > TILT_TOLERANCE * places[-1]:
        raise Refused("ImagePositionPatient: the gantry was tilted", attribute="ImagePositionPatient")
    wandering = sideways - np.outer(places / places[-1], sideways[-1])
    if np.linalg.norm(wandering, axis=1).max() > max(TILT_TOLERANCE * step_mm, ROUNDING_MM):
        raise Refused(
            "ImagePositionPatient: slices are shifted against one another", attribute="ImagePositionPatient"
        )
    return np.asarray(step, dtype=np.float64)


def _hounsfield(header: Dataset, path: Path) -> NDArray[np.float32]:
    try:
        stored = pydicom.dcmread(path).pixel_array
    except (ValueError, AttributeError, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise Refused(f"PixelData cannot be decoded: {error}", attribute="PixelData") from error
    if stored.shape != (header.Rows, header.Columns):
        raise Refused(
            f"PixelData holds {'x'.join(map(str, stored.shape))} values, one plane of "
            f"{header.Rows} x {header.Columns} is needed",
            attribute="PixelData",
        )
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    hu = np.asarray(stored.astype(np.float32) * slope + intercept, dtype=np.float32)
    padding = header.get("PixelPaddingValue")
    if isinstance(padding, int):
        value = np.array(padding).astype(stored.dtype)  # some write it with the other sign
        if not BODY_HU[0] < float(value) * slope + intercept < BODY_HU[1]:
            hu[stored == value] = PADDING_HU
    return hu


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
