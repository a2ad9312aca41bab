"""Vocabulary of spine_metastasis: sequences, kinds of fracture, levels.

Planes are indexed ``(slice, row, column)`` after `stack.turned`: slices from the patient's right to
the left, rows from head to feet, columns from front to back.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Weighting(StrEnum):
    """A sequence; the value is the input's name in app.toml."""

    T1 = "t1"
    STIR = "stir"

    @property
    def spoken(self) -> str:
        """As a person writes it.

        >>> Weighting.STIR.spoken
        'STIR'
        """
        return self.value.upper()


class FractureClass(IntEnum):
    """What the classifiers tell apart; the value is the class number."""

    NOT_FRACTURED = 0
    """Intact, or broken long ago and healed."""
    OSTEOPOROTIC = 1
    MALIGNANT = 2


CLASS_OF_TRUTH = {
    "none": FractureClass.NOT_FRACTURED,
    "old": FractureClass.NOT_FRACTURED,
    "osteoporotic": FractureClass.OSTEOPOROTIC,
    "malignant": FractureClass.MALIGNANT,
}
"""``class`` of a vertebra in truth.json."""

LEVELS = (
    *(f"T{number}" for number in range(1, 13)),
    *(f"L{number}" for number in range(1, 6)),
)
"""Those that the app may name, cranial to caudal."""
UNLABELLED = "unlabelled level"
