"""Nuclear medicine instances to counts with geometry, timing and dose.

In: the files of one series (PS3.3 A.5 NM Image IOD), either one multi-frame
instance, as the standard has it, or single-frame instances of the same series, as
some archives split it. Out: `NmVolume` for reconstructed tomography, `NmPlanar`
for static views. What cannot be trusted is refused with the attribute at fault;
this module never repairs a geometry and never invents a time or a dose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read.administration import acquisition_of
from operators.read.attributes import check_number, floats_or_none, number_or, pixel_spacing_of, vector_of
from operators.read.counts import check_counts

MIN_MATRIX = 32
"""Rows or columns below this are no clinical image."""
MIN_SLICES = 16
"""Fewer reconstructed slices than this cannot hold a chest."""
SLICE_POSITION_TOLERANCE = 0.05
"""Allowed deviation of a slice from an even spacing, as a fraction of the spacing."""
ORIENTATION_TOLERANCE = 1e-2
"""Allowed deviation of orientation vectors from unit length and right angles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NmAcquisition:
    """What the header says about an NM acquisition, the same for volumes and views.

    Args:
        acquisition_datetime: Start of the acquisition, local time of the site, or None.
        injection_datetime: Start of the radiopharmaceutical administration, or None.
        administered_activity_mbq: At the time of injection, or None.
        patient_weight_kg: Or None.
        collimator_name: Collimator/Grid Name (0018,1180), upper case, or "" when absent.
        collimator_type: Collimator Type (0018,1181), such as ``PARA``, or "".
        acquisition_duration_s: Seconds per view times views, where stated, else None.
        frame_of_reference_uid: Or None where the instance has none.
        instances: The data sets read, with their pixel data, in slice order.
        warnings: Sentences that a reader of the results must see.
    """

    acquisition_datetime: datetime | None
    injection_datetime: datetime | None
    administered_activity_mbq: float | None
    patient_weight_kg: float | None
    collimator_name: str
    collimator_type: str
    acquisition_duration_s: float | None
    frame_of_reference_uid: str | None
    instances: tuple[Dataset, ...]
    warnings: tuple[str, ...] = ()

    @property
    def minutes_after_injection(self) -> float | None:
        """Minutes from injection to the start of the acquisition, or None."""
        if self.acquisition_datetime is None or self.injection_datetime is None:
            return None
        return (self.acquisition_datetime - self.injection_datetime).total_seconds() / 60.0


@dataclass(frozen=True, kw_only=True, eq=False)
class NmVolume(NmAcquisition):
    """Reconstructed tomography.

    Args:
        counts_zyx: ``(z, y, x)`` float32, counts after rescale, slices in the order of `geometry`.
        geometry: Where the voxels are, LPS mm.
        source_frames: For each slice the SOP Instance UID and the 1-based frame number it came from.
    """

    counts_zyx: NDArray[np.float32]
    geometry: VolumeGeometry
    source_frames: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class NmPlanar(NmAcquisition):
    """One static view.

    Args:
        counts_yx: ``(y, x)`` float32, counts after rescale; anterior view, patient's right at x = 0.
        spacing_mm_yx: Distance of pixel centres along rows' and columns' index, mm.
        frame_number: 1-based number of the frame taken from the instance.
    """

    counts_yx: NDArray[np.float32]
    spacing_mm_yx: tuple[float, float]
    frame_number: int


def read_nm_volume(files: Sequence[Path]) -> NmVolume:
    """The reconstructed tomogram in the files of one series.

    The direction of the slices follows the sign of Spacing Between Slices along the
    normal of Image Orientation (PS3.3 C.8.4.15); the first slice's place is that of the
    Detector Information Sequence.

    Raises:
        Refused: An instance is unreadable or not NM, attributes or slices are missing or
            contradict one another, the matrix is degenerate, or the counts are absurd.
    """
    instances = _read_instances(files)
    for instance in instances:
        _check_matrix(instance)
    if len(instances) == 1:
        counts, geometry, order = _volume_of_multiframe(instances[0])
        frames = tuple((str(instances[0].SOPInstanceUID), number) for number in order)
    else:
        instances, counts, geometry = _volume_of_single_frames(instances)
        frames = tuple((str(instance.SOPInstanceUID), 1) for instance in instances)
    check_counts(counts, instances[0])
    return NmVolume(
        counts_zyx=counts, geometry=geometry, source_frames=frames, **acquisition_of(tuple(instances))
    )


def read_nm_planar(files: Sequence[Path]) -> NmPlanar:
    """The anterior static view in the files of one series.

    Raises:
        Refused: As `read_nm_volume`, or the series holds several views of which none
            is named anterior.
    """
    instances = _read_instances(files)
    if len(instances) > 1:
        instances = _anterior_only(instances)
    instance = instances[0]
    _check_matrix(instance)
    pixels = _pixels_of(instance)
    frame = _anterior_frame(instance, len(pixels))
    counts = np.ascontiguousarray(pixels[frame])
    check_counts(counts, instance)
    return NmPlanar(
        counts_yx=counts,
        spacing_mm_yx=pixel_spacing_of(instance),
        frame_number=frame + 1,
        **acquisition_of((instance,)),
    )


# ---------------------------------------------------------------- instances


def _read_instances(files: Sequence[Path]) -> list[Dataset]:
    if not files:
        raise Refused("the series holds no instance", attribute="SOPInstanceUID")
    instances = [_read_one(path) for path in sorted(files)]
    if len({str(instance.SeriesInstanceUID) for instance in instances}) > 1:
        raise Refused("the files are of several series", attribute="SeriesInstanceUID")
    return instances


def _read_one(path: Path) -> Dataset:
    try:
        instance = pydicom.dcmread(path)
    except (InvalidDicomError, EOFError, ValueError, KeyError) as broken:
        raise Refused(f"an instance cannot be read as DICOM: {broken}", attribute="PixelData") from broken
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not instance.get(keyword):
            raise Refused(f"{keyword} is missing or empty", attribute=keyword)
    if instance.get("Modality") != "NM":
        raise Refused(f"Modality is {instance.get('Modality')!r}; NM is needed", attribute="Modality")
    if "PixelData" not in instance:
        raise Refused("PixelData is missing", attribute="PixelData")
    return instance


def _check_matrix(instance: Dataset) -> None:
    for keyword in ("Rows", "Columns"):
        size = int(instance.get(keyword) or 0)
        if size < MIN_MATRIX:
            raise Refused(f"{keyword} is {size}; at least {MIN_MATRIX} are needed", attribute=keyword)
    pixel_spacing_of(instance)


def _pixels_of(instance: Dataset) -> NDArray[np.float32]:
    """``(frame, y, x)`` float32 after rescale."""
    try:
        stored = instance.pixel_array
    except (AttributeError, ValueError, KeyError, NotImplementedError, RuntimeError, TypeError) as broken:
        raise Refused(f"PixelData cannot be decoded: {broken}", attribute="PixelData") from broken
    pixels = np.asarray(stored, dtype=np.float32).reshape((-1, int(instance.Rows), int(instance.Columns)))
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        check_number(instance, keyword)
    slope = number_or(instance, "RescaleSlope", 1.0)
    if slope == 0:
        raise Refused("RescaleSlope is 0", attribute="RescaleSlope")
    return np.asarray(pixels * slope + number_or(instance, "RescaleIntercept", 0.0), dtype=np.float32)


# ----------------------------------------------------------------- geometry


def _volume_of_multiframe(
    instance: Dataset,
) -> tuple[NDArray[np.float32], VolumeGeometry, tuple[int, ...]]:
    pixels = _pixels_of(instance)
    stated = int(instance.get("NumberOfFrames") or 1)
    if len(pixels) != stated:
        raise Refused(
            f"NumberOfFrames is {stated} but PixelData holds {len(pixels)}", attribute="NumberOfFrames"
        )
    slices = instance.get("NumberOfSlices")
    if slices is not None and int(slices) != stated:
        raise Refused(
            f"NumberOfSlices is {slices} but NumberOfFrames is {stated}: slices are missing",
            attribute="NumberOfSlices",
        )
    if stated < MIN_SLICES:
        raise Refused(
            f"NumberOfFrames is {stated}; at least {MIN_SLICES} slices are needed", attribute="NumberOfFrames"
        )
    order = _slice_order(instance, stated)
    row, column, normal = _orientation_of(instance)
    step = _slice_step_of(instance)
    slice_direction = normal if step > 0 else -normal
    position = vector_of(instance, "ImagePositionPatient", 3)
    geometry = _geometry(
        pixels.shape, abs(step), pixel_spacing_of(instance), position, (slice_direction, column, row)
    )
    return np.ascontiguousarray(pixels[np.asarray(order) - 1]), geometry, order


def _slice_order(instance: Dataset, frames: int) -> tuple[int, ...]:
    """1-based frame numbers in slice order, from Slice Vector (0054,0080) where present."""
    vector = instance.get("SliceVector")
    if vector is None or frames == 1:
        return tuple(range(1, frames + 1))
    numbers = [int(v) for v in np.atleast_1d(vector)]
    if sorted(numbers) != list(range(1, frames + 1)):
        raise Refused(
            "SliceVector does not name every slice once: slices are missing or repeated",
            attribute="SliceVector",
        )
    return tuple(int(i) + 1 for i in np.argsort(numbers))


def _volume_of_single_frames(
    instances: list[Dataset],
) -> tuple[list[Dataset], NDArray[np.float32], VolumeGeometry]:
    shapes = {(int(i.Rows), int(i.Columns), *pixel_spacing_of(i)) for i in instances}
    if len(shapes) > 1:
        raise Refused("the slices differ in Rows, Columns or PixelSpacing", attribute="PixelSpacing")
    if len(instances) < MIN_SLICES:
        raise Refused(
            f"the series holds {len(instances)} slices; at least {MIN_SLICES} are needed",
            attribute="NumberOfSlices",
        )
    row, column, normal = _orientation_of(instances[0])
    for other in instances[1:]:
        if not np.allclose(_orientation_of(other)[2], normal, atol=ORIENTATION_TOLERANCE):
            raise Refused("the slices are not parallel", attribute="ImageOrientationPatient")
    places = np.array([vector_of(i, "ImagePositionPatient", 3) @ normal for i in instances])
    order = np.argsort(places, kind="stable")
    step = _even_step(places[order], instances[0])
    ordered = [instances[i] for i in order]
    volume = np.concatenate([_pixels_of(instance) for instance in ordered])
    if len(volume) != len(ordered):
        raise Refused("the series mixes single- and multi-frame instances", attribute="NumberOfFrames")
    geometry = _geometry(
        volume.shape,
        step,
        pixel_spacing_of(ordered[0]),
        vector_of(ordered[0], "ImagePositionPatient", 3),
        (normal, column, row),
    )
    return ordered, volume, geometry


def _even_step(places_mm: NDArray[np.float64], instance: Dataset) -> float:
    steps = np.diff(places_mm)
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > SLICE_POSITION_TOLERANCE * step:
        raise Refused(
            f"the slices are not evenly spaced (gaps of {steps.min():g} to {steps.max():g} mm): "
            "slices are missing or repeated",
            attribute="ImagePositionPatient",
        )
    stated = instance.get("NumberOfSlices")
    if stated is not None and int(stated) not in (1, len(places_mm)):
        raise Refused(
            f"NumberOfSlices is {stated} but the series holds {len(places_mm)}: slices are missing",
            attribute="NumberOfSlices",
        )
    return step


def _geometry(
    shape: tuple[int, ...],
    step_mm: float,
    spacing_mm_yx: tuple[float, float],
    origin: NDArray[np.float64],
    directions: tuple[NDArray[np.float64], ...],
) -> VolumeGeometry:
    slice_direction, row_index_direction, column_index_direction = (
        (float(d[0]), float(d[1]), float(d[2])) for d in directions
    )
    return VolumeGeometry(
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing_mm_zyx=(step_mm, *spacing_mm_yx),
        origin_mm_lps=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction_lps_zyx=(slice_direction, row_index_direction, column_index_direction),
    )


def _orientation_of(
    instance: Dataset,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Directions in which the column index and the row index grow, and their normal."""
    values = vector_of(instance, "ImageOrientationPatient", 6)
    row, column = values[:3], values[3:]
    lengths_off = max(abs(float(np.linalg.norm(v)) - 1) for v in (row, column))
    if lengths_off > ORIENTATION_TOLERANCE or abs(float(row @ column)) > ORIENTATION_TOLERANCE:
        raise Refused(
            f"ImageOrientationPatient is {values.tolist()}: not two perpendicular unit vectors",
            attribute="ImageOrientationPatient",
        )
    return row, column, np.cross(row, column)


def _slice_step_of(instance: Dataset) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        values = floats_or_none(instance, keyword, 1)
        if values is not None and values[0] != 0:
            return values[0]
    raise Refused("SpacingBetweenSlices and SliceThickness are missing", attribute="SpacingBetweenSlices")


# -------------------------------------------------------------------- views


def _anterior_only(instances: list[Dataset]) -> list[Dataset]:
    chosen = [i for i in instances if _is_anterior(i)]
    if len(chosen) != 1:
        raise Refused(
            f"of {len(instances)} views in the series {len(chosen)} are named anterior; one is needed",
            attribute="DetectorInformationSequence.ViewCodeSequence",
        )
    return chosen


ANTERIOR_CODES = ("399348003", "399033003", "R-10206")
"""Antero-posterior, frontal and the retired SRT code of anterior (PS3.16 CID 26)."""


def _is_anterior(place: Dataset) -> bool:
    views = [
        view
        for d in (*place.get("DetectorInformationSequence", []), place)
        for view in d.get("ViewCodeSequence", [])
    ]
    if any(str(view.get("CodeValue")) in ANTERIOR_CODES for view in views):
        return True
    meanings = " ".join(str(view.get("CodeMeaning", "")) for view in views)
    text = f"{meanings} {place.get('SeriesDescription', '')}"
    return re.search(r"(?i)\bant", text) is not None and re.search(r"(?i)\bpost", text) is None


def _anterior_frame(instance: Dataset, frames: int) -> int:
    """0-based index of the anterior frame; a single frame is taken as it is."""
    if frames == 1:
        return 0
    detectors = [int(v) for v in np.atleast_1d(instance.get("DetectorVector", []))]
    for number, detector in enumerate(instance.get("DetectorInformationSequence", []), start=1):
        if _is_anterior(detector) and number in detectors:
            return detectors.index(number)
    raise Refused(
        f"the instance holds {frames} views and none is named anterior",
        attribute="DetectorInformationSequence.ViewCodeSequence",
    )
