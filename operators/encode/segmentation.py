"""A label volume as a DICOM Segmentation (PS3.3 A.51 and, as a label map, A.87).

Sources are CT or MR slices, one multi-frame NM image, or NM slices of one frame each.
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
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from operators.encode import codes
from operators.encode.context import complete
from operators.encode.identity import Producer
from operators.encode.planes import name_dimensions, restore_sop_classes, source_planes
from operators.geometry import VolumeGeometry

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
        equivalent_codes: The same in other schemes (Equivalent Code Sequence, PS3.3 8.8).
        primary_structures: The structures that one segment merges, when it merges several.
        category: What kind of thing that is (CID 7150).
        laterality: `codes.LEFT` or `codes.RIGHT` of a paired organ.
        anatomic_region: Where it lies, if that is not already said by what it is.
        colour_rgb: Recommended display colour, 0 to 255.
    """

    label: int
    name: str
    property_type: Code
    equivalent_codes: tuple[Code, ...] = ()
    primary_structures: tuple[Code, ...] = ()
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
    planes = source_planes(sources, geometry, frames)
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
        property_type = item.SegmentedPropertyTypeCodeSequence[0]
        codes.add_equivalents(property_type, segment.equivalent_codes)
        if segment.laterality is not None:
            property_type.SegmentedPropertyTypeModifierCodeSequence = [
                hd.sr.CodedConcept.from_code(segment.laterality)
            ]
    restore_sop_classes(dataset, sources)
    name_dimensions(dataset, producer.uid(f"dimensions/{role}"))
    complete(dataset, sources[0], producer, label=series_label, texts=[s.name for s in present])
    return EncodedSegmentation(dataset, number_of, role, str(sources[0].SeriesInstanceUID))


def _values(
    labels_zyx: NDArray[np.integer], geometry: VolumeGeometry, segments: Sequence[Segment]
) -> set[int]:
    """The label values that occur, after checking that they can be encoded."""
    if labels_zyx.shape != geometry.shape_zyx:
        raise ValueError(f"labels have shape {labels_zyx.shape}, their geometry {geometry.shape_zyx}")
    if labels_zyx.min() < 0:
        raise ValueError("a label is negative, so no segment declares it")
    # Not np.unique, which sorts every voxel; by slice, because bincount widens what it counts to 64 bits.
    values = {int(v) for plane in labels_zyx for v in np.flatnonzero(np.bincount(plane.ravel()))} - {0}
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
        primary_anatomic_structures=segment.primary_structures or None,
        display_color=CIELabColor.from_rgb(*segment.colour_rgb),
    )


def _described(dataset: Dataset, kind: SegmentationKind) -> list[Dataset]:
    """The items that describe segments; a label map also has one for the background."""
    items = list(copy.copy(dataset.SegmentSequence))
    if kind is SegmentationKind.LABELMAP:
        items = [item for item in items if int(item.SegmentNumber) != 0]
    return items
