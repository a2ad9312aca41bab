"""Age of the patient when an image was made, as its header tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime

from pydicom.dataset import Dataset

from operators.errors import Refused

ADULT_YEARS = 18.0
"""Below, open growth plates look like fractures."""
_AGE = re.compile(r"^(\d{1,3})([DWMY])$")
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_DATES = ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")


def age_years_of(header: Dataset) -> float | None:
    """Age in years by the dates of birth and image, else by PatientAge; None when neither tells.

    >>> from pydicom.dataset import Dataset
    >>> header = Dataset(); header.PatientAge = "018M"
    >>> age_years_of(header)
    1.5
    >>> header.PatientBirthDate, header.StudyDate = "19500101", "20240101"
    >>> round(age_years_of(header))
    74
    """
    born = _date(header.get("PatientBirthDate"))
    made = next((day for keyword in _DATES if (day := _date(header.get(keyword))) is not None), None)
    if born is not None and made is not None and made >= born:
        return (made - born).days / _DAYS["Y"]
    told = _AGE.match(str(header.get("PatientAge") or "").strip().upper())
    return None if told is None else int(told[1]) * _DAYS[told[2]] / _DAYS["Y"]


def check_adult(headers: Sequence[Dataset], *, part: str, learned_years: float) -> list[str]:
    """Sentences about the patient's age that a reader must see, for apps that know adults only.

    Args:
        headers: Of the images that are analysed.
        part: What is read, in the plural, such as "hips".
        learned_years: Younger patients are not among those learned from.

    Raises:
        Refused: The patient is a child.

    >>> header = Dataset(); header.PatientAge = "033Y"
    >>> check_adult([header], part="hips", learned_years=40)
    ['the patient is 33 years old; hips of patients below 40 were not learned from']
    """
    ages = [age for header in headers if (age := age_years_of(header)) is not None]
    if not ages:
        return [f"neither PatientBirthDate nor PatientAge tells the age; only {part} of adults can be read"]
    youngest = min(ages)
    if youngest < ADULT_YEARS:
        raise Refused(
            f"the patient is {int(youngest)} years old by PatientBirthDate or PatientAge: {part} of "
            "children, whose growth plates are open, are not read; "
            f"at least {ADULT_YEARS:.0f} years are needed",
            attribute="PatientAge",
        )
    if youngest < learned_years:
        return [
            f"the patient is {int(youngest)} years old; {part} of patients below {learned_years:.0f} were "
            "not learned from"
        ]
    return []


def _date(value: object) -> date | None:
    """A DA value, also with the dots of ACR-NEMA; None when there is none or it is no date."""
    text = str(value or "").replace(".", "").strip()
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007, a date has no zone
    except ValueError:
        return None
