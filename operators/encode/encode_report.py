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
    """Receives ``content`` (`ReportContent`), emits ``report``.

    Args:
        fragment: The graph.
        producer: Who made the report.
        optional: Which of ``segmentations`` and ``encoded_maps`` it also receives: a port that
            nothing is connected to would keep it from ever starting.
        predecessors: Files of the reports that this one replaces.
        language: Of the text.
    """

    receives: tuple[str, ...] = ("content",)
    emits = ("report",)

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        producer: Producer,
        optional: Sequence[str] = ("segmentations",),
        predecessors: Sequence[Path] = (),
        language: str = "en",
        **kwargs: Any,
    ) -> None:
        self.producer = producer
        self.receives = (*self.receives, *optional)
        self.predecessors = tuple(predecessors)
        self.language = language
        super().__init__(fragment, *args, **kwargs)

    def work(self, content: ReportContent, *encoded: Any) -> Dataset:
        """Encode."""
        found = dict(zip(self.receives[1:], encoded, strict=True))
        return encode(
            content,
            found.get("segmentations", ()),
            found.get("encoded_maps", ()),
            self.producer,
            self.predecessors,
            self.language,
        )
