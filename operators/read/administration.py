"""When a tracer was given, how much of it, and when and how it was imaged.

What the header does not say stays None: no time and no dose is invented.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset

from operators.read.attributes import number_or

MAX_PLAUSIBLE_DOSE_MBQ = 10_000.0
"""A larger Radionuclide Total Dose can only be in Bq, as PET writes it."""


def acquisition_of(instances: tuple[Dataset, ...]) -> dict[str, Any]:
    """The fields of `operators.read.nm.NmAcquisition`, from the first of the instances."""
    first = instances[0]
    administration = next(iter(first.get("RadiopharmaceuticalInformationSequence", [])), Dataset())
    detector = next(iter(first.get("DetectorInformationSequence", [])), Dataset())
    warnings: list[str] = []
    acquired = _datetime_of(first, "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")
    weight = number_or(first, "PatientWeight", 0.0)
    return {
        "acquisition_datetime": acquired,
        "injection_datetime": _injection_of(administration, acquired, warnings),
        "administered_activity_mbq": _activity_of(administration, warnings),
        "patient_weight_kg": weight if weight > 0 else None,
        "collimator_name": str(detector.get("CollimatorGridName") or first.get("CollimatorGridName") or "")
        .strip()
        .upper(),
        "collimator_type": str(detector.get("CollimatorType") or "").strip().upper(),
        "acquisition_duration_s": _duration_of(first),
        "frame_of_reference_uid": str(first.get("FrameOfReferenceUID") or "") or None,
        "instances": instances,
        "warnings": tuple(warnings),
    }


def _datetime_of(place: Dataset, both: str, date: str, time: str) -> datetime | None:
    text = str(place.get(both) or "") or f"{place.get(date) or ''}{place.get(time) or ''}"
    return parse_dicom_datetime(text)


def parse_dicom_datetime(text: str) -> datetime | None:
    """A DICOM DT, or a DA and TM put together, without its offset; None when incomplete.

    >>> parse_dicom_datetime("20240131093015.25+0900")
    datetime.datetime(2024, 1, 31, 9, 30, 15, 250000)
    >>> parse_dicom_datetime("20240131") is None
    True
    """
    match = re.match(r"^(\d{8})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?", text.strip())
    if match is None:
        return None
    date, hour, minute, second, fraction = match.groups()
    digits = f"{date}{hour}{minute or '00'}{second or '00'}"
    try:
        whole = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 - DICOM times are local
    except ValueError:
        return None
    return whole + timedelta(microseconds=int((fraction or "0").ljust(6, "0")))


def _injection_of(administration: Dataset, acquired: datetime | None, warnings: list[str]) -> datetime | None:
    stated = parse_dicom_datetime(str(administration.get("RadiopharmaceuticalStartDateTime") or ""))
    if stated is None and acquired is not None:
        time = str(administration.get("RadiopharmaceuticalStartTime") or "")
        stated = parse_dicom_datetime(f"{acquired:%Y%m%d}{time}")
        if stated is not None and stated > acquired:
            stated -= timedelta(days=1)
    if stated is not None and acquired is not None and stated > acquired:
        warnings.append("the injection is stated as later than the acquisition; its time is not used")
        return None
    return stated


def _activity_of(administration: Dataset, warnings: list[str]) -> float | None:
    dose = number_or(administration, "RadionuclideTotalDose", 0.0)
    if dose <= 0:
        return None
    if dose > MAX_PLAUSIBLE_DOSE_MBQ:
        warnings.append(f"RadionuclideTotalDose {dose:g} can only be in Bq and was read as such")
        return dose / 1e6
    return dose


def _duration_of(instance: Dataset) -> float | None:
    rotation = next(iter(instance.get("RotationInformationSequence", [])), None)
    if rotation is not None:
        per_view = number_or(rotation, "ActualFrameDuration", 0.0) / 1000.0
        views = number_or(rotation, "NumberOfFramesInRotation", 0.0)
        return per_view * views or None
    return number_or(instance, "ActualFrameDuration", 0.0) / 1000.0 or None
