"""How a patient lay in the gantry, against where the header says that the image's axes point.

Image Orientation (0020,0037) is the only attribute that tells right from left, and some
consoles write that of a patient who lay supine, head first, whoever lay there how. What they say
elsewhere about the position can contradict it. Codes are those of PS3.16 CID 20 (modifier of
the orientation) and CID 21 (relationship to the gantry), and their retired SRT values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from operators.read.attributes import vector_of

PRONE = frozenset({"1240000", "F-10310"})
SUPINE = frozenset({"40199007", "F-10340"})
HEAD_FIRST = frozenset({"102540008", "F-10470"})
FEET_FIRST = frozenset({"102541007", "F-10480"})
GANTRY = "PatientGantryRelationshipCodeSequence"
ORIENTATION = "PatientOrientationCodeSequence.PatientOrientationModifierCodeSequence"
AS_SUPINE_HEAD_FIRST = 0.7
"""Cosine of rows with the patient's left and of columns with the back, from which on they run so."""


def position_contradiction(instance: Dataset) -> tuple[str, str] | None:
    """What is wrong with the stated position, and the attribute that says so; None when nothing is.

    Wrong are two statements about the position that exclude each other, and a patient who lay prone
    or feet first in an image whose axes are those of one who lay supine, head first: then right and
    left may be exchanged. Nothing is wrong where nothing is stated.

    Raises:
        Refused: Image Orientation is missing or not six numbers.
    """
    modifier = set(_modifiers(instance))
    gantry = set(_values(instance, GANTRY))
    short = str(instance.get("PatientPosition") or "").strip().upper()
    is_prone, is_feet_first = bool(modifier & PRONE), bool(gantry & FEET_FIRST)
    if is_prone and modifier & SUPINE:
        return "the patient is said to have lain both prone and supine", ORIENTATION
    if is_feet_first and gantry & HEAD_FIRST:
        return "the patient is said to have lain both feet first and head first", GANTRY
    if short in ("HFS", "HFP", "FFS", "FFP"):
        for said, other, text in (
            (short[2] == "P", modifier & SUPINE, "prone"),
            (short[2] == "S", modifier & PRONE, "supine"),
            (short[0] == "F", gantry & HEAD_FIRST, "feet first"),
            (short[0] == "H", gantry & FEET_FIRST, "head first"),
        ):
            if said and other:
                return f"Patient Position {short} says {text}, the codes say the opposite", "PatientPosition"
        is_prone, is_feet_first = is_prone or short[2] == "P", is_feet_first or short[0] == "F"
    if not (is_prone or is_feet_first):
        return None
    values = vector_of(instance, "ImageOrientationPatient", 6)
    row, column = np.asarray(values[:3]), np.asarray(values[3:])
    if row[0] < AS_SUPINE_HEAD_FIRST or column[1] < AS_SUPINE_HEAD_FIRST:
        return None
    how = " and ".join(text for text, said in (("prone", is_prone), ("feet first", is_feet_first)) if said)
    return (
        f"the patient lay {how}, but the image's axes are those of one who lay supine, head first: "
        "right and left may be exchanged",
        GANTRY if is_feet_first else ORIENTATION,
    )


def _values(place: Dataset, keyword: str) -> Iterator[str]:
    for item in place.get(keyword) or []:
        if item.get("CodeValue"):
            yield str(item.CodeValue).strip()


def _modifiers(instance: Dataset) -> Iterator[str]:
    """Of the orientation; some write the modifier beside it."""
    yield from _values(instance, "PatientOrientationModifierCodeSequence")
    for item in instance.get("PatientOrientationCodeSequence") or []:
        yield from _values(item, "PatientOrientationModifierCodeSequence")
