"""The table of derived facts: what a predicate may name with ``@`` beside DICOM keywords.

A fact of an instance is asked of every instance, a fact of a series once. A fact that cannot
be derived is absent, like an attribute that is missing.

===========================  ===================================================================
``@minutes_after_injection`` acquisition minus injection (PS3.3 C.8.4.10), over midnight
``@orientation``             ``axial``, ``sagittal``, ``coronal`` or ``oblique`` image plane
``@is_localizer``            1 when ImageType holds LOCALIZER, else 0
``@series_text``             series, protocol, study description, folded (NFKC, lower case), joined
``@projection_text``         every text that names part or view of a radiograph, folded, joined
``@mr_weighting``            ``STIR``, ``T1`` or ``T2``: timing first, then series text
``@is_contrast_enhanced``    1 when a contrast agent is given or named in the series text, else 0
``@is_series_enhanced``      as before, by the series' own text: the study's names all that was ordered
``@spine_region``            ``cervical``, ``thoracolumbar``, ``whole``, ``unclear``, ``spine`` or ``other``
``@view``                    ``AP``, ``PA`` or ``LATERAL``: view code, position, orientation, then text
``@side``                    ``R``, ``L`` or ``B``: image, frame, series laterality, code, then text;
                             absent where an attribute and a text name opposite sides
``@body_part``               BodyPartExamined, or what AnatomicRegionSequence means, upper case
``@pixel_data_bytes``        bytes of pixel data that the file holds
``@expected_pixel_bytes``    bytes that rows, columns, frames, samples and bits ask for
``@instance_count``          instances of the series
``@slice_count``             slices: frames of a multi-frame object, instances of a stack
``@slice_spacing_mm``        median distance of neighbouring slices, mm
``@slice_gap_ratio``         largest distance of neighbours over the median one; 1 without a gap
``@missing_slices``          slices that a gap leaves out, or that the header counts and are absent
``@repeated_positions``      instances at a position where another one is
``@gantry_tilt_deg``         angle of the stack's direction to the slices' normal, degrees
===========================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operators.select import clinical, spine, stack

if TYPE_CHECKING:
    from operators.select.attributes import Value
    from operators.select.headers import InstanceHeader


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A value derived of an instance (``of_instance``) or of a series (``of_series``).

    Args:
        title: How a sentence calls it.
        attributes: Where it comes from; the first is the one that a verdict names.
        of_instance: Derives it of one instance; None when absent.
        of_series: Derives it of all instances; None when absent.
        is_shown: False when the value could hold free text.
    """

    title: str
    attributes: tuple[str, ...]
    of_instance: Callable[[InstanceHeader], Value | None] | None = None
    of_series: Callable[[Sequence[InstanceHeader]], Value | None] | None = None
    is_shown: bool = True


_INJECTION = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStart"

FACTS: dict[str, Fact] = {
    "@minutes_after_injection": Fact(
        title="the time after injection in minutes",
        attributes=("AcquisitionTime", f"{_INJECTION}DateTime", f"{_INJECTION}Time"),
        of_instance=clinical.minutes_after_injection,
    ),
    "@orientation": Fact(
        title="the image plane",
        attributes=("ImageOrientationPatient",),
        of_instance=stack.orientation,
    ),
    "@is_localizer": Fact(
        title="being a localizer", attributes=("ImageType",), of_instance=clinical.is_localizer
    ),
    "@series_text": Fact(
        title="the description of the series",
        attributes=clinical.SERIES_TEXT,
        of_instance=clinical.series_text,
        is_shown=False,
    ),
    "@projection_text": Fact(
        title="the description of the image",
        attributes=(
            "SeriesDescription",
            *(one for one in clinical.PROJECTION_TEXT if one != "SeriesDescription"),
        ),
        of_instance=clinical.projection_text,
        is_shown=False,
    ),
    "@mr_weighting": Fact(
        title="the MR weighting",
        attributes=("ScanningSequence", "InversionTime", "RepetitionTime", "EchoTime"),
        of_instance=clinical.mr_weighting,
    ),
    "@is_contrast_enhanced": Fact(
        title="contrast enhancement",
        attributes=("ContrastBolusAgent",),
        of_instance=clinical.is_contrast_enhanced,
    ),
    "@is_series_enhanced": Fact(
        title="contrast enhancement",
        attributes=("ContrastBolusAgent", *clinical.OWN_TEXT),
        of_instance=clinical.is_series_enhanced,
    ),
    "@spine_region": Fact(
        title="the part of the spine",
        attributes=("BodyPartExamined", *clinical.SERIES_TEXT),
        of_instance=spine.spine_region,
    ),
    "@view": Fact(
        title="the view",
        attributes=("ViewCodeSequence.CodeValue", "ViewPosition", "SeriesDescription"),
        of_instance=clinical.view,
    ),
    "@side": Fact(
        title="the side",
        attributes=("ImageLaterality", "Laterality", "SeriesDescription"),
        of_instance=clinical.side,
    ),
    "@body_part": Fact(
        title="the body part",
        attributes=("BodyPartExamined", "AnatomicRegionSequence.CodeMeaning"),
        of_instance=clinical.body_part,
    ),
    "@pixel_data_bytes": Fact(
        title="the pixel data's size in bytes",
        attributes=("PixelData",),
        of_instance=stack.pixel_data_bytes,
    ),
    "@expected_pixel_bytes": Fact(
        title="the pixel data's size by rows, columns, frames and bits, in bytes",
        attributes=("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated"),
        of_instance=stack.expected_pixel_bytes,
    ),
    "@instance_count": Fact(
        title="the number of instances", attributes=("SOPInstanceUID",), of_series=stack.instance_count
    ),
    "@slice_count": Fact(
        title="the number of slices", attributes=("NumberOfFrames",), of_series=stack.slice_count
    ),
    "@slice_spacing_mm": Fact(
        title="the distance of the slices in mm",
        attributes=("ImagePositionPatient", "SpacingBetweenSlices", "SliceThickness"),
        of_series=stack.slice_spacing_mm,
    ),
    "@slice_gap_ratio": Fact(
        title="the largest distance of slices over the median one",
        attributes=("ImagePositionPatient", "SliceVector"),
        of_series=stack.slice_gap_ratio,
    ),
    "@missing_slices": Fact(
        title="the number of missing slices",
        attributes=("ImagePositionPatient", "NumberOfSlices", "SliceVector"),
        of_series=stack.missing_slices,
    ),
    "@repeated_positions": Fact(
        title="the number of instances at an occupied position",
        attributes=("ImagePositionPatient",),
        of_series=stack.repeated_positions,
    ),
    "@gantry_tilt_deg": Fact(
        title="the gantry tilt in degrees",
        attributes=("GantryDetectorTilt", "ImagePositionPatient"),
        of_series=stack.gantry_tilt_deg,
    ),
}
