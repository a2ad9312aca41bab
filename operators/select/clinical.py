"""Facts of one instance: time after injection, view, side, MR weighting, texts.

Each looks at the coded attribute first and falls back to text, because archives, Japanese
ones in particular, often hold only the latter.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from operators.select.attributes import as_number, first_value, folded, numbers_at, values_at

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from operators.select.headers import InstanceHeader

SERIES_TEXT = ("SeriesDescription", "ProtocolName", "StudyDescription")

STIR_INVERSION_MS = (120.0, 260.0)
"""Inversion times that null fat between 0.5 and 3 T."""

T1_LONGEST_REPETITION_MS, T1_LONGEST_ECHO_MS = 1000.0, 30.0

T2_SHORTEST_REPETITION_MS, T2_SHORTEST_ECHO_MS = 1500.0, 70.0

_VIEW_CODES = {
    "399348003": "AP",
    "272479007": "PA",
    "399067008": "LATERAL",
    "399352003": "LATERAL",
    "399173006": "LATERAL",
}
"""SNOMED CT of CID 4010 (PS3.16)."""

_VIEW_POSITIONS = {
    "AP": "AP",
    "PA": "PA",
    "LL": "LATERAL",
    "RL": "LATERAL",
    "LLD": "LATERAL",
    "RLD": "LATERAL",
    "LATERAL": "LATERAL",
}

_VIEW_TEXTS = (
    ("LATERAL", re.compile(r"側面|軸位|ラウエン|\b(lat|lateral|axial|lauenstein)\b")),
    ("AP", re.compile(r"正面|\ba-?p\b")),
    ("PA", re.compile(r"\bp-?a\b")),
)

_SIDE_TEXTS = (
    ("B", re.compile(r"両|\b(both|bilateral)\b")),
    ("R", re.compile(r"右|\b(r|rt|right)\b")),
    ("L", re.compile(r"左|\b(l|lt|left)\b")),
)

_WEIGHTING_TEXTS = (("STIR", "stir"), ("T2", "t2"), ("T1", "t1"))

_CONTRAST_TEXT = re.compile(r"造影|\b(ce|gd)\b|\+c\b|contrast")

_NO_CONTRAST_TEXT = re.compile(
    r"非造影|造影\s*(剤)?\s*(なし|無し?|\(-\)|[-‐−])|\b(no|non|without|w/o)[\s_-]*(iv[\s_-]*)?contrast"
)
"""Texts that name contrast to say that there is none."""

_NO_AGENT = frozenset({"none", "no", "n", "なし", "無し", "無", "-", "0"})
"""What consoles write into Contrast/Bolus Agent when none was given."""

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
    texts = (first_value(header.dataset, keyword) for keyword in SERIES_TEXT)
    return " ".join(folded(str(text)) for text in texts if text is not None) or None


def mr_weighting(header: InstanceHeader) -> str | None:
    """``STIR``, ``T1`` or ``T2`` by the timing of the sequence, else by the series' text."""
    if first_value(header.dataset, "Modality") != "MR":
        return None
    by_timing = _weighting_by_timing(header.dataset)
    if by_timing is not None:
        return by_timing
    text = series_text(header) or ""
    return next((name for name, part in _WEIGHTING_TEXTS if part in text), None)


def is_contrast_enhanced(header: InstanceHeader) -> int:
    """1 when a contrast agent is given, or named in the series' text, else 0."""
    agent = first_value(header.dataset, "ContrastBolusAgent")
    if agent is not None:
        return int(folded(str(agent)) not in _NO_AGENT)
    return int(bool(_CONTRAST_TEXT.search(_NO_CONTRAST_TEXT.sub(" ", series_text(header) or ""))))


def view(header: InstanceHeader) -> str | None:
    """``AP``, ``PA`` or ``LATERAL``: ViewCodeSequence, then ViewPosition, then text."""
    for values in values_at(header.dataset, "ViewCodeSequence.CodeValue"):
        if values[0] in _VIEW_CODES:
            return _VIEW_CODES[str(values[0])]
    position = str(first_value(header.dataset, "ViewPosition") or "").upper()
    return _VIEW_POSITIONS.get(position) or _named(_VIEW_TEXTS, series_text(header))


def side(header: InstanceHeader) -> str | None:
    """``R``, ``L`` or ``B`` (both): the laterality of image or series, then text."""
    for keyword in ("ImageLaterality", "Laterality"):
        value = str(first_value(header.dataset, keyword) or "").upper()
        if value in {"R", "L", "B"}:
            return value
    return _named(_SIDE_TEXTS, series_text(header))


def body_part(header: InstanceHeader) -> str | None:
    """BodyPartExamined, else the meaning of AnatomicRegionSequence, upper case."""
    for path in ("BodyPartExamined", "AnatomicRegionSequence.CodeMeaning"):
        value = first_value(header.dataset, path)
        if value is not None:
            return str(value).upper()
    return None


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


def _named(patterns: tuple[tuple[str, re.Pattern[str]], ...], text: str | None) -> str | None:
    return next((name for name, pattern in patterns if pattern.search(text or "")), None)


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
