"""Facts of geometry and size: slices, spacing, gaps, tilt, image plane, bytes of pixels.

Positions are millimetres in LPS (PS3.3 C.7.6.2.1.1). NM keeps them in the detector's item
(PS3.3 C.8.4.11), enhanced objects in functional groups (PS3.3 C.7.6.16).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from operators.select.attributes import as_number, first_value, numbers_at, values_at

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from operators.select.headers import InstanceHeader

Vector = tuple[float, float, float]

PLANE_COSINE = 0.8
"""A plane is axial, sagittal or coronal when its normal is within 37 degrees of that axis."""

SAME_POSITION_MM = 0.01
"""Slices nearer to one another than this are at the same position."""

GAP_RATIO = 1.5
"""A distance of more than this times the median one leaves slices out."""

UNIT_TOLERANCE = 0.05
"""How far the length of a direction cosine vector may be from 1."""

_ORIENTATIONS = (
    "ImageOrientationPatient",
    "DetectorInformationSequence.ImageOrientationPatient",
    "SharedFunctionalGroupsSequence.PlaneOrientationSequence.ImageOrientationPatient",
    "PerFrameFunctionalGroupsSequence.PlaneOrientationSequence.ImageOrientationPatient",
)

_POSITIONS = (
    "ImagePositionPatient",
    "DetectorInformationSequence.ImagePositionPatient",
    "PerFrameFunctionalGroupsSequence.PlanePositionSequence.ImagePositionPatient",
)

_SPACINGS = (
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence.PixelMeasuresSequence.SpacingBetweenSlices",
    "SliceThickness",
    "SharedFunctionalGroupsSequence.PixelMeasuresSequence.SliceThickness",
)


def image_orientation(dataset: Dataset) -> tuple[Vector, Vector] | None:
    """Direction cosines of row and column, two unit vectors in LPS; None when absent or wrong."""
    for path in _ORIENTATIONS:
        numbers = numbers_at(dataset, path)
        if len(numbers) == 6:
            row, column = _vector(numbers[:3]), _vector(numbers[3:])
            unit = all(abs(_length(v) - 1) <= UNIT_TOLERANCE for v in (row, column))
            return (row, column) if unit and abs(_dot(row, column)) <= UNIT_TOLERANCE else None
    return None


def image_positions(dataset: Dataset) -> list[Vector]:
    """Positions of the frames that have one, LPS, mm."""
    for path in _POSITIONS:
        found = [[as_number(v) for v in values] for values in values_at(dataset, path)]
        positions = [_vector([v for v in one if v is not None]) for one in found if len(one) == 3]
        if positions:
            return positions if all(None not in one for one in found) else []
    return []


def orientation(header: InstanceHeader) -> str | None:
    """``axial``, ``sagittal``, ``coronal`` or ``oblique``; None without an orientation."""
    return orientation_of(header.dataset)


def orientation_of(dataset: Dataset) -> str | None:
    """As `orientation`, of a data set."""
    plane = image_orientation(dataset)
    if plane is None:
        return None
    normal = _cross(*plane)
    named = zip(("sagittal", "coronal", "axial"), normal, strict=True)
    return next((name for name, cosine in named if abs(cosine) >= PLANE_COSINE), "oblique")


def pixel_data_bytes(header: InstanceHeader) -> int:
    """Bytes of pixel data in the file; 0 without any."""
    return header.pixel_bytes


def expected_pixel_bytes(header: InstanceHeader) -> int | None:
    """Bytes that the attributes ask for when not compressed (PS3.5 8.1.1); None when one is missing."""
    dataset = header.dataset
    asked = [as_number(first_value(dataset, name)) for name in ("Rows", "Columns", "BitsAllocated")]
    if any(one is None for one in asked):
        return None
    rows, columns, bits = (int(one) for one in asked if one is not None)
    samples = int(as_number(first_value(dataset, "SamplesPerPixel")) or 1)
    return math.ceil(rows * columns * samples * frame_count(header) * bits / 8)


def frame_count(header: InstanceHeader) -> int:
    """NumberOfFrames, 1 when absent (a stack's instance); 0 stays 0."""
    number = as_number(first_value(header.dataset, "NumberOfFrames"))
    return 1 if number is None else int(number)


def instance_count(headers: Sequence[InstanceHeader]) -> int:
    """Number of instances."""
    return len(headers)


def slice_count(headers: Sequence[InstanceHeader]) -> int:
    """Frames of the largest multi-frame object, or the number of instances of a stack."""
    return max(*(frame_count(header) for header in headers), _single_frames(headers))


def slice_spacing_mm(headers: Sequence[InstanceHeader]) -> float | None:
    """Median distance of neighbouring slices in mm; of one object, what its header says."""
    distances = _distances(headers)
    if distances:
        return statistics.median(distances)
    for path in _SPACINGS:
        number = as_number(first_value(headers[0].dataset, path))
        if number is not None:
            return abs(number)
    return None


def slice_gap_ratio(headers: Sequence[InstanceHeader]) -> float | None:
    """Largest distance of neighbouring slices over the median; None with fewer than 3 slices."""
    distances = _distances(headers) or _slice_vector_steps(headers)
    return max(distances) / statistics.median_low(distances) if len(distances) > 1 else None


def missing_slices(headers: Sequence[InstanceHeader]) -> int:
    """Slices that gaps leave out, or that the header counts and the object does not hold."""
    distances = _distances(headers) or _slice_vector_steps(headers)
    if not distances:
        return _uncounted_slices(headers)
    step = statistics.median_low(distances)
    gaps = sum(max(0, round(one / step) - 1) for one in distances if one > GAP_RATIO * step)
    return max(gaps, _uncounted_slices(headers))


def repeated_positions(headers: Sequence[InstanceHeader]) -> int:
    """Instances at a position where another instance of the series already is."""
    along = _along_normal(headers)
    return sum(1 for a, b in itertools.pairwise(along) if b - a < SAME_POSITION_MM)


def gantry_tilt_deg(headers: Sequence[InstanceHeader]) -> float | None:
    """Angle in degrees of the stack's direction to the normal of its slices.

    With a single position, the size of GantryDetectorTilt; None when nothing tells.
    """
    normal, positions = _stack(headers)
    if positions:
        direction = _minus(positions[-1], positions[0])
        if _length(direction) > SAME_POSITION_MM:
            cosine = _dot(direction, normal) / _length(direction)
            return math.degrees(math.acos(min(1.0, abs(cosine))))
    tilt = as_number(first_value(headers[0].dataset, "GantryDetectorTilt"))
    return None if tilt is None else abs(tilt)


def _single_frames(headers: Sequence[InstanceHeader]) -> int:
    return sum(1 for header in headers if frame_count(header) == 1)


def _stack(headers: Sequence[InstanceHeader]) -> tuple[Vector, list[Vector]]:
    """The slices' normal, and their positions ordered along it, LPS, mm.

    No position at all when the series is no stack: when geometry is lacking, frames have no
    position of their own, or there are several multi-frame objects (phases, views).
    """
    frames = [frame_count(header) for header in headers]
    plane = image_orientation(headers[0].dataset)
    if plane is None or (len(headers) > 1 and max(frames) > 1):
        return (0.0, 0.0, 0.0), []
    normal = _cross(*plane)
    positions = [p for header in headers for p in image_positions(header.dataset)]
    if len(positions) < 2 or len(positions) != sum(frames):
        return normal, []
    return normal, sorted(positions, key=lambda position: _dot(position, normal))


def _along_normal(headers: Sequence[InstanceHeader]) -> list[float]:
    """Positions along the slices' normal in mm, ascending; empty when it is no stack."""
    normal, positions = _stack(headers)
    return [_dot(position, normal) for position in positions]


def _distances(headers: Sequence[InstanceHeader]) -> list[float]:
    """Distances of neighbouring different positions along the normal, mm."""
    along = _along_normal(headers)
    steps = [b - a for a, b in itertools.pairwise(along)]
    return [step for step in steps if step >= SAME_POSITION_MM]


def _slice_vector_steps(headers: Sequence[InstanceHeader]) -> list[float]:
    """Steps of SliceVector of an NM object (PS3.3 C.8.4.8), empty when it does not count up."""
    if len(headers) != 1:
        return []
    numbers = sorted(set(numbers_at(headers[0].dataset, "SliceVector")))
    return [b - a for a, b in itertools.pairwise(numbers)]


def _uncounted_slices(headers: Sequence[InstanceHeader]) -> int:
    """NumberOfSlices minus the frames, of one NM object that has a frame for each slice."""
    if len(headers) != 1:
        return 0
    counted = as_number(first_value(headers[0].dataset, "NumberOfSlices"))
    return max(0, int(counted) - frame_count(headers[0])) if counted else 0


def _vector(numbers: Sequence[float]) -> Vector:
    x, y, z = (*numbers, 0.0, 0.0, 0.0)[:3]
    return (x, y, z)


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _minus(a: Vector, b: Vector) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _length(a: Vector) -> float:
    return math.sqrt(_dot(a, a))
