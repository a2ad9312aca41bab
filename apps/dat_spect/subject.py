"""Age and sex of a patient, as the header has them."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

DAYS_PER_YEAR = 365.25
UNITS_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": DAYS_PER_YEAR}


def age_years_of(header: Dataset) -> float | None:
    """Years at the study: Patient's Age (0010,1010), else from the date of birth; None when unknown.

    >>> header = Dataset(); header.PatientBirthDate, header.StudyDate = "19500701", "20240701"
    >>> age_years_of(header)
    74.0
    >>> header.PatientAge = "071Y"
    >>> age_years_of(header)
    71.0
    """
    stated = re.fullmatch(r"(\d{1,3})([YMWD])", str(header.get("PatientAge") or "").strip())
    if stated is not None:
        return int(stated.group(1)) / UNITS_PER_YEAR[stated.group(2)]
    born = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", str(header.get("PatientBirthDate") or "").strip())
    for keyword in ("AcquisitionDate", "StudyDate", "SeriesDate"):
        seen = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", str(header.get(keyword) or "").strip())
        if born is not None and seen is not None:
            had_birthday = seen.groups()[1:] >= born.groups()[1:]
            years = int(seen.group(1)) - int(born.group(1)) - (not had_birthday)
            return float(years) if years >= 0 else None
    return None


def sex_of(header: Dataset) -> str:
    """``F``, ``M``, or "" for another or unknown."""
    sex = str(header.get("PatientSex") or "").strip().upper()
    return sex if sex in ("F", "M") else ""
