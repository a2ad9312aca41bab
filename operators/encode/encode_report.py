"""Operator: report content and SEG objects to an SR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from operators.encode.identity import Producer
from operators.encode.messages import ReportContent
from operators.encode.parametric_map import EncodedMap
from operators.encode.report import build_report
from operators.encode.segmentation import EncodedSegmentation
from operators.graph import Step


def encode(
    content: ReportContent,
    segmentations: Sequence[EncodedSegmentation],
    maps: Sequence[EncodedMap],
    producer: Producer,
    predecessors: Sequence[Path],
    language: str,
) -> Dataset:
    """The SR; earlier reports that it replaces are read from their files."""
    return build_report(
        content.groups,
        content.sources,
        producer,
        procedure=content.procedure,
        segmentations=segmentations,
        maps=maps,
        predecessors=[dcmread(path, stop_before_pixels=True) for path in predecessors],
        warnings=content.warnings,
        language=language,
        series_label=content.series_label,
        is_complete=content.is_complete,
    )


class EncodeReport(Step):
    """Receives ``content`` (`ReportContent`) and ``segmentations``, emits ``report``.

    With ``has_maps`` it also receives ``encoded_maps``: a port that nothing is connected to would
    keep it from ever starting.
    """

    receives: tuple[str, ...] = ("content", "segmentations")
    emits = ("report",)

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        producer: Producer,
        has_maps: bool = False,
        predecessors: Sequence[Path] = (),
        language: str = "en",
        **kwargs: Any,
    ) -> None:
        self.producer = producer
        if has_maps:
            self.receives = (*self.receives, "encoded_maps")
        self.predecessors = tuple(predecessors)
        self.language = language
        super().__init__(fragment, *args, **kwargs)

    def work(
        self,
        content: ReportContent,
        segmentations: tuple[EncodedSegmentation, ...],
        maps: tuple[EncodedMap, ...] = (),
    ) -> Dataset:
        """Encode."""
        return encode(content, segmentations, maps, self.producer, self.predecessors, self.language)
