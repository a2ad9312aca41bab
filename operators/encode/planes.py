"""Sources as highdicom can place derived frames on them, with everything restored afterwards.

highdicom finds geometry in the headers of slices or in functional groups. NM has it elsewhere
(PS3.3 C.8.4.15), and a map may be coarser than its source; both get in-memory stand-ins. What
is built then refers to the originals: their UIDs, SOP classes and frame numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage

from operators.encode.context import stand_in
from operators.encode.identity import name_uid
from operators.geometry import VolumeGeometry

POSITION_TOLERANCE_MM = 0.15
"""A source slice this far from its place in the geometry still counts as that slice; scanners round."""


def source_planes(
    sources: Sequence[Dataset], geometry: VolumeGeometry, frames: Sequence[int]
) -> list[Dataset]:
    """Stand-ins of the sources, in the order of the geometry's slices.

    Args:
        sources: Headers of the source slices, or of one multi-frame image. NM slices come in
            the order of the geometry, others in any order.
        geometry: Slice ``z`` is a slice (or frame) of the source.
        frames: For each slice ``z`` its 1-based frame in a multi-frame source.

    Returns:
        One stand-in for each slice, or a single one of a multi-frame image.

    Raises:
        ValueError: The sources are not the slices of the geometry.
    """
    if len(sources) == 1 and int(sources[0].get("NumberOfFrames", 1)) > 1:
        return [nm_stand_in(sources[0], geometry, frames)]
    if len(sources) != geometry.shape_zyx[0]:
        raise ValueError(f"{len(sources)} source slices, but the volume has {geometry.shape_zyx[0]} slices")
    if sources[0].SOPClassUID == NuclearMedicineImageStorage:
        return [_nm_slice_stand_in(source, geometry, z) for z, source in enumerate(sources)]
    normal = np.asarray(geometry.direction_lps_zyx[0])
    ordered = sorted(sources, key=lambda s: float(np.dot(normal, np.asarray(s.ImagePositionPatient, float))))
    for z, source in enumerate(ordered):
        _check_position(source, geometry.position_mm_lps((z, 0, 0)), z)
    return [stand_in(source) for source in ordered]


def on_grid(planes: Sequence[Dataset], geometry: VolumeGeometry, frames: Sequence[int]) -> list[Dataset]:
    """Stand-ins moved to another grid on the same slices.

    Args:
        planes: Of `source_planes`; changed.
        geometry: The other grid: rows and columns may differ in number, size and place.
        frames: For each slice ``z`` its 1-based frame in a multi-frame source.
    """
    is_multiframe = len(planes) == 1 and len(frames) > 1
    for z, plane in enumerate(planes):
        _, plane.Rows, plane.Columns = geometry.shape_zyx
        if is_multiframe:
            _place_frames(plane, geometry, frames)
        else:
            plane.PixelSpacing = _decimal(geometry.spacing_mm_zyx[1:])
            plane.ImagePositionPatient = _decimal(_in_plane_of(plane, geometry.position_mm_lps((z, 0, 0))))
    return list(planes)


def nm_stand_in(nm: Dataset, geometry: VolumeGeometry, frame_numbers: Sequence[int]) -> Dataset:
    """A copy of an NM header with its geometry in functional groups (PS3.3 C.7.6.16).

    Args:
        nm: Header of a reconstructed tomographic NM image.
        geometry: Where its slices are.
        frame_numbers: For each slice its 1-based frame.

    Raises:
        ValueError: The image does not have one frame for each slice.
    """
    stated = int(nm.get("NumberOfFrames", 1))
    if sorted(frame_numbers) != list(range(1, stated + 1)) or stated != geometry.shape_zyx[0]:
        raise ValueError(f"NumberOfFrames is {stated}, but the volume has {geometry.shape_zyx[0]} slices")
    shim = stand_in(nm)
    shim.FrameOfReferenceUID = frame_of_reference_uid(nm)
    _place_frames(shim, geometry, frame_numbers)
    return shim


def _place_frames(image: Dataset, geometry: VolumeGeometry, frame_numbers: Sequence[int]) -> None:
    """Give a multi-frame image functional groups with the geometry."""
    shared = Dataset()
    shared.PixelMeasuresSequence = [_pixel_measures(geometry)]
    shared.PlaneOrientationSequence = [hd.PlaneOrientationSequence("PATIENT", _orientation(geometry))[0]]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [
        _frame_groups(geometry, int(z)) for z in np.argsort(frame_numbers)
    ]


def _nm_slice_stand_in(nm: Dataset, geometry: VolumeGeometry, z: int) -> Dataset:
    """A copy of the header of an NM slice as a single-frame image with a plane."""
    shim = stand_in(nm)
    shim.SOPClassUID = PositronEmissionTomographyImageStorage
    shim.FrameOfReferenceUID = frame_of_reference_uid(nm)
    shim.ImagePositionPatient = _decimal(geometry.position_mm_lps((z, 0, 0)).tolist())
    shim.ImageOrientationPatient = _orientation(geometry)
    shim.PixelSpacing = _decimal(geometry.spacing_mm_zyx[1:])
    shim.SliceThickness = _decimal(geometry.spacing_mm_zyx[:1])[0]
    if "NumberOfFrames" in shim:
        del shim.NumberOfFrames
    return shim


def restore_sop_classes(dataset: Dataset, sources: Sequence[Dataset]) -> None:
    """References to the sources name their own SOP class, not that of a stand-in."""
    sop_class_of = {str(s.SOPInstanceUID): s.SOPClassUID for s in sources}

    def restore(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and str(element.value) in sop_class_of:
            item.ReferencedSOPClassUID = sop_class_of[str(element.value)]

    dataset.walk(restore)


def name_dimensions(dataset: Dataset, uid: UID) -> None:
    """Give the dimensions a UID that derives from the analysis; highdicom's is another each time."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def frame_of_reference_uid(source: Dataset) -> str:
    """The source's Frame of Reference UID; where it has none, one that derives from its series."""
    return str(source.get("FrameOfReferenceUID") or name_uid("frame", str(source.SeriesInstanceUID)))


def _frame_groups(geometry: VolumeGeometry, z: int) -> Dataset:
    groups = Dataset()
    position = _decimal(geometry.position_mm_lps((z, 0, 0)).tolist())
    groups.PlanePositionSequence = [hd.PlanePositionSequence("PATIENT", position)[0]]
    content = Dataset()
    content.DimensionIndexValues = [z + 1]
    content.StackID, content.InStackPositionNumber = "1", z + 1
    groups.FrameContentSequence = [content]
    return groups


def _pixel_measures(geometry: VolumeGeometry) -> Dataset:
    slice_mm, row_mm, column_mm = geometry.spacing_mm_zyx
    return hd.PixelMeasuresSequence(
        pixel_spacing=(row_mm, column_mm), slice_thickness=slice_mm, spacing_between_slices=slice_mm
    )[0]


def _orientation(geometry: VolumeGeometry) -> list[float]:
    """Image Orientation (Patient): direction of a row (x grows), then of a column (y grows)."""
    return _decimal([*geometry.direction_lps_zyx[2], *geometry.direction_lps_zyx[1]])


def _decimal(values: Sequence[float]) -> list[float]:
    """Values as a decimal string can hold them (DS, 16 characters)."""
    return [float(f"{value:.8g}") for value in values]


def _in_plane_of(plane: Dataset, position_mm: NDArray[np.float64]) -> list[float]:
    """The position moved along the normal into the plane of the source, which is where it is rounded to."""
    row, column = np.split(np.asarray(plane.ImageOrientationPatient, dtype=float), 2)
    normal = np.cross(row, column)
    aside_mm = float(np.dot(normal, np.asarray(plane.ImagePositionPatient, dtype=float) - position_mm))
    return [float(v) for v in position_mm + aside_mm * normal]


def _check_position(source: Dataset, expected_mm: NDArray[np.float64], z: int) -> None:
    if not np.allclose(
        np.asarray(source.ImagePositionPatient, float), expected_mm, atol=POSITION_TOLERANCE_MM
    ):
        raise ValueError(
            f"source slice {z} lies at {list(source.ImagePositionPatient)} mm, not at "
            f"{np.round(expected_mm, 3).tolist()} mm where the labels have it"
        )
