"""What a person says of a video, as the text of options or of a form's fields, as types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from dicom_node.errors import Refused
from dicom_node.receive.video.dataset import Subject, View, Walk

NAMES: Final = (
    "patient_id", "patient_name", "birth_date", "sex", "accession_number", "study_uid", "view", "task",
    "aid", "distance_m", "recorded_at", "keep_sound", "blur_faces",
)  # fmt: skip
"""Of the fields; the options are the same with dashes."""

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})


def subject_of(said: Mapping[str, str]) -> Subject:
    """The patient and the study, unchecked.

    Example:
        >>> subject_of({"patient_id": "4711", "birth_date": "1960-02-01", "sex": "f"}).birth_date
        '19600201'
    """
    return Subject(
        patient_id=said.get("patient_id", ""),
        patient_name=said.get("patient_name", ""),
        birth_date=said.get("birth_date", "").replace("-", ""),
        sex=said.get("sex", "").upper(),
        accession_number=said.get("accession_number", ""),
        study_instance_uid=said.get("study_uid", ""),
    )


def walk_of(said: Mapping[str, str]) -> Walk:
    """How the walk was filmed.

    Raises:
        Refused: A value is not of its kind; the message names the option.

    Example:
        >>> walk_of({"view": "frontal", "distance_m": "10"}).distance_m
        10.0
    """
    view = said.get("view", "")
    if view not in set(View):
        raise Refused(f"--view is needed: one of {', '.join(View)}", attribute="AcquisitionContextSequence")
    return Walk(
        view=View(view),
        task=said.get("task", ""),
        aid=said.get("aid", ""),
        distance_m=_number(said.get("distance_m", "")),
        recorded_at=_time(said.get("recorded_at", "")),
    )


def is_true(said: Mapping[str, str], name: str) -> bool:
    """Whether a switch is on.

    Raises:
        Refused: It says neither yes nor no.
    """
    text = said.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise Refused(f"--{name.replace('_', '-')} is neither true nor false")
    return text in _TRUE


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise Refused("--distance-m is no number") from None


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone() if text else None
    except ValueError:
        raise Refused("--recorded-at is no ISO date and time, such as 2024-08-20T17:27") from None
