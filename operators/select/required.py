"""What every app needs of an instance, whatever its app.toml says.

Identifiers that results copy, pixels that can be decoded and are all there, and the geometry
of the modality. What an app needs beyond this is in its envelope.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    MPEGTransferSyntaxes,
    RLELossless,
)

from operators.select.attributes import as_number, first_value
from operators.select.headers import InstanceHeader, InstanceView
from operators.select.predicates import show
from operators.select.stack import expected_pixel_bytes, frame_count, image_orientation, image_positions

Kind = Literal["image", "video", "document"]

IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID")

ONE_PER_STUDY = ("StudyInstanceUID", "PatientID", "PatientBirthDate")
"""Attributes of which a study has one value (PS3.3 A.1.2)."""

SMALLEST_SIDE_PX = 8
"""No app reads anything out of an image of fewer rows or columns."""

SMALLEST_FRAGMENT_BYTES = 8
"""An encapsulated frame is at least an item's tag and length (PS3.5 A.4)."""

BITS_ALLOCATED = frozenset({1, 8, 16, 32, 64})

SAMPLES_PER_PIXEL = frozenset({1, 3, 4})

NATIVE_SYNTAXES = frozenset(
    {ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)

DECODABLE_SYNTAXES = (
    NATIVE_SYNTAXES
    | {RLELossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}
    | set(JPEGTransferSyntaxes)
    | set(JPEGLSTransferSyntaxes)
    | set(JPEG2000TransferSyntaxes)
)
"""What the decoders that ship with the node read; the pins make this a constant."""

VIDEO_SYNTAXES = DECODABLE_SYNTAXES | set(MPEGTransferSyntaxes)

_UID = re.compile(r"^[0-9]+(\.[0-9]+)+$")

_ENHANCED = "SharedFunctionalGroupsSequence."

_GEOMETRY: dict[str, tuple[tuple[str, ...], ...]] = {
    "CT": (
        ("FrameOfReferenceUID",),
        ("PixelSpacing", f"{_ENHANCED}PixelMeasuresSequence.PixelSpacing"),
        ("RescaleSlope", f"{_ENHANCED}PixelValueTransformationSequence.RescaleSlope"),
        ("RescaleIntercept", f"{_ENHANCED}PixelValueTransformationSequence.RescaleIntercept"),
    ),
    "MR": (
        ("FrameOfReferenceUID",),
        ("PixelSpacing", f"{_ENHANCED}PixelMeasuresSequence.PixelSpacing"),
    ),
    "CR": (("ImagerPixelSpacing", "PixelSpacing"), ("PhotometricInterpretation",)),
    "DX": (("ImagerPixelSpacing", "PixelSpacing"), ("PhotometricInterpretation",)),
    "NM": (("PixelSpacing",),),
}
"""Attributes that a modality needs; of each group one is enough."""

_POSITIVE = frozenset({"PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices"})


@dataclass(frozen=True)
class Shortcoming:
    """What an instance or a study lacks.

    Args:
        reason: The sentence that a person reads.
        attribute: The DICOM keyword at fault.
    """

    reason: str
    attribute: str


def identity_shortcoming(header: InstanceHeader) -> Shortcoming | None:
    """The first identifier that is missing or is no UID (PS3.5 9.1), or None."""
    for keyword in IDENTIFIERS:
        value = header.text(keyword)
        if not value:
            return Shortcoming(f"{keyword} is missing or empty", keyword)
        if keyword.endswith("UID") and (len(value) > 64 or not _UID.match(value)):
            return Shortcoming(f"{keyword} is not a valid UID", keyword)
    return None


def instance_shortcoming(view: InstanceView, kind: Kind) -> Shortcoming | None:
    """The first thing that the instance lacks to be an input of this kind, or None."""
    header = view.header
    found = identity_shortcoming(header)
    if found is not None or kind == "document":
        return found
    syntaxes = VIDEO_SYNTAXES if kind == "video" else DECODABLE_SYNTAXES
    found = _matrix_shortcoming(header) or _pixel_shortcoming(header, syntaxes)
    if found is not None or kind == "video":
        return found
    return _geometry_shortcoming(view)


def size_shortcoming(headers: Sequence[InstanceHeader], memory_mb: int) -> Shortcoming | None:
    """Set when the decoded series alone would not fit into the app's memory."""
    decoded_mb = sum(expected_pixel_bytes(header) or 0 for header in headers) / 2**20
    if decoded_mb <= memory_mb:
        return None
    reason = (
        f"Rows, Columns and NumberOfFrames ask for {decoded_mb:.0f} MB of pixels, "
        f"the app may use {memory_mb} MB"
    )
    return Shortcoming(reason, "NumberOfFrames")


def study_shortcoming(headers: Sequence[InstanceHeader]) -> Shortcoming | None:
    """Set when the instances are of more than one study or patient."""
    for keyword in ONE_PER_STUDY:
        different = {header.text(keyword) for header in headers} - {""}
        if len(different) > 1:
            return Shortcoming(
                f"{keyword} has {len(different)} different values within what should be one study", keyword
            )
    return None


def _matrix_shortcoming(header: InstanceHeader) -> Shortcoming | None:
    dataset = header.dataset
    for keyword in ("Rows", "Columns"):
        side = as_number(first_value(dataset, keyword))
        if side is None or side < SMALLEST_SIDE_PX:
            return Shortcoming(_needs(keyword, dataset, f"at least {SMALLEST_SIDE_PX}"), keyword)
    if frame_count(header) < 1:
        return Shortcoming(_needs("NumberOfFrames", dataset, "at least 1"), "NumberOfFrames")
    for keyword, allowed in (("BitsAllocated", BITS_ALLOCATED), ("SamplesPerPixel", SAMPLES_PER_PIXEL)):
        if as_number(first_value(dataset, keyword)) not in allowed:
            needed = "one of " + ", ".join(str(one) for one in sorted(allowed))
            return Shortcoming(_needs(keyword, dataset, needed), keyword)
    stored = as_number(first_value(dataset, "BitsStored"))
    allocated = as_number(first_value(dataset, "BitsAllocated")) or 0
    if stored is not None and not 1 <= stored <= allocated:
        return Shortcoming(_needs("BitsStored", dataset, f"1 to {allocated:.0f}"), "BitsStored")
    return None


def _pixel_shortcoming(header: InstanceHeader, syntaxes: frozenset[UID]) -> Shortcoming | None:
    syntax = UID(header.transfer_syntax_uid)
    if syntax not in syntaxes:
        shown = f"'{syntax.name}'" if syntax else "missing"
        return Shortcoming(
            f"TransferSyntaxUID is {shown}, one that can be decoded is needed", "TransferSyntaxUID"
        )
    if header.pixel_bytes == 0:
        return Shortcoming("PixelData is missing or empty", "PixelData")
    if syntax in NATIVE_SYNTAXES:
        return _native_shortcoming(header)
    frames = frame_count(header)
    if syntax not in MPEGTransferSyntaxes and header.pixel_bytes < frames * SMALLEST_FRAGMENT_BYTES:
        reason = f"NumberOfFrames is {frames}, but PixelData holds only {header.pixel_bytes} bytes"
        return Shortcoming(reason, "NumberOfFrames")
    return None


def _native_shortcoming(header: InstanceHeader) -> Shortcoming | None:
    """Set when fewer bytes are there than rows, columns, frames, samples and bits ask for."""
    asked = expected_pixel_bytes(header) or 0
    if first_value(header.dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        asked = asked * 2 // 3
    if header.pixel_bytes >= asked:
        return None
    frames = frame_count(header)
    rows, columns = (first_value(header.dataset, keyword) for keyword in ("Rows", "Columns"))
    reason = (
        f"NumberOfFrames is {frames}, Rows {rows} and Columns {columns}, which is {asked} bytes, "
        f"but PixelData holds only {header.pixel_bytes}"
    )
    return Shortcoming(reason, "NumberOfFrames" if frames > 1 else "PixelData")


def _geometry_shortcoming(view: InstanceView) -> Shortcoming | None:
    dataset = view.header.dataset
    modality = view.header.text("Modality")
    is_tomographic = modality in {"CT", "MR"} or (modality == "NM" and _is_reconstructed(view))
    if is_tomographic and image_orientation(dataset) is None:
        return _missing(
            _of_detector("ImageOrientationPatient", modality), "a pair of perpendicular unit vectors"
        )
    if is_tomographic and not image_positions(dataset):
        return _missing(_of_detector("ImagePositionPatient", modality), "a position of three numbers")
    groups = _GEOMETRY.get(modality, ())
    if modality == "NM" and is_tomographic:
        groups = (*groups, ("SpacingBetweenSlices", "SliceThickness"))
    for group in groups:
        if not any(_is_usable(view, path) for path in group):
            needed = "a positive number" if group[0] in _POSITIVE else "a value"
            return _missing(group[0], needed)
    return None


def _is_reconstructed(view: InstanceView) -> bool:
    """True for the reconstructed kinds of ImageType value 3 (PS3.3 C.8.4.9.1.1.3)."""
    values = [value for one in view.values("ImageType") for value in one[2:3]]
    return any("RECON" in str(value).upper() for value in values)


def _is_usable(view: InstanceView, path: str) -> bool:
    found = view.values(path)
    if path.rsplit(".", 1)[-1] not in _POSITIVE:
        return bool(found)
    return any(all((as_number(value) or 0) > 0 for value in values) for values in found)


def _of_detector(keyword: str, modality: str) -> str:
    return f"DetectorInformationSequence.{keyword}" if modality == "NM" else keyword


def _missing(attribute: str, needed: str) -> Shortcoming:
    return Shortcoming(f"{attribute} is missing or unusable, {needed} is needed", attribute)


def _needs(keyword: str, dataset: Dataset, needed: str) -> str:
    value = first_value(dataset, keyword)
    return f"{keyword} is {'missing' if value is None else show((value,))}, {needed} is needed"
