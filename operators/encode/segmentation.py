"""A label volume as a DICOM Segmentation (PS3.3 A.51 and, as a label map, A.87).

Sources are CT or MR slices, one multi-frame NM image, or NM slices of one frame each.
NM gets in-memory stand-ins, because its geometry lies where highdicom does not look.
UIDs, SOP classes and frame numbers in the result are those of the originals.
"""

from __future__ import annotations

import copy
import enum
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from operators.encode import codes
from operators.encode.context import complete, stand_in
from operators.encode.identity import Producer, name_uid
from operators.geometry import VolumeGeometry

POSITION_TOLERANCE_MM = 0.01
"""A source slice this far from its place in the geometry still counts as that slice."""
SEGMENT_LABEL_LIMIT = 64


class SegmentationKind(enum.Enum):
    """How segments are stored. Not every archive and viewer knows label maps."""

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One structure of a label volume.

    Args:
        label: Its value in the label volume.
        name: Segment Label, at most 64 characters; also the tracking identifier.
        property_type: What it is.
        category: What kind of thing that is (CID 7150).
        laterality: `codes.LEFT` or `codes.RIGHT` of a paired organ.
        anatomic_region: Where it lies, if that is not already said by what it is.
        colour_rgb: Recommended display colour, 0 to 255.
    """

    label: int
    name: str
    property_type: Code
    category: Code = codes.ANATOMICAL_STRUCTURE
    laterality: Code | None = None
    anatomic_region: Code | None = None
    colour_rgb: tuple[int, int, int] = (255, 255, 0)


@dataclass(frozen=True)
class EncodedSegmentation:
    """A segmentation, and which of its segments is which label.

    Args:
        dataset: The SEG object.
        number_of: Label value to Segment Number. Labels without any voxel are absent.
        role: Of the object in its analysis.
        source_series_instance_uid: The series that was segmented.
    """

    dataset: hd.seg.Segmentation
    number_of: dict[int, int]
    role: str
    source_series_instance_uid: str


def build_segmentation(
    labels_zyx: NDArray[np.integer],
    geometry: VolumeGeometry,
    sources: Sequence[Dataset],
    segments: Sequence[Segment],
    producer: Producer,
    *,
    role: str = "segmentation",
    series_label: str = "Segmentation",
    ordinal: int = 1,
    kind: SegmentationKind = SegmentationKind.BINARY,
    frame_numbers: Sequence[int] | None = None,
) -> EncodedSegmentation:
    """The Segmentation of a label volume that lies on the grid of its source.

    Args:
        labels_zyx: ``(z, y, x)`` integers; 0 is background, the others are `Segment.label`.
        geometry: Grid of the labels; slice ``z`` must be a slice (or frame) of the source.
        sources: Headers of the source slices, or of one multi-frame image. NM slices
            come in the order of the geometry, others in any order.
        segments: The structures; one without a voxel is left out.
        producer: Who made it.
        role: Part of what the UIDs derive from.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is (see `Producer.series_number`).
        kind: Binary frames, or one label map.
        frame_numbers: For each slice ``z`` its 1-based frame in a multi-frame source;
            None: frames are in the order of slices.

    Raises:
        ValueError: The labels are empty, have a value that no segment declares, or do
            not lie on the grid of the sources.
    """
    values = _values(labels_zyx, geometry, segments)
    present = [segment for segment in segments if segment.label in values]
    number_of = {segment.label: number for number, segment in enumerate(present, start=1)}
    frames = list(range(1, geometry.shape_zyx[0] + 1) if frame_numbers is None else frame_numbers)
    planes = _planes(sources, geometry, frames)
    is_multiframe = len(planes) == 1 and len(frames) > 1
    table = np.zeros(max(values) + 1, dtype=np.uint8 if len(present) < 256 else np.uint16)
    for label, number in number_of.items():
        table[label] = number
    numbers_zyx = table[labels_zyx]
    study_uid = str(sources[0].StudyInstanceUID)
    with warnings.catch_warnings():
        # Sources may lack attributes that only matter when pixels are decoded.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(highdicom|pydicom)(\.|$)")
        dataset = hd.seg.Segmentation(
            source_images=planes,
            pixel_array=numbers_zyx[np.argsort(frames)] if is_multiframe else numbers_zyx,
            segmentation_type=kind.value,
            segment_descriptions=[_description(s, number_of[s.label], producer, study_uid) for s in present],
            series_instance_uid=producer.uid(f"series/{role}"),
            series_number=producer.series_number(ordinal),
            sop_instance_uid=producer.uid(role),
            instance_number=1,
            manufacturer="",
            manufacturer_model_name=producer.model_name,
            software_versions=list(producer.software_versions),  # type: ignore[arg-type]
            device_serial_number=producer.device_serial_number,
            content_label="SEGMENTATION",
            content_description=producer.series_description(series_label),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    for item, segment in zip(_described(dataset, kind), present, strict=True):
        if segment.laterality is not None:
            item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
                hd.sr.CodedConcept.from_code(segment.laterality)
            ]
    _restore_sop_classes(dataset, sources)
    complete(dataset, sources[0], producer, label=series_label)
    return EncodedSegmentation(dataset, number_of, role, str(sources[0].SeriesInstanceUID))


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
    shared = Dataset()
    shared.PixelMeasuresSequence = [_pixel_measures(geometry)]
    shared.PlaneOrientationSequence = [hd.PlaneOrientationSequence("PATIENT", _orientation(geometry))[0]]
    shim.SharedFunctionalGroupsSequence = [shared]
    shim.PerFrameFunctionalGroupsSequence = [
        _frame_groups(geometry, int(z)) for z in np.argsort(frame_numbers)
    ]
    return shim


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


def _restore_sop_classes(dataset: Dataset, sources: Sequence[Dataset]) -> None:
    """References to the sources name their own SOP class, not that of a stand-in."""
    sop_class_of = {str(s.SOPInstanceUID): s.SOPClassUID for s in sources}

    def restore(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and str(element.value) in sop_class_of:
            item.ReferencedSOPClassUID = sop_class_of[str(element.value)]

    dataset.walk(restore)


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


def _planes(sources: Sequence[Dataset], geometry: VolumeGeometry, frames: Sequence[int]) -> list[Dataset]:
    """Stand-ins of the sources, in the order of the geometry's slices."""
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


def _check_position(source: Dataset, expected_mm: NDArray[np.float64], z: int) -> None:
    if not np.allclose(
        np.asarray(source.ImagePositionPatient, float), expected_mm, atol=POSITION_TOLERANCE_MM
    ):
        raise ValueError(
            f"source slice {z} lies at {list(source.ImagePositionPatient)} mm, not at "
            f"{np.round(expected_mm, 3).tolist()} mm where the labels have it"
        )


def _values(
    labels_zyx: NDArray[np.integer], geometry: VolumeGeometry, segments: Sequence[Segment]
) -> set[int]:
    """The label values that occur, after checking that they can be encoded."""
    if labels_zyx.shape != geometry.shape_zyx:
        raise ValueError(f"labels have shape {labels_zyx.shape}, their geometry {geometry.shape_zyx}")
    if labels_zyx.min() < 0:
        raise ValueError("a label is negative, so no segment declares it")
    # Not np.unique: it sorts every voxel.
    values = {int(v) for v in np.flatnonzero(np.bincount(labels_zyx.ravel()))} - {0}
    if not values:
        raise ValueError("no voxel of the label volume is segmented")
    undeclared = values - {s.label for s in segments}
    if undeclared:
        raise ValueError(f"labels {sorted(undeclared)} are in the volume but no segment declares them")
    return values


def _description(
    segment: Segment, number: int, producer: Producer, study_uid: str
) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:SEGMENT_LABEL_LIMIT],
        segmented_property_category=segment.category,
        segmented_property_type=segment.property_type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=producer.algorithm_identification(),
        tracking_uid=producer.tracking_uid(study_uid, segment.name),
        tracking_id=segment.name,
        anatomic_regions=None if segment.anatomic_region is None else [segment.anatomic_region],
        display_color=CIELabColor.from_rgb(*segment.colour_rgb),
    )


def _described(dataset: Dataset, kind: SegmentationKind) -> list[Dataset]:
    """The items that describe segments; a label map also has one for the background."""
    items = list(copy.copy(dataset.SegmentSequence))
    if kind is SegmentationKind.LABELMAP:
        items = [item for item in items if int(item.SegmentNumber) != 0]
    return items
