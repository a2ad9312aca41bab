"""The attributes of a Video Photographic Image (PS3.3 A.32.7) that follow from its stream and its walk.

The service wraps cameras' videos with these functions, phantoms and derived videos are written
with them: one home, so that what the node makes of a walk is what its apps read. Pure functions
over data sets; needs pydicom only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from operators.encode.codes import coded, private
from operators.video.encapsulate import encapsulated

VIDEO_PHOTOGRAPHIC: Final = UID("1.2.840.10008.5.1.4.1.1.77.1.4.1")
HEVC_MAIN_51: Final = UID("1.2.840.10008.1.2.4.107")

ENTIRE_BODY: Final = Code("38266002", "SCT", "Entire body")
CAMERA_VIEW: Final = private("CAMERA_VIEW", "Camera view")
VIEWS: Final = {
    "frontal": private("VIEW_FRONTAL", "Frontal view"),
    "sagittal": private("VIEW_SAGITTAL", "Sagittal view"),
    "oblique": private("VIEW_OBLIQUE", "Oblique view"),
}
GAIT_TASK: Final = private("GAIT_TASK", "Gait task")
WALKING_AID: Final = private("WALKING_AID", "Walking aid")
WALKWAY_LENGTH: Final = private("WALKWAY_LENGTH", "Length of the walkway")
METRE: Final = Code("m", "UCUM", "meter")

MACROBLOCK: Final = 16
"""Pixels of a side of a macroblock."""


@dataclass(frozen=True, slots=True)
class Level:
    """Limits of a level in the High profile (ITU-T H.264 tables A-1 and A-2), and its transfer syntax."""

    name: str
    idc: int
    frame_macroblocks: int
    macroblocks_per_s: int
    buffer_macroblocks: int
    bits_per_s: int
    transfer_syntax_uid: UID


LEVEL_4_1: Final = Level("4.1", 41, 8192, 245_760, 32_768, 62_500_000, UID("1.2.840.10008.1.2.4.102"))
LEVEL_4_2: Final = Level("4.2", 42, 8704, 522_240, 34_816, 62_500_000, UID("1.2.840.10008.1.2.4.104"))
LEVELS: Final = (LEVEL_4_1, LEVEL_4_2)
"""Those that DICOM has, PS3.5 8.2.7 and 8.2.8; the first that fits is taken."""


def level_for(columns: int, rows: int, frame_rate: Fraction) -> Level | None:
    """The lowest level of H.264 that holds such pictures at such a rate, or None.

    >>> level_for(1920, 1080, Fraction(60)).name
    '4.2'
    """
    macroblocks = -(-columns // MACROBLOCK) * -(-rows // MACROBLOCK)
    for level in LEVELS:
        if macroblocks <= level.frame_macroblocks and macroblocks * frame_rate <= level.macroblocks_per_s:
            return level
    return None


class Codec(StrEnum):
    """A coding of video that DICOM has a transfer syntax for, and that is written here."""

    H264 = "h264"
    HEVC = "hevc"


LOSSY_METHOD = {Codec.H264: "ISO_14496_10", Codec.HEVC: "ISO_23008_2"}
"""Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """What is known of a bit stream: 8 bits, 4:2:0, progressive.

    Args:
        codec: Of the stream.
        columns: Width that is displayed, pixels.
        rows: Height that is displayed, pixels.
        frames: Exact number of frames.
        frame_rate: Frames per second, constant.
        byte_count: Of the whole stream with its container.
    """

    codec: Codec
    columns: int
    rows: int
    frames: int
    frame_rate: Fraction
    byte_count: int

    @property
    def frame_time_ms(self) -> float:
        """Frame Time (0018,1063)."""
        return float(1000 / self.frame_rate)

    @property
    def compression_ratio(self) -> float:
        """Bytes of the frames as 8-bit RGB over bytes of the stream."""
        return self.columns * self.rows * 3 * self.frames / max(self.byte_count, 1)


def transfer_syntax(facts: StreamFacts) -> UID | None:
    """The transfer syntax whose level holds the stream, or None.

    >>> facts = StreamFacts(
    ...     codec=Codec.H264, columns=1920, rows=1080, frames=1, frame_rate=Fraction(30), byte_count=9
    ... )
    >>> transfer_syntax(facts).name
    'MPEG-4 AVC/H.264 High Profile / Level 4.1'
    """
    if facts.codec is Codec.HEVC:
        fits = (
            facts.columns * facts.rows <= 8_912_896
            and facts.columns * facts.rows * facts.frame_rate <= 534_773_760
        )
        return HEVC_MAIN_51 if fits else None
    level = level_for(facts.columns, facts.rows, facts.frame_rate)
    return None if level is None else level.transfer_syntax_uid


def put_video(
    target: Dataset,
    stream: bytes,
    facts: StreamFacts,
    *,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY"),
) -> None:
    """Give a data set the modules of a video and its Pixel Data.

    Args:
        target: As for `put_image`.
        stream: The whole bit stream.
        facts: Of the stream.
        image_type: Image Type (0008,0008).

    Raises:
        ValueError: No transfer syntax holds such a stream, or it is too long.
    """
    syntax = transfer_syntax(facts)
    if syntax is None:
        raise ValueError(
            f"no DICOM video transfer syntax holds {facts.columns} x {facts.rows} at {facts.frame_rate}/s"
        )
    put_image(target, facts, syntax, image_type=image_type)
    target.PixelData = encapsulated(stream)
    target["PixelData"].VR = "OB"
    target["PixelData"].is_undefined_length = True


def put_image(
    target: Dataset,
    facts: StreamFacts,
    transfer_syntax_uid: UID,
    *,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY"),
) -> None:
    """Give a data set the modules of a video but for Pixel Data.

    Sets what PS3.3 A.32.7 asks of the image itself: Image Pixel C.7.6.3, Cine C.7.6.5, Multi-frame
    C.7.6.6, VL Image C.8.12.1 and an empty Acquisition Context (C.7.6.14; `acquisition_context`
    makes its items). Patient, study, series, equipment and times are the caller's.

    Args:
        target: Has ``file_meta``; its transfer syntax is set.
        facts: Of the stream.
        transfer_syntax_uid: That of the stream.
        image_type: Image Type (0008,0008).
    """
    target.file_meta.TransferSyntaxUID = transfer_syntax_uid
    target.file_meta.MediaStorageSOPClassUID = target.SOPClassUID = VIDEO_PHOTOGRAPHIC
    target.Modality = "XC"
    target.ImageType = list(image_type)
    target.SamplesPerPixel, target.PhotometricInterpretation, target.PlanarConfiguration = (
        3,
        "YBR_PARTIAL_420",
        0,
    )
    target.Rows, target.Columns = facts.rows, facts.columns
    target.BitsAllocated, target.BitsStored, target.HighBit, target.PixelRepresentation = 8, 8, 7, 0
    target.NumberOfFrames = facts.frames
    target.FrameIncrementPointer = 0x00181063
    target.FrameTime = decimal(facts.frame_time_ms)
    target.CineRate = target.RecommendedDisplayFrameRate = max(1, round(facts.frame_rate))
    target.LossyImageCompression = "01"
    target.LossyImageCompressionRatio = decimal(facts.compression_ratio)
    target.LossyImageCompressionMethod = LOSSY_METHOD[facts.codec]
    target.BodyPartExamined = "WHOLEBODY"
    target.AnatomicRegionSequence = [coded(ENTIRE_BODY)]
    target.AcquisitionContextSequence = []


def acquisition_context(
    *, view: str | None = None, task: str = "", aid: str = "", walkway_m: float | None = None
) -> list[Dataset]:
    """Items of the Acquisition Context Sequence (PS3.3 C.7.6.14) that say how a walk was filmed.

    Args:
        view: ``frontal``, ``sagittal`` or ``oblique``.
        task: What was walked, such as ``SARA gait``.
        aid: Walking aid, in words.
        walkway_m: Length of the walkway.

    Raises:
        ValueError: The view is none of these.

    >>> acquisition_context(view="frontal")[0].ConceptCodeSequence[0].CodeMeaning
    'Frontal view'
    """
    items = []
    if view is not None:
        if view not in VIEWS:
            raise ValueError(f"view is {view!r}; allowed are {', '.join(VIEWS)}")
        items.append(_context_item(CAMERA_VIEW, "CODE", ConceptCodeSequence=[coded(VIEWS[view])]))
    items += [
        _context_item(name, "TEXT", TextValue=text)
        for name, text in ((GAIT_TASK, task), (WALKING_AID, aid))
        if text
    ]
    if walkway_m is not None:
        items.append(
            _context_item(
                WALKWAY_LENGTH,
                "NUMERIC",
                NumericValue=decimal(walkway_m),
                MeasurementUnitsCodeSequence=[coded(METRE)],
            )
        )
    return items


def view_of(dataset: Dataset) -> str | None:
    """The camera view that the Acquisition Context names, or None.

    >>> d = Dataset()
    >>> d.AcquisitionContextSequence = acquisition_context(view="sagittal", task="SARA gait")
    >>> view_of(d)
    'sagittal'
    """
    names = {code.value: name for name, code in VIEWS.items()}
    for item in dataset.get("AcquisitionContextSequence") or ():
        for concept in item.get("ConceptCodeSequence") or ():
            if concept.get("CodeValue") in names:
                return names[concept.CodeValue]
    return None


def _context_item(name: Code, value_type: str, **values: Any) -> Dataset:
    item = Dataset()
    item.ValueType = value_type
    item.ConceptNameCodeSequence = [coded(name)]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def decimal(value: float | Fraction) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 6.2).

    >>> decimal(1000 / 30)
    '33.33333333'
    """
    return f"{float(value):.10g}"
