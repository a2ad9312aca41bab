"""Age and sex of a patient, as the header has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

DAYS_PER_YEAR = 365.25
UNITS_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": DAYS_PER_YEAR}


YOUNGEST_YEARS, OLDEST_YEARS = 18.0, 100.0
"""Ages outside are no patient's of this examination: 000Y and 120Y are what is left of one removed."""
MOST_APART_YEARS = 2.0
"""Between Patient's Age and the date of birth; more is a contradiction."""


@dataclass(frozen=True, kw_only=True)
class Age:
    """An age, or why there is none.

    Args:
        years: At the study, or None.
        why_missing: A sentence without a full stop; "" with an age.
        warning: What contradicts it, or "".
    """

    years: float | None
    why_missing: str = ""
    warning: str = ""


def age_of(header: Dataset) -> Age:
    """Age at the study: Patient's Age (0010,1010), else from the date of birth.

    >>> header = Dataset(); header.PatientBirthDate, header.StudyDate = "19500701", "20240701"
    >>> age_of(header).years
    74.0
    >>> header.PatientAge = "071Y"
    >>> age_of(header).years, "contradicts" in age_of(header).warning
    (71.0, True)
    >>> header.PatientAge = "000Y"
    >>> age_of(header)
    Age(years=None, why_missing='the age of 0 years in the images is none of an adult', warning='')
    """
    stated, born = _stated_years(header), _years_since_birth(header)
    years = born if stated is None else stated
    if years is None:
        return Age(years=None, why_missing="the patient's age is not in the images")
    if not YOUNGEST_YEARS <= years <= OLDEST_YEARS:
        return Age(years=None, why_missing=f"the age of {years:.0f} years in the images is none of an adult")
    warning = ""
    if stated is not None and born is not None and abs(stated - born) > MOST_APART_YEARS:
        warning = (
            f"Patient's Age ({stated:.0f} years) contradicts the date of birth ({born:.0f} years); the "
            "former was used"
        )
    return Age(years=years, warning=warning)


def _stated_years(header: Dataset) -> float | None:
    stated = re.fullmatch(r"(\d{1,3})([YMWD])", str(header.get("PatientAge") or "").strip())
    return None if stated is None else int(stated.group(1)) / UNITS_PER_YEAR[stated.group(2)]


def _years_since_birth(header: Dataset) -> float | None:
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
