"""Values of a data set, typed and checked, or None."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from operators.errors import Refused


def floats_or_none(place: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """The numbers of an attribute; None when it is absent, of another length, no number or not finite.

    >>> place = Dataset(); place.PixelSpacing = [0.2, 0.2]; place.RescaleSlope = None
    >>> floats_or_none(place, "PixelSpacing", 2), floats_or_none(place, "RescaleSlope", 1)
    ((0.2, 0.2), None)
    """
    try:
        raw = place.get(keyword)
        values = () if raw is None else tuple(float(v) for v in np.atleast_1d(raw))
    except (TypeError, ValueError):
        return None
    return values if len(values) == length and all(np.isfinite(values)) else None


def check_number(place: Dataset, keyword: str) -> None:
    """An attribute with a value is one finite number; one without, or none, is left to the caller.

    Raises:
        Refused: It is something else, and no default may stand for it.
    """
    if place.get(keyword) not in (None, "") and floats_or_none(place, keyword, 1) is None:
        raise Refused(f"{keyword} is not one finite number", attribute=keyword)


def number_or(place: Dataset, keyword: str, default: float) -> float:
    """The one number of an attribute, or the default where `floats_or_none` has none."""
    values = floats_or_none(place, keyword, 1)
    return default if values is None else values[0]


def vector_of(instance: Dataset, keyword: str, length: int) -> NDArray[np.float64]:
    """A vector of the Detector Information Sequence, or else of the data set itself, float64.

    Raises:
        Refused: Neither has it.
    """
    for place in (*instance.get("DetectorInformationSequence", [])[:1], instance):
        values = floats_or_none(place, keyword, length)
        if values is not None:
            return np.asarray(values, dtype=np.float64)
    raise Refused(
        f"{keyword} is missing from DetectorInformationSequence",
        attribute=f"DetectorInformationSequence.{keyword}",
    )


def pixel_spacing_of(instance: Dataset) -> tuple[float, float]:
    """Pixel Spacing, mm along the row and the column index.

    Raises:
        Refused: It is missing or not positive.
    """
    values = floats_or_none(instance, "PixelSpacing", 2)
    if values is None or min(values) <= 0:
        raise Refused(
            f"PixelSpacing is {instance.get('PixelSpacing')!r}; two positive lengths in mm are needed",
            attribute="PixelSpacing",
        )
    return values[0], values[1]
