"""Which part of the spine a series shows, by its body part and by what it is called.

A study's description names all that was ordered, so it is asked last, and only where it names one
part. The cervical spine wins over the others: whoever analyses it as lumbar is wrong each time.

==================  ============================================================================
``cervical``        the neck alone
``thoracolumbar``   thoracic, lumbar or sacral spine
``whole``           the whole spine
``unclear``         a part of the spine; the order names both the neck and another one
``spine``           a part of the spine that nothing names
``other``           another part of the body
==================  ============================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from operators.select.attributes import first_value, folded
from operators.select.clinical import OWN_TEXT

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from operators.select.headers import InstanceHeader

_WHOLE = re.compile(r"whole|total|full|全脊|全椎|ctl[\s_/-]*sp")
_CERVICAL = re.compile(r"(?<![a-z])c[\s_/-]*sp(?!ir)|cervi|[頸頚](椎|髄|部)|(?<![a-z])neck")
_LOWER = re.compile(
    r"(?<![a-z])(t|l|s|tl|ls|ct)[\s_/-]*sp(?!ir|air)|(?<![a-z])t[/-]l(?![a-z])|thora|dorsal|lumb|sacr"
    r"|胸椎|胸腰|腰椎|腰仙|腰部|仙椎|仙骨|胸髄|腰髄"
)
_SPINE = re.compile(r"(?<![a-z])spin(e|al)|vertebra|脊|椎")
_OTHER = re.compile(
    r"extremit|head|brain|skull|orbit|pituit|sinus|shoulder|elbow|wrist|(?<![a-z])(hands?|arms?|hips?|legs?|limbs?|foot|feet)"
    r"(?![a-z])|pelvi|knee|ankle|thigh|femur|breast|heart|cardi|(?<!thoraco)abdom|liver|kidney|prostat|uter"
    r"|頭|脳|眼|下垂体|副鼻腔|肩|肘|手|股|骨盤|膝|足|大腿|乳|心臓|腹|肝|腎|子宮|前立腺"
)


def spine_region(header: InstanceHeader) -> str | None:
    """Which part of the spine it is; None where nothing tells which part of the body it is."""
    return spine_region_of(header.dataset)


def spine_region_of(dataset: Dataset) -> str | None:
    """As `spine_region`, of a data set.

    >>> from pydicom.dataset import Dataset; dataset = Dataset()
    >>> dataset.BodyPartExamined, dataset.SeriesDescription = "SPINE", "t1_tse_sag_c_spine"
    >>> spine_region_of(dataset)
    'cervical'
    >>> dataset.SeriesDescription, dataset.StudyDescription = "T1 SAG", "C-spine and L-spine"
    >>> spine_region_of(dataset)
    'unclear'
    """
    part = _folded(first_value(dataset, "BodyPartExamined")) or _folded(
        first_value(dataset, "AnatomicRegionSequence.CodeMeaning")
    )
    own = _folded(*(first_value(dataset, keyword) for keyword in OWN_TEXT))
    ordered = _folded(first_value(dataset, "StudyDescription"))
    said = _named(own), _named(part)
    for region in ("whole", "cervical"):
        if region in said:
            return region
    if _named(part) == "other":
        return "other"
    if "thoracolumbar" in said:
        return "thoracolumbar"
    if "spine" in said or _named(own) is None:
        return _of_the_order(ordered, is_spine="spine" in said)
    return "other"


def _of_the_order(ordered: str, *, is_spine: bool) -> str | None:
    """The region of a series that tells at most that it is a spine."""
    if _CERVICAL.search(ordered) and _LOWER.search(ordered):
        return "unclear"
    named = _named(ordered)
    if named in {"cervical", "thoracolumbar", "whole"}:
        return named
    return "spine" if is_spine else named


def _named(text: str) -> str | None:
    """The region that a text names; None where it names no part of the body."""
    if _WHOLE.search(text) and (_SPINE.search(text) or _LOWER.search(text)):
        return "whole"
    is_lower = bool(_LOWER.search(text))
    if _CERVICAL.search(text) and not is_lower:
        return "cervical"
    if is_lower:
        return "thoracolumbar"
    if _SPINE.search(text):
        return "spine"
    return "other" if _OTHER.search(text) else None


def _folded(*values: object) -> str:
    return " ".join(folded(str(value)) for value in values if value is not None)
