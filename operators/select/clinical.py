"""Facts of one instance: time after injection, view, side, MR weighting, texts.

Each looks at the coded attribute first and falls back to text, because archives, Japanese
ones in particular, often hold only the latter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from operators.select.attributes import as_number, first_value, folded, numbers_at, values_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from operators.select.headers import InstanceHeader

OWN_TEXT = ("SeriesDescription", "ProtocolName")
"""Of the series itself."""

SERIES_TEXT = (*OWN_TEXT, "StudyDescription")
"""And what was ordered, which may be more than the series shows."""

STIR_INVERSION_MS = (120.0, 260.0)
"""Inversion times that null fat between 0.5 and 3 T."""

T1_LONGEST_REPETITION_MS, T1_LONGEST_ECHO_MS = 1000.0, 30.0

T2_SHORTEST_REPETITION_MS, T2_SHORTEST_ECHO_MS = 1500.0, 70.0

_VIEW_CODES = {
    "399348003": "AP",
    "399033003": "AP",  # frontal
    "272479007": "PA",
    "399067008": "LATERAL",
    "399352003": "LATERAL",  # lateral-medial
    "399260004": "LATERAL",  # medial-lateral
    "399173006": "LATERAL",  # left lateral
    "399198007": "LATERAL",  # right lateral
    "399061009": "LATERAL",  # axial: of a hip or shoulder the second view
}
"""SNOMED CT of CID 4010 (PS3.16)."""

_CROSSTABLE = "111069"
"""DCM, CID 4011: a horizontal beam past the lying patient, which shows a hip from the side."""

_VIEW_POSITIONS = {
    "AP": "AP",
    "PA": "PA",
    "LL": "LATERAL",
    "RL": "LATERAL",
    "LLD": "LATERAL",
    "RLD": "LATERAL",
    "LM": "LATERAL",
    "ML": "LATERAL",
    "LAT": "LATERAL",
    "LATERAL": "LATERAL",
    "AXIAL": "LATERAL",
}

PROJECTION_TEXT = (
    "AcquisitionDeviceProcessingDescription",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "StudyDescription",
)
"""Texts that name the view, the one that is nearest to the single image first."""

SIDE_TEXT = PROJECTION_TEXT[:3]
"""Texts that name the side. What was ordered names the side that hurts, and stands beside the picture
of the other one, too, so study and procedure step are not asked."""

_VIEW_TEXTS = (
    (
        "LATERAL",
        re.compile(
            r"側面|側方|側位|軸位|軸射|軸方向|ラウエン|フロッグ|クロステーブル|開排|杉岡"
            r"|(?<![a-z])(lat|(axio[\s-]*)?lateral|axial|axl|lauenstein|l(o|ö|oe)wenstein|frog([\s-]*legs?)?"
            r"|cross[\s-]*table|x[\s-]*table)(?![a-z])"
        ),
    ),
    ("AP", re.compile(r"(?<![術動療復])前後|(?<![a-z])a(\s*(-?>|→|⇒)\s*|[-/]?)p(?![a-z])")),
    ("PA", re.compile(r"後前|(?<![a-z])p(\s*(-?>|→|⇒)\s*|[-/]?)a(?![a-z])")),
)
"""Before and after an operation, a treatment or a movement (術前後) is no direction of the beam."""

_FRONTAL_TEXT = re.compile(r"正面")
"""AP, unless the text says PA."""

_SIDE_CODES = {"24028007": "R", "7771000": "L", "51440002": "B"}
"""SNOMED CT of CID 244 (PS3.16)."""

_SIDE_CODE_PATHS = (
    "AnatomicRegionSequence.AnatomicRegionModifierSequence.CodeValue",
    "PrimaryAnatomicStructureSequence.PrimaryAnatomicStructureModifierSequence.CodeValue",
)

_LATERALITIES = (
    "ImageLaterality",
    "FrameLaterality",
    "SharedFunctionalGroupsSequence.FrameAnatomySequence.FrameLaterality",
    "Laterality",
)

_SIDE_TITLES = {"R": "right", "L": "left"}

_BEAM_TEXT = re.compile(
    r"((?<![a-z])(rt?|lt?|right|left)|[右左])\s*(-+>|→|⇒)\s*((rt?|lt?|right|left)(?![a-z])|[右左])"
)
"""The direction of the beam through the patient, which names both sides and tells none."""

_BOTH_TEXT = re.compile(r"両|(?<![a-z])(both|bilat|bilateral|r[/+&]l|l[/+&]r)(?![a-z])")

_RIGHT_TEXT = re.compile(r"右|(?<![a-z])(rt|right)(?![a-z])|(?<![a-z0-9/])r(?![a-z0-9]|/o)")

_LEFT_TEXT = re.compile(
    r"左|(?<![a-z])(lt|left)(?![a-z])|(?<![a-z0-9/-])l(?![a-zö0-9]|\s?[-/]?\s?(sp|s(?![a-z])))"
)
"""Neither the L of a lumbar spine, nor (above) the R of a fracture to be ruled out, is a side."""

_WEIGHTING_TEXTS = (("STIR", "stir"), ("T2", "t2"), ("T1", "t1"))

_CONTRAST_TEXT = re.compile(r"造影|(?<![a-z])(ce|gd|gado[a-z]*)(?![a-z])|\+\s?(c|gd|ce)(?![a-z])|contrast")

_NO_CONTRAST_TEXT = re.compile(
    r"非造影|造影\s*(剤)?\s*(なし|無し?|前|\(-\)|[-‐−])"
    r"|(?<![a-z])(no|non|without|w/o|pre)[\s_-]*(iv[\s_-]*)?(contrast|gd|gado[a-z]*|ce)(?![a-z])"
)
"""Texts that name contrast to say that there is none."""

_NO_AGENT = frozenset({"none", "no", "n", "なし", "無し", "無", "-", "0"})
"""What consoles write into Contrast/Bolus Agent when none was given."""

_JAPANESE = re.compile(r"\x1b\$[@B]([!-~]+)")

_DATE_TIME = re.compile(r"^(\d{8})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?$")


def minutes_after_injection(header: InstanceHeader) -> float | None:
    """Minutes from the injection to the acquisition (PS3.3 C.8.4.10).

    With a time of injection but no date, an acquisition before that time of day is taken as
    one of the day after.
    """
    dataset = header.dataset
    acquired = _acquired(dataset)
    if acquired is None:
        return None
    item = "RadiopharmaceuticalInformationSequence."
    injected = _date_time(first_value(dataset, f"{item}RadiopharmaceuticalStartDateTime"))
    if injected is not None:
        return _minutes(injected, acquired)
    time = first_value(dataset, f"{item}RadiopharmaceuticalStartTime")
    injected = _date_time(f"{acquired:%Y%m%d}{_compact(time)}") if time is not None else None
    if injected is None:
        return None
    injected = injected.replace(tzinfo=acquired.tzinfo)
    if injected > acquired:
        injected -= timedelta(days=1)
    return _minutes(injected, acquired)


def is_localizer(header: InstanceHeader) -> int:
    """1 when one of the values of ImageType is LOCALIZER, else 0 (PS3.3 C.7.6.1.1.2)."""
    image_type = values_at(header.dataset, "ImageType")
    return int(any(folded(str(value)) == "localizer" for values in image_type for value in values))


def series_text(header: InstanceHeader) -> str | None:
    """Descriptions of series, protocol and study, folded, joined by a space."""
    return _series_text_of(header.dataset)


def projection_text(header: InstanceHeader) -> str | None:
    """All texts that name part and view of a radiograph, folded, joined by a space."""
    return _joined(header.dataset, PROJECTION_TEXT)


def mr_weighting(header: InstanceHeader) -> str | None:
    """``STIR``, ``T1`` or ``T2`` by the timing of the sequence, else by the series' text."""
    return mr_weighting_of(header.dataset)


def mr_weighting_of(dataset: Dataset) -> str | None:
    """As `mr_weighting`, of a data set.

    >>> from pydicom.dataset import Dataset; dataset = Dataset()
    >>> dataset.Modality, dataset.RepetitionTime, dataset.EchoTime = "MR", 500, 12
    >>> mr_weighting_of(dataset)
    'T1'
    """
    if first_value(dataset, "Modality") != "MR":
        return None
    by_timing = _weighting_by_timing(dataset)
    if by_timing is not None:
        return by_timing
    text = _series_text_of(dataset) or ""
    return next((name for name, part in _WEIGHTING_TEXTS if part in text), None)


def is_contrast_enhanced(header: InstanceHeader) -> int:
    """1 when a contrast agent is given, or named in the series' text, else 0."""
    return _is_enhanced(header.dataset, SERIES_TEXT)


def is_series_enhanced(header: InstanceHeader) -> int:
    """As `is_contrast_enhanced`, by what is said of the series itself, not of all that was ordered."""
    return _is_enhanced(header.dataset, OWN_TEXT)


def _is_enhanced(dataset: Dataset, keywords: tuple[str, ...]) -> int:
    agent = first_value(dataset, "ContrastBolusAgent")
    if agent is not None:
        return int(folded(str(agent)) not in _NO_AGENT)
    text = _joined(dataset, keywords) or ""
    return int(bool(_CONTRAST_TEXT.search(_NO_CONTRAST_TEXT.sub(" ", text))))


def view(header: InstanceHeader) -> str | None:
    """``AP``, ``PA`` or ``LATERAL``: view code, ViewPosition, PatientOrientation, then text."""
    return view_of(header.dataset)


def view_of(dataset: Dataset) -> str | None:
    """As `view`, of a data set; None also for a text that names two views, as of a whole study.

    >>> from pydicom.dataset import Dataset; dataset = Dataset()
    >>> dataset.SpecificCharacterSet, dataset.SeriesDescription = "ISO_IR 192", "右股関節 軸位"
    >>> view_of(dataset), side_told(dataset).side
    ('LATERAL', 'R')
    """
    for values in values_at(dataset, "ViewCodeSequence.CodeValue"):
        if str(values[0]) in _VIEW_CODES:
            return _VIEW_CODES[str(values[0])]
    if (_CROSSTABLE,) in values_at(dataset, "ViewCodeSequence.ViewModifierCodeSequence.CodeValue"):
        return "LATERAL"
    position = _VIEW_POSITIONS.get(str(first_value(dataset, "ViewPosition") or "").upper())
    if position is not None:
        return position
    if _rows_run_front_to_back(dataset):
        return "LATERAL"
    return next((named for _, text in _texts(dataset, PROJECTION_TEXT) if (named := _view_in(text))), None)


def side(header: InstanceHeader) -> str | None:
    """``R``, ``L`` or ``B`` (both): laterality of image or series, anatomy's modifier, then text.

    None also where they name opposite sides.
    """
    return side_told(header.dataset).side


@dataclass(frozen=True, kw_only=True)
class SideTold:
    """What a header tells of the side.

    Args:
        side: ``R``, ``L``, ``B`` (both), or None when nothing tells, or two attributes disagree.
        contradiction: Which two name opposite sides, a part of a sentence; empty when none do.
    """

    side: str | None
    contradiction: str = ""


def side_told(dataset: Dataset) -> SideTold:
    """The side of a data set: by its attributes, else by the text of the image or the series.

    A text that names the opposite side is not outvoted: Laterality is of the whole series, which
    may hold the other side for comparison, and either may be left over from the patient before.

    >>> from pydicom.dataset import Dataset; dataset = Dataset()
    >>> dataset.Laterality, dataset.SeriesDescription = "R", "Hip LAT L"
    >>> side_told(dataset)
    SideTold(side=None, contradiction='Laterality says right, SeriesDescription says left')
    """
    attribute, stated = _side_by_attribute(dataset)
    keyword, named = _side_by_text(dataset)
    if {stated, named} == {"R", "L"}:
        told = f"{attribute} says {_SIDE_TITLES[stated]}, {keyword} says {_SIDE_TITLES[named]}"
        return SideTold(side=None, contradiction=told)
    return SideTold(side=stated or named or None)


def body_part(header: InstanceHeader) -> str | None:
    """BodyPartExamined, else the meaning of AnatomicRegionSequence, upper case."""
    for path in ("BodyPartExamined", "AnatomicRegionSequence.CodeMeaning"):
        value = first_value(header.dataset, path)
        if value is not None:
            return str(value).upper()
    return None


def _series_text_of(dataset: Dataset) -> str | None:
    return _joined(dataset, SERIES_TEXT)


def _weighting_by_timing(dataset: Dataset) -> str | None:
    inversion = as_number(first_value(dataset, "InversionTime"))
    sequence = {str(value) for values in values_at(dataset, "ScanningSequence") for value in values}
    if "IR" in sequence and inversion and STIR_INVERSION_MS[0] <= inversion <= STIR_INVERSION_MS[1]:
        return "STIR"
    repetition, echo = numbers_at(dataset, "RepetitionTime"), numbers_at(dataset, "EchoTime")
    if not repetition or not echo:
        return None
    if repetition[0] < T1_LONGEST_REPETITION_MS and echo[0] < T1_LONGEST_ECHO_MS:
        return "T1"
    if repetition[0] > T2_SHORTEST_REPETITION_MS and echo[0] > T2_SHORTEST_ECHO_MS and not inversion:
        return "T2"
    return None


def _joined(dataset: Dataset, keywords: Sequence[str]) -> str | None:
    """These texts, folded, joined by a space; None without any."""
    return " ".join(text for _, text in _texts(dataset, keywords)) or None


def _texts(dataset: Dataset, keywords: Sequence[str]) -> list[tuple[str, str]]:
    """Those of these attributes that there are, with their texts, folded, in this order."""
    values = ((keyword, first_value(dataset, keyword)) for keyword in keywords)
    return [(keyword, folded(_unescaped(str(value)))) for keyword, value in values if value is not None]


def _unescaped(text: str) -> str:
    """The text, Japanese also where the file does not declare its character set.

    The escape sequence into JIS X 0208 (PS3.5 6.1.2.5) tells what follows; pydicom leaves it
    in the text, and takes the one that leads back to ASCII away. Letters right behind a
    Japanese character are lost then, those behind a space are not.
    """
    return _JAPANESE.sub(_japanese, text)


def _japanese(escaped: re.Match[str]) -> str:
    pairs = escaped[1].encode("ascii")
    jis = b"\x1b$B" + pairs[: len(pairs) // 2 * 2] + b"\x1b(B"
    return jis.decode("iso2022_jp", errors="replace")


def _view_in(text: str) -> str | None:
    """The one view that a text names; None when it names none or several."""
    named = {name for name, pattern in _VIEW_TEXTS if pattern.search(text)}
    if _FRONTAL_TEXT.search(text) and not named & {"AP", "PA"}:
        named.add("AP")
    return named.pop() if len(named) == 1 else None


def _side_by_attribute(dataset: Dataset) -> tuple[str, str]:
    """The attribute that tells the side, and the side; both empty when none does."""
    for path in _LATERALITIES:
        value = str(first_value(dataset, path) or "").upper()
        if value in {"R", "L", "B"}:
            return path.rpartition(".")[2], value
    for path in _SIDE_CODE_PATHS:
        for values in values_at(dataset, path):
            if str(values[0]) in _SIDE_CODES:
                return path.partition(".")[0], _SIDE_CODES[str(values[0])]
    return "", ""


def _side_by_text(dataset: Dataset) -> tuple[str, str]:
    """The text that names a side, and the side; both empty when none does."""
    texts = ((keyword, _side_in(text)) for keyword, text in _texts(dataset, SIDE_TEXT))
    return next(((keyword, side) for keyword, side in texts if side), ("", ""))


def _side_in(text: str) -> str:
    """The side that a text names; empty when it names none."""
    text = _BEAM_TEXT.sub(" ", text)
    is_right, is_left = bool(_RIGHT_TEXT.search(text)), bool(_LEFT_TEXT.search(text))
    if _BOTH_TEXT.search(text) or (is_right and is_left):
        return "B"
    return "R" if is_right else "L" if is_left else ""


def _rows_run_front_to_back(dataset: Dataset) -> bool:
    """True when PatientOrientation (PS3.3 C.7.6.1.1.1) has front or back at an edge of the image.

    Left and right at the edges do not make it a frontal view: in Lauenstein's lateral view
    the leg is turned, not the patient.
    """
    directions = [str(value)[:1] for values in values_at(dataset, "PatientOrientation") for value in values]
    return any(one in {"A", "P"} for one in directions)


def _acquired(dataset: Dataset) -> datetime | None:
    whole = _date_time(first_value(dataset, "AcquisitionDateTime"))
    if whole is not None:
        return whole
    date, time = first_value(dataset, "AcquisitionDate"), first_value(dataset, "AcquisitionTime")
    if date is None:
        date = first_value(dataset, "SeriesDate") or first_value(dataset, "StudyDate")
    if date is None or time is None:
        return None
    return _date_time(f"{_compact(date).replace('.', '')}{_compact(time)}")


def _compact(value: object) -> str:
    """A date or time without the separators of ACR-NEMA."""
    return str(value).replace(":", "").replace("-", "").strip()


def _date_time(value: object) -> datetime | None:
    """A DT value (PS3.5 6.2) with at least an hour, or None."""
    matched = _DATE_TIME.match(str(value or "").strip())
    if matched is None:
        return None
    date, hour, minute, second, fraction, zone = matched.groups()
    text = f"{date}{hour}{minute or '00'}{second or '00'}.{(fraction or '0').ljust(6, '0')}{zone or '+0000'}"
    try:
        parsed = datetime.strptime(text, "%Y%m%d%H%M%S.%f%z")
    except ValueError:
        return None
    return parsed if zone else parsed.replace(tzinfo=None)


def _minutes(start: datetime, end: datetime) -> float:
    """Minutes between the two; an offset that only one of them has is left aside."""
    if (start.tzinfo is None) != (end.tzinfo is None):
        start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
    return (end - start).total_seconds() / 60.0
