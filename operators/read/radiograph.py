"""One radiograph to grey values with bone bright, and to millimetres (PS3.3 A.2, A.26).

In: the file of one CR or DX image that is meant for presentation. Out: `Radiograph`. The grey
scale goes through Modality LUT, VOI LUT or window, and polarity as PS3.4 N.2 has it. What
cannot be trusted is refused with the attribute at fault: no spacing, raw detector values,
screenshots. Whether the picture contradicts its polarity is told, not repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_presentation_lut, apply_voi

from operators.errors import Refused
from operators.read.attributes import check_number, floats_or_none, number_or
from operators.read.jpeg_scan import with_whole_spectrum
from operators.read.polarity import looks_inverted
from operators.read.projection import Side, View, side_contradiction, side_of, view_of

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray for presentation",
}

MIN_SIDE_PX = 128
"""Rows or columns below this are no radiograph that could be read."""

MIN_BITS = 9
"""Eight bits are those of a screenshot or of a picture for teaching."""

SPACING_MM = (0.02, 2.0)
"""Distances of pixels that a detector or plate can have."""

MAGNIFICATION = (1.0, 2.5)
"""Of a projection: the image is never smaller than the patient."""

BEYOND_TABLE = 1.08
"""Magnification by distances from which they can be those of a bone, and not of the table in front
of the detector, which is what DistanceSourceToPatient is of in most files."""

CALIBRATED = 0.01
"""Relative difference of PixelSpacing to ImagerPixelSpacing that is no rounding."""

PERCENTILES = (0.5, 99.5)
"""Of the values, that become black and white where no window tells."""

LEAST_INSIDE = 0.02
"""A window that leaves a smaller share of the picture between black and white is not believed."""

_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError)
"""What pydicom raises over pixels and tables that are not what their attributes say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph:
    """A projection image as a person sees it.

    Args:
        pixels_yx: ``(y, x)`` float32, 0 to 1, bone bright.
        spacing_mm_yx: Distance of pixel centres along rows' and columns' index, mm, in the
            patient where the magnification is known, else in the plane of the detector.
        is_magnified: True when the spacing is that of the detector's plane.
        view: As the header tells, or None.
        side: As the header tells, or None.
        side_contradiction: Which two attributes name opposite sides, where that is why there is none.
        header: The data set without its pixels.
        grey_is_suspect: True when the picture, or another attribute, contradicts the polarity
            that PhotometricInterpretation tells.
        warnings: Sentences that a reader of the results must see.
    """

    pixels_yx: NDArray[np.float32]
    spacing_mm_yx: tuple[float, float]
    is_magnified: bool
    view: View | None
    side: Side | None
    header: Dataset
    grey_is_suspect: bool
    warnings: tuple[str, ...] = ()
    side_contradiction: str = ""


def read_radiograph(path: Path) -> Radiograph:
    """The radiograph in this file.

    Raises:
        Refused: It is no CR or DX image for presentation, has no usable spacing, is too small,
            a screenshot or in colour, its pixels cannot be decoded or are all the same, or a number
            that they are scaled by is none.
    """
    header = _header(path)
    spacing_mm_yx, is_magnified = _spacing(header)
    stored = _stored_values(path, header)
    if stored.min() == stored.max():
        raise Refused(f"PixelData is constant ({stored.min()}): there is no image", attribute="PixelData")
    shown = _shown(stored, header)
    contradicts = has_contradicting_shape(header)
    return Radiograph(
        pixels_yx=shown,
        spacing_mm_yx=spacing_mm_yx,
        is_magnified=is_magnified,
        view=view_of(header),
        side=side_of(header),
        side_contradiction=side_contradiction(header),
        header=header,
        grey_is_suspect=contradicts or looks_inverted(shown, spacing_mm_yx),
        warnings=_warnings(header),
    )


# ------------------------------------------------------------------- header


def _header(path: Path) -> Dataset:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, EOFError, ValueError) as error:
        raise Refused(f"the file cannot be read as DICOM: {error}", attribute="SOPInstanceUID") from error
    kind = str(header.get("SOPClassUID", ""))
    if kind not in SOP_CLASSES:
        raise Refused(
            f"SOPClassUID is {pydicom.uid.UID(kind).name!r}; {' or '.join(SOP_CLASSES.values())} is needed",
            attribute="SOPClassUID",
        )
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING":
        raise Refused(
            "PresentationIntentType is FOR PROCESSING: raw detector values have no grey scale to read",
            attribute="PresentationIntentType",
        )
    _check_matrix(header)
    return header


def _check_matrix(header: Dataset) -> None:
    for keyword in ("Rows", "Columns"):
        size = int(number_or(header, keyword, 0))
        if size < MIN_SIDE_PX:
            raise Refused(f"{keyword} is {size}; at least {MIN_SIDE_PX} are needed", attribute=keyword)
    photometric = str(header.get("PhotometricInterpretation") or "")
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise Refused(
            f"PhotometricInterpretation is {photometric!r}; MONOCHROME1 or MONOCHROME2 is needed",
            attribute="PhotometricInterpretation",
        )
    bits = int(number_or(header, "BitsStored", 0))
    if bits < MIN_BITS:
        raise Refused(
            f"BitsStored is {bits}; at least {MIN_BITS} are needed, as a screenshot does not have",
            attribute="BitsStored",
        )
    check_number(header, "NumberOfFrames")
    frames = int(number_or(header, "NumberOfFrames", 1))
    if frames != 1:
        raise Refused(f"NumberOfFrames is {frames}; one image is needed", attribute="NumberOfFrames")


def _spacing(header: Dataset) -> tuple[tuple[float, float], bool]:
    """Spacing, mm along row and column index, and whether it is that of the detector's plane.

    PixelSpacing that differs from ImagerPixelSpacing, or names its calibration, is already that
    in the patient (PS3.3 10.7.1.3).
    """
    at_detector, told = _two_lengths(header, "ImagerPixelSpacing"), _two_lengths(header, "PixelSpacing")
    spacing = told or at_detector
    if spacing is None:
        raise Refused(
            "ImagerPixelSpacing and PixelSpacing are missing; the size of a pixel in mm is needed",
            attribute="ImagerPixelSpacing",
        )
    if told and (header.get("PixelSpacingCalibrationType") or _differs(told, at_detector)):
        return told, False
    magnification = _magnification(header)
    return (spacing[0] / magnification, spacing[1] / magnification), magnification == 1.0


def _two_lengths(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """A spacing, mm; None when the attribute is missing or empty."""
    if header.get(keyword) in (None, ""):
        return None
    values = floats_or_none(header, keyword, 2)
    if values is None:
        raise Refused(f"{keyword} is not two numbers", attribute=keyword)
    if not all(SPACING_MM[0] <= one <= SPACING_MM[1] for one in values):
        raise Refused(
            f"{keyword} is {values[0]:g} x {values[1]:g} mm; "
            f"{SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm is needed",
            attribute=keyword,
        )
    return values[0], values[1]


def _differs(told: tuple[float, float], at_detector: tuple[float, float] | None) -> bool:
    """True when a spacing is plainly not that of the detector."""
    return at_detector is not None and not np.allclose(told, at_detector, rtol=CALIBRATED, atol=0)


def _magnification(header: Dataset) -> float:
    """Size in the image over size in the patient, 1 when not known.

    DX Positioning (PS3.3 C.8.11.5) estimates it, or tells distances. Of these, that to the patient
    is to the table, support or bucky: the bone is magnified more. Hence a small ratio tells nothing,
    and a larger one is what the bone is magnified by at least.
    """
    stated = number_or(header, "EstimatedRadiographicMagnificationFactor", 0.0)
    if not stated:
        to_patient = number_or(header, "DistanceSourceToPatient", 0.0)
        by_distance = (
            number_or(header, "DistanceSourceToDetector", 0.0) / to_patient if to_patient > 0 else 0.0
        )
        stated = by_distance if by_distance >= BEYOND_TABLE else 0.0
    return stated if MAGNIFICATION[0] <= stated <= MAGNIFICATION[1] else 1.0


def _warnings(header: Dataset) -> tuple[str, ...]:
    told = []
    if contradiction := side_contradiction(header):
        told.append(f"{contradiction}: neither is believed")
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        told.append("BurnedInAnnotation is YES: text in the picture may hide or resemble anatomy")
    return tuple(told)


# ------------------------------------------------------------------- pixels


def _stored_values(path: Path, header: Dataset) -> NDArray[np.generic]:
    """``(y, x)`` as stored."""
    try:
        instance = with_whole_spectrum(pydicom.dcmread(path))
        stored = instance.pixel_array
    except (*_UNUSABLE, RuntimeError, OSError, EOFError) as error:
        raise Refused(f"PixelData cannot be decoded: {error}", attribute="PixelData") from error
    if stored.shape != (header.Rows, header.Columns):
        raise Refused(
            f"PixelData holds {'x'.join(map(str, stored.shape))} values, one plane of "
            f"{header.Rows} x {header.Columns} is needed",
            attribute="PixelData",
        )
    return stored


def _shown(stored: NDArray[np.generic], header: Dataset) -> NDArray[np.float32]:
    """``(y, x)`` float32, 0 to 1: the values of a display, 1 white, bone bright."""
    values = _by_modality_lut(stored, header)
    with _blamed("VOILUTSequence"):
        grey = _by_voi_lut(values, header)
    if grey is None:
        grey = _by_window(values, header)
    if grey is None:
        grey = _between(values, *np.percentile(values, PERCENTILES))
    if header.get("PresentationLUTSequence"):
        with _blamed("PresentationLUTSequence"):
            return _between(apply_presentation_lut(grey, header))
    return 1 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


@contextmanager
def _blamed(attribute: str) -> Iterator[None]:
    """What goes wrong inside is the fault of this attribute."""
    try:
        yield
    except _UNUSABLE as error:
        raise Refused(f"{attribute} cannot be applied to the pixels: {error}", attribute=attribute) from error


def _by_modality_lut(stored: NDArray[np.generic], header: Dataset) -> NDArray[Any]:
    """By Modality LUT or rescaling (PS3.3 C.11.1)."""
    if header.get("ModalityLUTSequence"):
        with _blamed("ModalityLUTSequence"):
            return apply_modality_lut(stored, header)
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if keyword in header and floats_or_none(header, keyword, 1) is None:
            raise Refused(f"{keyword} is not one finite number", attribute=keyword)
    if number_or(header, "RescaleSlope", 1.0) == 0:
        raise Refused("RescaleSlope is 0", attribute="RescaleSlope")
    return apply_modality_lut(stored, header)


def _by_voi_lut(values: NDArray[np.generic], header: Dataset) -> NDArray[np.float32] | None:
    """By the first VOI LUT (PS3.3 C.11.2.1.1), or None without a usable one."""
    tables = header.get("VOILUTSequence")
    if not tables or not all(tables[0].get(name) is not None for name in ("LUTDescriptor", "LUTData")):
        return None
    entries, first, _ = (int(value) for value in tables[0].LUTDescriptor)
    every_entry = apply_voi(np.arange(first, first + (entries or 2**16), dtype=np.int32), header)
    mapped = apply_voi(np.rint(values).astype(np.int32), header)
    grey = _between(mapped, float(every_entry.min()), float(every_entry.max()))
    return grey if _is_believed(grey) else None


def _by_window(values: NDArray[np.generic], header: Dataset) -> NDArray[np.float32] | None:
    """By the first window (PS3.3 C.11.2.1.2, C.11.2.1.3), or None without a usable one."""
    centre, width = (_first_number(header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 1:
        return None
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        grey = 1 / (1 + np.exp(-4 * (values.astype(np.float32) - centre) / width))
    else:
        shift, less = (0.0, 0.0) if function == "LINEAR_EXACT" else (0.5, 1.0)
        black = centre - shift - (width - less) / 2
        grey = _between(values, black, black + width - less)
    return np.asarray(grey, dtype=np.float32) if _is_believed(grey) else None


def _is_believed(grey: NDArray[np.float32]) -> bool:
    """True when a fair share of the picture is neither black nor white."""
    return float(((grey > 0) & (grey < 1)).mean()) >= LEAST_INSIDE


def _first_number(header: Dataset, keyword: str) -> float | None:
    """The first of the values, of which there may be several to choose from, or None."""
    value = header.get(keyword)
    first = value[0] if isinstance(value, MultiValue) and value else value
    if first in (None, ""):
        return None
    with _blamed(keyword):
        number = float(first)
    return number if np.isfinite(number) else None


def _between(
    values: NDArray[np.generic], black: float | None = None, white: float | None = None
) -> NDArray[np.float32]:
    """The values as 0 (black) to 1 (white), clipped; by default from the least to the most."""
    low = float(values.min()) if black is None else black
    high = float(values.max()) if white is None else white
    span = high - low if high > low else 1.0
    return np.asarray(np.clip((values.astype(np.float32) - low) / span, 0, 1), dtype=np.float32)


def has_contradicting_shape(header: Dataset) -> bool:
    """True for INVERSE beside MONOCHROME2, which no DX image may have (PS3.3 C.8.11.3.1.2)."""
    shape = str(header.get("PresentationLUTShape", "")).upper()
    return shape == "INVERSE" and header.PhotometricInterpretation == "MONOCHROME2"
