"""Whose hips are read: adults, and without a warning only those of the ages that the phantoms have."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from operators.errors import Refused
from operators.read.patient_age import age_years_of

ADULT_YEARS = 18.0
"""Below, open growth plates look like fractures; none were learned."""
LEARNED_YEARS = 40.0
"""Younger patients are not among those learned from."""


def check_age(headers: Sequence[Dataset]) -> list[str]:
    """Sentences about the patient's age that a reader must see.

    Raises:
        Refused: The patient is a child.

    >>> header = Dataset(); header.PatientAge = "033Y"
    >>> check_age([header])
    ['the patient is 33 years old; hips of patients below 40 were not learned from']
    """
    ages = [age for header in headers if (age := age_years_of(header)) is not None]
    if not ages:
        return ["neither PatientBirthDate nor PatientAge tells the age; only hips of adults can be read"]
    youngest = min(ages)
    if youngest < ADULT_YEARS:
        raise Refused(
            f"the patient is {int(youngest)} years old by PatientBirthDate or PatientAge: hips of children, "
            f"whose growth plates are open, are not read; at least {ADULT_YEARS:.0f} years are needed",
            attribute="PatientAge",
        )
    if youngest < LEARNED_YEARS:
        return [
            f"the patient is {int(youngest)} years old; hips of patients below {LEARNED_YEARS:.0f} were not "
            "learned from"
        ]
    return []
