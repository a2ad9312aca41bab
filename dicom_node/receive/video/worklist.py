"""Asks a modality worklist (PS3.4 K) whose video this is: exactly one answer, or a refusal.

The query's answers are taken unaltered. Nothing is guessed: no entry or several procedures are
refused, with what to give in addition.
"""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName
from pynetdicom.presentation import build_context

from dicom_node.deliver.status import describe
from dicom_node.errors import PeerStatus, PeerUnreachable, Refused
from dicom_node.receive.video.dataset import Subject
from dicom_node.receive.video.peer import Peer, associated

MODALITY_WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"
MOST_ANSWERS: Final = 50
"""Entries after which no more are asked for: the keys do not tell one procedure."""

_PENDING: Final = frozenset({0xFF00, 0xFF01})
_RETURNED: Final = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientSize",
    "PatientWeight", "AccessionNumber", "StudyInstanceUID", "ReferringPhysicianName",
    "RequestedProcedureID", "RequestedProcedureDescription",
)  # fmt: skip
_RETURNED_STEP: Final = (
    "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime", "ScheduledProcedureStepID", "ScheduledProcedureStepDescription",
)  # fmt: skip


def ask_worklist(
    peer: Peer, calling_ae_title: str, *, patient_id: str = "", accession_number: str = ""
) -> Subject:
    """The subject of the one scheduled procedure with these keys.

    Args:
        peer: The worklist.
        calling_ae_title: Under which it knows us.
        patient_id: Matching key; empty for any.
        accession_number: Likewise. One of both is needed.

    Raises:
        Refused: No key, no entry, or entries of more than one procedure.
        PeerUnreachable: Nobody answers, or the connection broke.
        AssociationRejected: The peer offers no worklist.
        PeerStatus: It answered with a failure.
    """
    if not patient_id and not accession_number:
        raise Refused("--worklist needs --patient-id or --accession-number to ask for", attribute="PatientID")
    answers = _find(peer, calling_ae_title, _query(patient_id, accession_number))
    keys = {"PatientID": patient_id, "AccessionNumber": accession_number}
    wanted = {keyword: value for keyword, value in keys.items() if value}
    entries = [a for a in answers if all(_text(a, keyword) == value for keyword, value in wanted.items())]
    return subject_of(entries, asked_for=" and ".join(wanted))


def _query(patient_id: str, accession_number: str) -> Dataset:
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _RETURNED:
        setattr(query, keyword, "")
    query.PatientID, query.AccessionNumber = patient_id, accession_number
    step = Dataset()
    for keyword in _RETURNED_STEP:
        setattr(step, keyword, "")
    query.ScheduledProcedureStepSequence = [step]
    return query


def _find(peer: Peer, calling_ae_title: str, query: Dataset) -> list[Dataset]:
    answers: list[Dataset] = []
    with associated(peer, [build_context(MODALITY_WORKLIST_FIND)], calling_ae_title) as association:
        for status, answer in association.send_c_find(query, MODALITY_WORKLIST_FIND):
            code = status.get("Status") if status else None
            if code is None:
                raise PeerUnreachable(f"{peer} ended the association before it answered")
            if code in _PENDING and answer is not None:
                answers.append(answer)
            elif code not in _PENDING and code != 0:
                raise PeerStatus(f"{peer} did not answer the worklist query: {describe(int(code))}")
            if len(answers) > MOST_ANSWERS:
                raise Refused(f"the worklist has more than {MOST_ANSWERS} entries: give --accession-number")
    return answers


def subject_of(entries: list[Dataset], *, asked_for: str) -> Subject:
    """The one subject of worklist entries, which may be several steps of one procedure.

    Args:
        entries: Answers of the worklist that match.
        asked_for: Keywords of the keys, for the message.

    Raises:
        Refused: There is none, or more than one.
    """
    if not entries:
        raise Refused(
            f"the worklist has no entry with this {asked_for}", attribute=asked_for.split(maxsplit=1)[0]
        )
    procedures = {(_text(e, "PatientID"), _text(e, "StudyInstanceUID")) for e in entries}
    if len(procedures) > 1:
        raise Refused(
            f"the worklist has {len(procedures)} procedures with this {asked_for}: "
            "give --accession-number to name one",
            attribute="AccessionNumber",
        )
    entry = entries[0]
    if not _text(entry, "PatientID"):
        raise Refused("the worklist's entry has no Patient ID", attribute="PatientID")
    return Subject(
        patient_id=_text(entry, "PatientID"),
        patient_name=_text(entry, "PatientName"),
        birth_date=_text(entry, "PatientBirthDate"),
        sex=_text(entry, "PatientSex"),
        accession_number=_text(entry, "AccessionNumber"),
        study_instance_uid=_text(entry, "StudyInstanceUID"),
        issuer_of_patient_id=_text(entry, "IssuerOfPatientID"),
        procedure=_procedure(entry),
    )


def _procedure(entry: Dataset) -> Dataset:
    """What of an entry goes into the object beside the patient (PS3.17 J.6)."""
    taken = Dataset()
    for keyword in ("ReferringPhysicianName", "PatientSize", "PatientWeight"):
        _take(entry, keyword, taken, keyword)
    _take(entry, "RequestedProcedureDescription", taken, "StudyDescription")
    _take(entry, "RequestedProcedureID", taken, "StudyID")
    request = Dataset()
    for keyword in ("RequestedProcedureID", "RequestedProcedureDescription"):
        _take(entry, keyword, request, keyword)
    for step in entry.get("ScheduledProcedureStepSequence") or ():
        for keyword in ("ScheduledProcedureStepID", "ScheduledProcedureStepDescription"):
            _take(step, keyword, request, keyword)
    if "RequestedProcedureID" in request and "ScheduledProcedureStepID" in request:
        taken.RequestAttributesSequence = Sequence([request])
    return taken


def _take(source: Dataset, keyword: str, target: Dataset, as_keyword: str) -> None:
    value: Any = source.get(keyword)
    if value not in (None, ""):
        # as text: the object has another character set than the answer
        setattr(target, as_keyword, str(value) if isinstance(value, PersonName) else value)


def _text(entry: Dataset, keyword: str) -> str:
    return str(entry.get(keyword) or "").strip()
