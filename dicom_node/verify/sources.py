"""The instances that an analysis was given, as far as its results are compared with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

KnownInstances = Collection[str] | Callable[[str], bool]
"""SOP Instance UIDs, or a function that says whether one is known."""


@dataclass(frozen=True, kw_only=True)
class KnownInstance:
    """What a reference to an instance can be held against.

    Args:
        sop_class_uid: SOP Class UID.
        series_instance_uid: Series Instance UID.
        study_instance_uid: Study Instance UID.
        number_of_frames: Frames, 1 for a single-frame image and for what is no image.
        segment_numbers: Of a segmentation; empty for anything else.
    """

    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    number_of_frames: int
    segment_numbers: frozenset[int] = frozenset()


def known_instance(dataset: Dataset) -> KnownInstance:
    """What is known of a data set."""
    return KnownInstance(
        sop_class_uid=str(dataset.get("SOPClassUID", "")),
        series_instance_uid=str(dataset.get("SeriesInstanceUID", "")),
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")),
        number_of_frames=int(dataset.get("NumberOfFrames") or 1),
        segment_numbers=frozenset(
            int(segment.SegmentNumber) for segment in dataset.get("SegmentSequence") or ()
        ),
    )


@dataclass(frozen=True)
class Sources:
    """The input instances, without their pixels.

    Args:
        datasets: One data set per input instance.
        instances: What is known of each, by SOP Instance UID.
    """

    datasets: tuple[Dataset, ...]
    instances: dict[str, KnownInstance] = field(repr=False)

    @property
    def series_instance_uids(self) -> set[str]:
        """Series Instance UIDs of the inputs."""
        return {known.series_instance_uid for known in self.instances.values()}

    def by_series(self, sop_instance_uids: Iterable[str]) -> dict[str, list[Dataset]]:
        """The input data sets of these UIDs, grouped by Series Instance UID."""
        wanted = set(sop_instance_uids)
        series: dict[str, list[Dataset]] = {}
        for dataset in self.datasets:
            if str(dataset.get("SOPInstanceUID", "")) in wanted:
                series.setdefault(str(dataset.SeriesInstanceUID), []).append(dataset)
        return series


def read_sources(inputs: Sequence[Path]) -> Sources:
    """Reads the headers of the input instances; they have been received and routed before."""
    datasets = tuple(dcmread(path, stop_before_pixels=True, force=True) for path in inputs)
    return Sources(datasets, {str(d.get("SOPInstanceUID", "")): known_instance(d) for d in datasets})


def is_known(instances: KnownInstances, sop_instance_uid: str) -> bool:
    """True when the collection holds the UID, or the function says so.

    >>> is_known({"1.2"}, "1.2"), is_known(lambda uid: uid == "1.3", "1.2")
    (True, False)
    """
    return instances(sop_instance_uid) if callable(instances) else sop_instance_uid in instances
