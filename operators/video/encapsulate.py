"""A video bit stream as the pixel data of a Video Photographic Image (PS3.3 A.32.7, PS3.5 8.2).

Pure functions over bytes and data sets: nothing here decodes, opens a file or needs torch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from operators.encode.codes import private

VIDEO_PHOTOGRAPHIC = UID("1.2.840.10008.5.1.4.1.1.77.1.4.1")
H264_HIGH_41 = UID("1.2.840.10008.1.2.4.102")
H264_HIGH_42 = UID("1.2.840.10008.1.2.4.104")
HEVC_MAIN_51 = UID("1.2.840.10008.1.2.4.107")

ENTIRE_BODY = Code("38266002", "SCT", "Entire body")
CAMERA_VIEW = private("CAMERA_VIEW", "Camera view")
VIEWS = {
    "frontal": private("VIEW_FRONTAL", "Frontal view"),
    "sagittal": private("VIEW_SAGITTAL", "Sagittal view"),
    "oblique": private("VIEW_OBLIQUE", "Oblique view"),
}
GAIT_TASK = private("GAIT_TASK", "Gait task")
WALKING_AID = private("WALKING_AID", "Walking aid")
WALKWAY_LENGTH = private("WALKWAY_LENGTH", "Length of the walkway")
METRE = Code("m", "UCUM", "meter")

_BASIC_OFFSET_TABLE = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_DELIMITER_TAG = b"\xfe\xff\xdd\xe0"
_LARGEST_FRAGMENT = 2**32 - 2
_MP4_BOXES = frozenset(
    b"ftyp moov mdat free skip wide udta moof mfra uuid meta sidx styp emsg prft pdin".split()
)


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
    """The transfer syntax whose level holds the stream (ITU-T H.264 table A-1), or None.

    >>> facts = StreamFacts(
    ...     codec=Codec.H264, columns=1920, rows=1080, frames=1, frame_rate=Fraction(30), byte_count=9
    ... )
    >>> transfer_syntax(facts).name
    'MPEG-4 AVC/H.264 High Profile / Level 4.1'
    """
    macroblocks = -(-facts.columns // 16) * -(-facts.rows // 16)
    if facts.codec is Codec.HEVC:
        fits = (
            facts.columns * facts.rows <= 8_912_896
            and facts.columns * facts.rows * facts.frame_rate <= 534_773_760
        )
        return HEVC_MAIN_51 if fits else None
    if macroblocks <= 8192 and macroblocks * facts.frame_rate <= 245_760:
        return H264_HIGH_41
    if macroblocks <= 8704 and macroblocks * facts.frame_rate <= 522_240:
        return H264_HIGH_42
    return None


def encapsulated(stream: bytes) -> bytes:
    r"""The value of Pixel Data: an empty offset table and one fragment (PS3.5 8.2.5, A.4.5).

    Args:
        stream: The whole bit stream with its container.

    Raises:
        ValueError: The stream is empty or too long for one fragment.

    >>> encapsulated(b"abc")[8:]
    b'\xfe\xff\x00\xe0\x04\x00\x00\x00abc\x00'
    """
    if not stream:
        raise ValueError("the video stream is empty")
    if len(stream) > _LARGEST_FRAGMENT:
        raise ValueError(f"the video stream has {len(stream)} bytes, more than one fragment may hold")
    padded = stream + b"\x00" * (len(stream) % 2)
    return _BASIC_OFFSET_TABLE + _ITEM_TAG + struct.pack("<I", len(padded)) + padded


def stream_of(pixel_data: bytes) -> bytes:
    r"""The bit stream in a value of Pixel Data, of one or many fragments, without padding.

    The byte that pads an MP4 of odd length is taken away again; MPEG-TS is never padded.

    Raises:
        ValueError: The value is not encapsulated, or is cut.

    >>> stream_of(encapsulated(b"\x00\x00\x00\x09ftypX"))
    b'\x00\x00\x00\tftypX'
    """
    stream = b"".join(_fragments(memoryview(pixel_data)))
    length = mp4_length(stream)
    return stream[:length] if length is not None and length == len(stream) - 1 else stream


def _fragments(value: memoryview) -> Iterator[memoryview]:
    at, is_table = 0, True
    while at + 8 <= len(value):
        tag, length = bytes(value[at : at + 4]), struct.unpack("<I", value[at + 4 : at + 8])[0]
        if tag == _DELIMITER_TAG:
            return
        if tag != _ITEM_TAG or at + 8 + length > len(value):
            break
        if not is_table:
            yield value[at + 8 : at + 8 + length]
        at, is_table = at + 8 + length, False
    if at != len(value) or is_table:
        raise ValueError("the encapsulated pixel data are cut or damaged")


def mp4_length(stream: bytes) -> int | None:
    r"""Bytes that the top-level boxes of an MP4 (ISO 14496-12 4.2) take; None when it is none.

    >>> mp4_length(b"\x00\x00\x00\x08ftyp" + b"\x00"), mp4_length(b"\x47" + bytes(187))
    (8, None)
    """
    at = 0
    while at + 8 <= len(stream):
        size, kind = struct.unpack(">I4s", stream[at : at + 8])
        if kind not in _MP4_BOXES:
            return at or None
        if size == 1 and at + 16 <= len(stream):
            size = struct.unpack(">Q", stream[at + 8 : at + 16])[0]
        if size == 0:
            return len(stream)
        if size < 8 or at + size > len(stream):
            return None
        at += size
    return at or None


def put_video(
    target: Dataset,
    stream: bytes | None,
    facts: StreamFacts,
    *,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY"),
) -> None:
    """Give a data set the modules of a video: Image Pixel, Multi-frame, Cine, VL Image.

    Sets what PS3.3 A.32.7 asks of the image itself: C.7.6.3, C.7.6.5, C.7.6.6, C.8.12.1 and an
    empty Acquisition Context (C.7.6.14; `acquisition_context` makes its items). Patient, study,
    series, equipment and times are the caller's.

    Args:
        target: Has ``file_meta``; its transfer syntax is set.
        stream: The whole bit stream; None when the caller writes Pixel Data itself.
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
    target.file_meta.TransferSyntaxUID = syntax
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
    if stream is not None:
        target.PixelData = encapsulated(stream)
        target["PixelData"].VR = "OB"
        target["PixelData"].is_undefined_length = True


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


def coded(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def decimal(value: float) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 6.2).

    >>> decimal(1000 / 30)
    '33.33333333'
    """
    return f"{value:.10g}"
