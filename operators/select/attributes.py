"""Attribute paths of a data set: how a rule names a value, reads it and shows it.

A path is DICOM keywords joined by dots, all but the last of them sequences. Reading is
tolerant: a value that cannot be decoded counts as absent, the rules then say which one.
"""

from __future__ import annotations

import difflib
import struct
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr._snomed_dict import mapping as snomed_mapping
from pydicom.tag import BaseTag

Value = str | int | float | bool

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    struct.error,
    BytesLengthException,
)
"""What pydicom raises when it meets a value that is not what its VR says."""

UNDECODABLE = (*UNREADABLE, NotImplementedError, RecursionError)

LONGEST_TEXT = 1024
"""Characters of a value that rules look at; no text attribute used in rules is longer."""

LONGEST_SHOWN = 64
"""Characters of a value that a sentence repeats."""

SHOWN_VRS = frozenset({"CS", "DS", "IS", "FD", "FL", "US", "UL", "SS", "SL", "SV", "UV"})
"""Coded and numeric values may be repeated in a sentence, free text may not."""

SHOWN_KEYWORDS = frozenset(
    {
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "CollimatorGridName",
        "ContrastBolusAgent",
        "ConvolutionKernel",
        "Manufacturer",
        "ManufacturerModelName",
        "Radiopharmaceutical",
        "SOPClassUID",
        "TransferSyntaxUID",
    }
)
"""Attributes of other VRs that say nothing of a person."""

PATIENT_GROUP = 0x0010

_LEGACY_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})


def check_path(path: str, *, may_end_in_sequence: bool = False) -> None:
    """Returns when the path can be read, so that a misspelt keyword fails at start-up.

    Raises:
        ValueError: A keyword is not in PS3.6, or is a sequence where a value is needed.

    >>> check_path("RadiopharmaceuticalInformationSequence.RadiopharmaceuticalStartTime")
    >>> check_path("Modallity")
    Traceback (most recent call last):
    ValueError: 'Modallity' is not a DICOM keyword; perhaps 'Modality'
    """
    keywords = path.split(".")
    for position, keyword in enumerate(keywords):
        tag = tag_for_keyword(keyword)
        if tag is None:
            near = difflib.get_close_matches(keyword, keyword_dict, n=1)
            hint = f"; perhaps {near[0]!r}" if near else ""
            raise ValueError(f"{keyword!r} is not a DICOM keyword{hint}")
        is_sequence = dictionary_VR(tag) == "SQ"
        is_last = position == len(keywords) - 1
        if not is_last and not is_sequence:
            raise ValueError(f"{keyword!r} is not a sequence, nothing can follow it in {path!r}")
        if is_last and is_sequence and not may_end_in_sequence:
            raise ValueError(f"{path!r} ends in a sequence; only 'present' can be asked of one")


def is_shown(keyword: str) -> bool:
    """True when a value of this attribute may stand in a log or a reason.

    >>> is_shown("Modality"), is_shown("PatientID"), is_shown("StudyDescription")
    (True, False, False)
    """
    if keyword in SHOWN_KEYWORDS:
        return True
    tag = tag_for_keyword(keyword)
    if tag is None or BaseTag(tag).group == PATIENT_GROUP:
        return False
    return dictionary_VR(tag) in SHOWN_VRS or dictionary_VR(tag).split(" or ")[0] in SHOWN_VRS


def folded(text: str) -> str:
    """The text as rules compare it: NFKC, no case, no padding.

    >>> folded(" ＭＩＢＧ ")
    'mibg'
    """
    return unicodedata.normalize("NFKC", text).casefold().strip(" \0")


def values_at(dataset: Dataset, path: str) -> list[tuple[Value, ...]]:
    """Values of every element that the path reaches; a value of a multi-valued one per place.

    Empty and unreadable elements are left out. A ``CodeValue`` of the retired SNOMED RT is
    followed by its SNOMED CT counterpart (PS3.16 annex O lists the pairs).

    >>> ds = Dataset(); ds.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO"]
    >>> values_at(ds, "ImageType")
    [('ORIGINAL', 'PRIMARY', 'RECON TOMO')]
    """
    *sequences, last = path.split(".")
    found: list[tuple[Value, ...]] = []
    for item in _items(dataset, sequences):
        values = plain_values(_element_value(item, last))
        if any(value != "" for value in values):
            found.append(values)
        if last == "CodeValue":
            found.extend(_as_snomed_ct(item, values))
    return found


def first_value(dataset: Dataset, path: str) -> Value | None:
    """The first value at the path, or None.

    >>> ds = Dataset(); ds.Rows = 64
    >>> first_value(ds, "Rows"), first_value(ds, "Columns")
    (64, None)
    """
    found = values_at(dataset, path)
    return found[0][0] if found else None


def numbers_at(dataset: Dataset, path: str) -> tuple[float, ...]:
    """The numbers of the first element at the path; empty when absent or not all finite numbers.

    >>> ds = Dataset(); ds.PixelSpacing = [4.8, 4.8]
    >>> numbers_at(ds, "PixelSpacing")
    (4.8, 4.8)
    """
    found = values_at(dataset, path)
    if not found:
        return ()
    numbers = [as_number(value) for value in found[0]]
    return tuple(n for n in numbers if n is not None) if None not in numbers else ()


def as_number(value: Value | None) -> float | None:
    """The value as a finite float, or None.

    >>> as_number("12.5"), as_number("a"), as_number(float("nan"))
    (12.5, None, None)
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number - number == 0 else None


def sequence_length(dataset: Dataset, path: str) -> int:
    """Number of items of the sequences at the path."""
    *sequences, last = path.split(".")
    return sum(1 for item in _items(dataset, sequences) for _ in _items(item, [last]))


def plain_values(value: object) -> tuple[Value, ...]:
    """A pydicom value as a tuple of str, int, float; empty for no value.

    >>> plain_values(["4.8", "", 3])
    ('4.8', '', 3)
    """
    if value is None or isinstance(value, Dataset | DicomSequence):
        return ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(plain for one in value for plain in plain_values(one) or ("",))
    plain = _plain(value)
    return () if plain == "" else (plain,)


def _plain(value: object) -> Value:
    if isinstance(value, bytes):
        value = value[:LONGEST_TEXT].decode("latin-1")
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float | Decimal):
        return float(value)
    return str(value)[:LONGEST_TEXT].strip(" \0")


def _element_value(item: Dataset, keyword: str) -> object:
    try:
        return item.get(keyword)
    except UNDECODABLE:
        return None


def _items(dataset: Dataset, sequences: list[str]) -> Iterator[Dataset]:
    """Every item reached by following the sequences."""
    if not sequences:
        yield dataset
        return
    value = _element_value(dataset, sequences[0])
    if isinstance(value, DicomSequence):
        for item in value:
            yield from _items(item, sequences[1:])


def _as_snomed_ct(item: Dataset, values: tuple[Value, ...]) -> Iterator[tuple[Value, ...]]:
    scheme = plain_values(_element_value(item, "CodingSchemeDesignator"))
    if scheme and scheme[0] in _LEGACY_SNOMED and values:
        code = snomed_mapping["SRT"].get(str(values[0]))
        if code:
            yield (code,)
