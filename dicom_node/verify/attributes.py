"""A result is of the patient and study that it was made from, and is a new object.

Sentences name attributes and never their values: they end in logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicom_node.errors import BrokenPromise
from dicom_node.verify.manifest import VerifiedObject
from dicom_node.verify.sources import Sources

COPIED = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
"""Patient and General Study attributes (PS3.3 C.7.1.1, C.7.2.1) that are equal or absent on both sides."""

COPIED_IF_PRESENT = (
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientBirthTime",
    "OtherPatientIDs",
    "TypeOfPatientID",
    "EthnicGroup",
)
"""Further ones, which a result may leave out but never change."""


def check_copied(name: str, dataset: Dataset, sources: Sources) -> None:
    """Patient and study attributes are those of the source.

    Raises:
        BrokenPromise: One differs from every input's.
    """
    for keyword in COPIED:
        if _text(dataset, keyword) not in {_text(source, keyword) for source in sources.datasets}:
            raise BrokenPromise(f"{name}: {keyword} is not the source's")
    for keyword in COPIED_IF_PRESENT:
        value = _text(dataset, keyword)
        if value and value not in {_text(source, keyword) for source in sources.datasets}:
            raise BrokenPromise(f"{name}: {keyword} is not the source's")


def _text(dataset: Dataset, keyword: str) -> str:
    """The decoded value; an absent and an empty attribute are the same."""
    value = dataset.get(keyword)
    return "" if value is None else str(value)


def check_uids(objects: Sequence[VerifiedObject], modalities: Sequence[str], sources: Sources) -> None:
    """UIDs are valid (PS3.5 9.1), new, and no two objects share one.

    Args:
        objects: The objects.
        modalities: The modality of each.
        sources: The inputs.

    Raises:
        BrokenPromise: A UID is invalid, used twice or the source's.
    """
    seen: dict[str, str] = {}
    series_modality: dict[str, str] = {}
    for item, modality in zip(objects, modalities, strict=True):
        name = item.path.name
        for keyword, uid in (
            ("SOPInstanceUID", item.sop_instance_uid),
            ("SeriesInstanceUID", item.series_instance_uid),
        ):
            if not UID(uid).is_valid or "." not in uid:
                raise BrokenPromise(f"{name}: {keyword} {uid!r} is not a valid UID")
        if item.sop_instance_uid in sources.instances:
            raise BrokenPromise(f"{name}: its SOPInstanceUID is that of a received instance")
        if item.series_instance_uid in sources.series_instance_uids:
            raise BrokenPromise(f"{name}: its SeriesInstanceUID is that of a received series")
        if item.sop_instance_uid in seen:
            raise BrokenPromise(f"{name} and {seen[item.sop_instance_uid]} have the same SOPInstanceUID")
        seen[item.sop_instance_uid] = name
        if series_modality.setdefault(item.series_instance_uid, modality) != modality:
            raise BrokenPromise(f"{name}: its series also holds objects of another modality")
    _check_levels(objects, seen)


def _check_levels(objects: Iterable[VerifiedObject], sop_instance_uids: dict[str, str]) -> None:
    for item in objects:
        if (
            item.series_instance_uid in sop_instance_uids
            or item.series_instance_uid == item.study_instance_uid
        ):
            raise BrokenPromise(
                f"{item.path.name}: its SeriesInstanceUID is also that of an instance or study"
            )
