"""Operator: label volumes to SEG objects."""

from __future__ import annotations

from typing import Any

from operators.encode.identity import Producer
from operators.encode.messages import LabelVolume
from operators.encode.segmentation import EncodedSegmentation, SegmentationKind, build_segmentation
from operators.graph import Step


def encode(volume: LabelVolume, producer: Producer, kind: SegmentationKind) -> EncodedSegmentation:
    """The SEG of one label volume."""
    return build_segmentation(
        volume.labels_zyx,
        volume.geometry,
        volume.sources,
        volume.segments,
        producer,
        role=volume.role,
        series_label=volume.series_label,
        ordinal=volume.ordinal,
        kind=kind,
        frame_numbers=volume.frame_numbers,
    )


class EncodeSegmentation(Step):
    """Receives ``label_volumes`` (tuple of `LabelVolume`), emits ``segmentations``."""

    receives = ("label_volumes",)
    emits = ("segmentations",)

    def __init__(
        self, fragment: Any, *args: Any, producer: Producer, kind: SegmentationKind, **kwargs: Any
    ) -> None:
        self.producer = producer
        self.kind = kind
        super().__init__(fragment, *args, **kwargs)

    def work(self, label_volumes: tuple[LabelVolume, ...]) -> tuple[EncodedSegmentation, ...]:
        """Encode each."""
        return tuple(encode(volume, self.producer, self.kind) for volume in label_volumes)
