"""A parametric map has values: finite, of a named quantity, in a unit (PS3.3 A.75, C.7.6.16.2.11)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.errors import BrokenPromise
from dicom_node.verify.geometry import PARAMETRIC_MAP

_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}


def check_map(name: str, dataset: Dataset) -> None:
    """Stored values are finite, and every frame says what they mean; other objects are left alone.

    Raises:
        BrokenPromise: A value is not finite, or a mapping to real-world values is missing,
            without unit or quantity, or maps to what is not a number.
    """
    if str(dataset.SOPClassUID) != PARAMETRIC_MAP:
        return
    for keyword, kind in _FLOATS.items():
        if keyword in dataset and not np.isfinite(np.frombuffer(dataset[keyword].value, dtype=kind)).all():
            raise BrokenPromise(f"{name}: a value of {keyword} is not finite")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for number, frame in enumerate(dataset.get("PerFrameFunctionalGroupsSequence") or (), start=1):
        mappings = frame.get("RealWorldValueMappingSequence") or shared.get("RealWorldValueMappingSequence")
        if not mappings:
            raise BrokenPromise(f"{name}: frame {number} has no RealWorldValueMappingSequence")
        for complaint in (one for mapping in mappings for one in _complaints(mapping)):
            raise BrokenPromise(f"{name}: frame {number}: {complaint}")


def _complaints(mapping: Dataset) -> Iterator[str]:
    for keyword in ("MeasurementUnitsCodeSequence", "QuantityDefinitionSequence"):
        if not mapping.get(keyword):
            yield f"{keyword} of its real-world values is empty"
    if mapping.get("RealWorldValueLUTData") is not None:
        return
    slope, intercept = mapping.get("RealWorldValueSlope"), mapping.get("RealWorldValueIntercept")
    if slope is None or not math.isfinite(slope) or slope == 0:
        yield "RealWorldValueSlope is missing, zero or not finite"
    if intercept is None or not math.isfinite(intercept):
        yield "RealWorldValueIntercept is missing or not finite"
