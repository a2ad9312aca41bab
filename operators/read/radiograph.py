"""One radiograph to grey values with bone bright, and to millimetres (PS3.3 A.2, A.26).

In: the file of one CR or DX image that is meant for presentation. Out: `Radiograph`. The grey
scale goes through Modality LUT, VOI LUT or window, and polarity as PS3.4 N.2 has it. What
cannot be trusted is refused with the attribute at fault: no spacing, raw detector values,
screenshots. Whether the picture contradicts its polarity is told, not repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_presentation_lut, apply_voi

from operators.errors import Refused
from operators.read.attributes import floats_or_none, number_or
from operators.read.jpeg_scan import with_whole_spectrum
from operators.read.polarity import looks_inverted
from operators.read.projection import Side, View, side_of, view_of

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

PERCENTILES = (0.5, 99.5)
"""Of the values, that become black and white where no window tells."""

LEAST_INSIDE = 0.02
"""A window that leaves a smaller share of the picture between black and white is not believed."""


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


def read_radiograph(path: Path) -> Radiograph:
    """The radiograph in this file.

    Raises:
        Refused: It is no CR or DX image for presentation, has no usable spacing, is too small,
            a screenshot or in colour, or its pixels cannot be decoded or are all the same.
    """
    header = _header(path)
    spacing_mm_yx, is_magnified = _spacing(header)
    stored = _stored_values(path, header)
    if stored.min() == stored.max():
        raise Refused(f"PixelData is constant ({stored.min()}): there is no image", attribute="PixelData")
    try:
        shown = _shown(stored, header)
    except (ValueError, IndexError, KeyError, AttributeError, NotImplementedError) as error:
        raise Refused(
            f"a look-up table cannot be applied to the pixels: {error}", attribute="VOILUTSequence"
        ) from error
    contradicts = _has_contradicting_shape(header)
    return Radiograph(
        pixels_yx=shown,
        spacing_mm_yx=spacing_mm_yx,
        is_magnified=is_magnified,
        view=view_of(header),
        side=side_of(header),
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
        size = int(header.get(keyword) or 0)
        if size < MIN_SIDE_PX:
            raise Refused(f"{keyword} is {size}; at least {MIN_SIDE_PX} are needed", attribute=keyword)
    photometric = str(header.get("PhotometricInterpretation") or "")
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise Refused(
            f"PhotometricInterpretation is {photometric!r}; MONOCHROME1 or MONOCHROME2 is needed",
            attribute="PhotometricInterpretation",
        )
    bits = int(header.get("BitsStored") or 0)
    if bits < MIN_BITS:
        raise Refused(
            f"BitsStored is {bits}; at least {MIN_BITS} are needed, as a screenshot does not have",
            attribute="BitsStored",
        )
    frames = int(number_or(header, "NumberOfFrames", 1))
    if frames != 1:
        raise Refused(f"NumberOfFrames is {frames}; one image is needed", attribute="NumberOfFrames")


def _spacing(header: Dataset) -> tuple[tuple[float, float], bool]:
    """Spacing, mm along row and column index, and whether it is that of the detector's plane.

    PixelSpacing that differs from ImagerPixelSpacing, or names its calibration, is already that
    in the patient (PS3.3 10.7.1.3).
    """
    at_detector = floats_or_none(header, "ImagerPixelSpacing", 2)
    calibrated = floats_or_none(header, "PixelSpacing", 2)
    spacing = calibrated or at_detector
    keyword = "PixelSpacing" if calibrated else "ImagerPixelSpacing"
    if spacing is None:
        raise Refused(
            "ImagerPixelSpacing and PixelSpacing are missing; the size of a pixel in mm is needed",
            attribute="ImagerPixelSpacing",
        )
    if not all(SPACING_MM[0] <= one <= SPACING_MM[1] for one in spacing):
        raise Refused(
            f"{keyword} is {spacing[0]:g} x {spacing[1]:g} mm; "
            f"{SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm is needed",
            attribute=keyword,
        )
    is_named = bool(header.get("PixelSpacingCalibrationType"))
    if calibrated and (is_named or (at_detector is not None and calibrated != at_detector)):
        return (calibrated[0], calibrated[1]), False
    magnification = _magnification(header)
    return (spacing[0] / magnification, spacing[1] / magnification), magnification == 1.0


def _magnification(header: Dataset) -> float:
    """Size in the image over size in the patient, 1 when not known (PS3.3 C.8.7.10)."""
    stated = number_or(header, "EstimatedRadiographicMagnificationFactor", 0.0)
    to_patient = number_or(header, "DistanceSourceToPatient", 0.0)
    if not stated and to_patient > 0:
        stated = number_or(header, "DistanceSourceToDetector", 0.0) / to_patient
    return stated if MAGNIFICATION[0] <= stated <= MAGNIFICATION[1] else 1.0


def _warnings(header: Dataset) -> tuple[str, ...]:
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        return ("BurnedInAnnotation is YES: text in the picture may hide or resemble anatomy",)
    return ()


# ------------------------------------------------------------------- pixels


def _stored_values(path: Path, header: Dataset) -> NDArray[np.generic]:
    """``(y, x)`` as stored."""
    try:
        instance = with_whole_spectrum(pydicom.dcmread(path))
        stored = instance.pixel_array
    except (ValueError, AttributeError, RuntimeError, NotImplementedError, OSError, EOFError) as error:
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
    values = apply_modality_lut(stored, header)
    grey = _by_voi_lut(values, header)
    if grey is None:
        grey = _by_window(values, header)
    if grey is None:
        grey = _between(values, *np.percentile(values, PERCENTILES))
    if header.get("PresentationLUTSequence"):
        return _between(apply_presentation_lut(grey, header))
    return 1 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


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
    return None if first in (None, "") or not np.isfinite(float(first)) else float(first)


def _between(
    values: NDArray[np.generic], black: float | None = None, white: float | None = None
) -> NDArray[np.float32]:
    """The values as 0 (black) to 1 (white), clipped; by default from the least to the most."""
    low = float(values.min()) if black is None else black
    high = float(values.max()) if white is None else white
    span = high - low if high > low else 1.0
    return np.asarray(np.clip((values.astype(np.float32) - low) / span, 0, 1), dtype=np.float32)


def _has_contradicting_shape(header: Dataset) -> bool:
    """True for INVERSE beside MONOCHROME2, which no DX image may have (PS3.3 C.8.11.3.1.2)."""
    shape = str(header.get("PresentationLUTShape", "")).upper()
    return shape == "INVERSE" and header.PhotometricInterpretation == "MONOCHROME2"
