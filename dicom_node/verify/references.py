"""Every instance, frame and segment that a result refers to exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from dicom_node.errors import BrokenPromise
from dicom_node.verify.sources import KnownInstance, KnownInstances, is_known, known_instance

_NOT_INSTANCES = frozenset(
    {
        "ReferencedStudySequence",
        "ReferencedPatientSequence",
        "ReferencedVisitSequence",
        "ReferencedPerformedProcedureStepSequence",
    }
)
"""Copied from the source; they refer to records of an information system, not to stored instances."""

_EVIDENCE = frozenset({"CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"})
_SOURCE_SERIES = "121232"
"""DCM, Source series for segmentation (PS3.16 TID 1411)."""


@dataclass(frozen=True)
class Reference:
    """One reference to an instance.

    Args:
        path: Keywords of the sequences it stands in, outermost first.
        item: The item with Referenced SOP Instance UID (0008,1155).
        series_instance_uid: The series that an item above it names; empty when none does.
        study_instance_uid: The study likewise.
    """

    path: tuple[str, ...]
    item: Dataset
    series_instance_uid: str = ""
    study_instance_uid: str = ""

    @property
    def sop_instance_uid(self) -> str:
        """The instance referred to."""
        return str(self.item.ReferencedSOPInstanceUID)

    @property
    def frame_numbers(self) -> tuple[int, ...]:
        """The frames referred to, from 1; empty for the whole instance."""
        return _numbers(self.item, "ReferencedFrameNumber")

    @property
    def is_evidence(self) -> bool:
        """True when it stands in an evidence sequence (PS3.3 C.17.2.3)."""
        return bool(self.path) and self.path[0] in _EVIDENCE

    @property
    def is_content(self) -> bool:
        """True when it stands in the content tree (PS3.3 C.17.3)."""
        return bool(self.path) and self.path[0] == "ContentSequence"


def references_in(dataset: Dataset) -> Iterator[Reference]:
    """Every reference to an instance, however deep.

    >>> image = Dataset(); image.ReferencedSOPInstanceUID = "1.2.3"
    >>> item = Dataset(); item.ReferencedSOPSequence = [image]
    >>> report = Dataset(); report.ContentSequence = [item]
    >>> [(found.path, found.sop_instance_uid) for found in references_in(report)]
    [(('ContentSequence', 'ReferencedSOPSequence'), '1.2.3')]
    """
    return _walk(dataset, Reference((), dataset))


def _walk(dataset: Dataset, above: Reference) -> Iterator[Reference]:
    for element in dataset:
        if element.VR != "SQ" or element.keyword in _NOT_INSTANCES:
            continue
        for item in element.value:
            here = Reference(
                (*above.path, element.keyword),
                item,
                str(item.get("SeriesInstanceUID", above.series_instance_uid)),
                str(item.get("StudyInstanceUID", above.study_instance_uid)),
            )
            if "ReferencedSOPInstanceUID" in item:
                yield here
            yield from _walk(item, here)


def check_references(
    name: str,
    dataset: Dataset,
    known: Mapping[str, KnownInstance],
    further: Iterable[KnownInstances],
) -> None:
    """Every reference of an object resolves.

    Args:
        name: The object's file name, for the sentence.
        dataset: The object.
        known: The inputs and all results of this analysis, by SOP Instance UID.
        further: Other instances that may be referred to: the study's, the predecessors.

    Raises:
        BrokenPromise: An instance is unknown, of another class or in another series
            than said, or a frame or segment number does not exist in it.
    """
    further = tuple(further)
    found = list(references_in(dataset))
    for reference in found:
        instance = known.get(reference.sop_instance_uid)
        if instance is not None:
            _check_one(name, reference, instance)
        elif not any(is_known(instances, reference.sop_instance_uid) for instances in further):
            raise BrokenPromise(
                f"{name}: {reference.path[-1]} refers to {reference.sop_instance_uid}, "
                "which is neither a received instance nor a result"
            )
    _check_own_segments(name, dataset)
    _check_evidence(name, found)
    _check_source_series(name, dataset, {instance.series_instance_uid for instance in known.values()})


def _check_one(name: str, reference: Reference, instance: KnownInstance) -> None:
    where = f"{name}: {reference.path[-1]} refers to {reference.sop_instance_uid}"
    sop_class = str(reference.item.get("ReferencedSOPClassUID", ""))
    if sop_class and sop_class != instance.sop_class_uid:
        raise BrokenPromise(f"{where} as {UID(sop_class).name}, it is {UID(instance.sop_class_uid).name}")
    if reference.series_instance_uid and reference.series_instance_uid != instance.series_instance_uid:
        raise BrokenPromise(f"{where} in a series that it is not in")
    if reference.study_instance_uid and reference.study_instance_uid != instance.study_instance_uid:
        raise BrokenPromise(f"{where} in a study that it is not in")
    for frame in reference.frame_numbers:
        if not 1 <= frame <= instance.number_of_frames:
            raise BrokenPromise(f"{where}, frame {frame} of {instance.number_of_frames}")
    for segment in _numbers(reference.item, "ReferencedSegmentNumber"):
        if segment not in instance.segment_numbers:
            raise BrokenPromise(f"{where}, segment {segment}, which it does not have")


def _numbers(item: Dataset, keyword: str) -> tuple[int, ...]:
    value = item.get(keyword)
    if value is None:
        return ()
    return tuple(int(number) for number in value) if isinstance(value, MultiValue) else (int(value),)


def _check_own_segments(name: str, dataset: Dataset) -> None:
    """Each frame of a segmentation is of a segment that is described (PS3.3 C.8.20.3.1)."""
    described = known_instance(dataset).segment_numbers
    groups = (
        *(dataset.get("SharedFunctionalGroupsSequence") or ()),
        *(dataset.get("PerFrameFunctionalGroupsSequence") or ()),
    )
    for group in groups:
        for item in group.get("SegmentIdentificationSequence") or ():
            if not described.issuperset(_numbers(item, "ReferencedSegmentNumber")):
                raise BrokenPromise(f"{name}: a frame is of a segment that SegmentSequence does not describe")


def _check_evidence(name: str, found: Iterable[Reference]) -> None:
    """What the content tree of a report refers to is in its evidence (PS3.3 C.17.2.3)."""
    found = tuple(found)
    evidence = {reference.sop_instance_uid for reference in found if reference.is_evidence}
    for reference in found:
        if reference.is_content and reference.sop_instance_uid not in evidence:
            raise BrokenPromise(
                f"{name}: the content refers to {reference.sop_instance_uid}, which is not in its evidence"
            )


def _check_source_series(name: str, dataset: Dataset, series: set[str]) -> None:
    for item in content_items(dataset):
        if item.get("ValueType") != "UIDREF":
            continue
        codes = {str(code.get("CodeValue", "")) for code in item.get("ConceptNameCodeSequence") or ()}
        if _SOURCE_SERIES in codes and str(item.get("UID", "")) not in series:
            raise BrokenPromise(f"{name}: the source series of a segmentation is not a received series")


def content_items(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item of a report, depth first."""
    for item in dataset.get("ContentSequence") or ():
        yield item
        yield from content_items(item)
