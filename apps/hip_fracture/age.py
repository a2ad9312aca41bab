"""Whose hips are read: adults, and without a warning only those of the ages that the phantoms have."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from operators.read.patient_age import check_adult

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
    return check_adult(headers, part="hips", learned_years=LEARNED_YEARS)
