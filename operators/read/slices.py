"""Slices of one series, one instance each, to an ordered stack with a geometry.

Shared by CT and MR. What cannot be trusted is refused with the attribute at fault: mixed
orientation, missing, repeated or shifted slices, a stack that leans. Nothing is repaired.
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
from operators.read.attributes import floats_or_none, pixel_spacing_of
from operators.select.stack import image_orientation

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines of two slices of one volume."""
SPACING_TOLERANCE = 0.02
"""How far a slice may lie from its place in an even stack, as a fraction of the slices' distance."""
ROUNDING_MM = 0.11
"""As far a slice may always lie from its place: scanners round all positions to 0.1 mm."""
TILT_TOLERANCE = 0.01
"""Largest sine of the angle between the stack and the slices' normal."""
MOST_VOXELS = 250_000_000
"""600 slices of 645 x 645 pixels; as numbers they take 1 GB, and the analysis a few times that."""
NEEDED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "FrameOfReferenceUID",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceStack:
    """Slices in their order along the normal, not yet decoded.

    Args:
        headers: Data sets without their pixels, one for each slice.
        paths: Their files.
        geometry: Where the voxels are, LPS mm.
    """

    headers: tuple[Dataset, ...]
    paths: tuple[Path, ...]
    geometry: VolumeGeometry


def read_header(path: Path, needed: Sequence[str]) -> Dataset:
    """The data set of a slice without its pixels.

    Raises:
        Refused: It is no DICOM file, or one of the needed attributes is missing or empty.
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise Refused(f"a slice is not a DICOM file: {error}", attribute="SOPInstanceUID") from error
    check_has(header, needed)
    return header


def check_has(header: Dataset, needed: Sequence[str]) -> None:
    """Accepts a slice that has all of these attributes.

    Raises:
        Refused: One is missing or empty.
    """
    for keyword in needed:
        if header.get(keyword) in (None, ""):
            raise Refused(f"{keyword} is missing in a slice", attribute=keyword)


def stack_of(slices: Sequence[tuple[Dataset, Path]], *, kind: str) -> SliceStack:
    """The stack of these slices, given in any order.

    Args:
        slices: Headers that have all of `NEEDED`, and their files.
        kind: What a sentence calls it: ``CT``, ``MR``.

    Raises:
        Refused: There are fewer than two slices or more voxels than fit into memory, or they
            are not an evenly spaced, upright stack of one orientation and matrix.
    """
    if len(slices) < 2:
        raise Refused(
            f"{kind}: a volume needs at least 2 slices, there are {len(slices)}", attribute="SOPInstanceUID"
        )
    _check_same([header for header, _ in slices])
    first = slices[0][0]
    _check_voxels(len(slices), first)
    row, column = _directions(first)
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda one: float(np.dot(normal, _position(one[0]))))
    headers = tuple(header for header, _ in ordered)
    step = _step(headers, normal)
    geometry = VolumeGeometry(
        shape_zyx=(len(headers), int(first.Rows), int(first.Columns)),
        spacing_mm_zyx=(float(np.linalg.norm(step)), *pixel_spacing_of(first)),
        origin_mm_lps=_triple(_position(headers[0])),
        direction_lps_zyx=(_triple(step / np.linalg.norm(step)), _triple(column), _triple(row)),
    )
    return SliceStack(headers=headers, paths=tuple(path for _, path in ordered), geometry=geometry)


def stored_plane(header: Dataset, path: Path) -> NDArray[np.generic]:
    """``(y, x)`` values of a slice as stored.

    Raises:
        Refused: They cannot be decoded, or are not one plane of Rows x Columns.
    """
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
    return stored


def _check_voxels(slices: int, first: Dataset) -> None:
    voxels = slices * int(first.Rows) * int(first.Columns)
    if voxels > MOST_VOXELS:
        raise Refused(
            f"Rows: {slices} slices of {first.Rows} x {first.Columns} are {voxels / 1e6:.0f} million "
            f"voxels, at most {MOST_VOXELS / 1e6:.0f} million can be analysed; take a thicker reconstruction",
            attribute="Rows",
        )


def _position(header: Dataset) -> NDArray[np.float64]:
    values = floats_or_none(header, "ImagePositionPatient", 3)
    if values is None:
        raise Refused("ImagePositionPatient is not three numbers", attribute="ImagePositionPatient")
    return np.asarray(values, dtype=np.float64)


def _directions(header: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along the rows and along the columns, LPS."""
    plane = image_orientation(header)
    if plane is None:
        raise Refused(
            "ImageOrientationPatient is not two perpendicular unit vectors",
            attribute="ImageOrientationPatient",
        )
    return np.asarray(plane[0], dtype=np.float64), np.asarray(plane[1], dtype=np.float64)


def _check_same(headers: Sequence[Dataset]) -> None:
    first = headers[0]
    for keyword in ("Rows", "Columns", "PixelSpacing", "FrameOfReferenceUID", "SeriesInstanceUID"):
        if any(one.get(keyword) != first.get(keyword) for one in headers):
            raise Refused(f"{keyword} differs between slices of one volume", attribute=keyword)
    reference = np.concatenate(_directions(first))
    for one in headers:
        if not np.allclose(np.concatenate(_directions(one)), reference, atol=ORIENTATION_TOLERANCE):
            raise Refused(
                "ImageOrientationPatient differs between slices", attribute="ImageOrientationPatient"
            )


def _step(headers: Sequence[Dataset], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each slice to the next, ``(3,)`` mm LPS, the same everywhere and along the normal."""
    positions = np.array([_position(one) for one in headers])
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
        raise Refused(
            "ImagePositionPatient: the stack leans against its slices, as when the gantry was tilted",
            attribute="ImagePositionPatient",
        )
    wandering = sideways - np.outer(places / places[-1], sideways[-1])
    if np.linalg.norm(wandering, axis=1).max() > max(TILT_TOLERANCE * step_mm, ROUNDING_MM):
        raise Refused(
            "ImagePositionPatient: slices are shifted against one another", attribute="ImagePositionPatient"
        )
    return np.asarray(step, dtype=np.float64)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
