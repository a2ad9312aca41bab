"""Operator, the last of a graph: writes objects, previews and ``result.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from operators.encode.encode_pdf import EncodedPdf
from operators.encode.identity import Producer
from operators.encode.messages import KeyImages
from operators.encode.parametric_map import EncodedMap
from operators.encode.pictures import png_of
from operators.encode.presentation_state import EncodedState
from operators.encode.result import MadeObject, Outcome, write_result
from operators.encode.segmentation import EncodedSegmentation
from operators.graph import Step


def write(
    folder: Path,
    producer: Producer,
    *,
    report: Dataset,
    key_images: Sequence[Dataset],
    pdf: EncodedPdf,
    pictures: KeyImages,
    outcome: Outcome,
    segmentations: Sequence[EncodedSegmentation] = (),
    encoded_maps: Sequence[EncodedMap] = (),
    states: Sequence[EncodedState] = (),
) -> None:
    """Write everything that an analysis made."""
    objects = [MadeObject(role=s.role, file_stem=s.role, dataset=s.dataset) for s in segmentations]
    objects += [MadeObject(role=m.role, file_stem=m.role, dataset=m.dataset) for m in encoded_maps]
    objects += [MadeObject(role=s.role, file_stem=f"{s.role}_{s.number}", dataset=s.dataset) for s in states]
    objects.append(MadeObject(role="report", file_stem="report", dataset=report))
    objects += [
        MadeObject(role="key_image", file_stem=f"key_image_{number}", dataset=image)
        for number, image in enumerate(key_images, start=1)
    ]
    objects.append(MadeObject(role="report_pdf", file_stem="report_pdf", dataset=pdf.dataset))
    previews = {f"preview_{n}.png": png_of(p.rgb_yxc) for n, p in enumerate(pictures.pictures, start=1)}
    write_result(folder, producer, objects, outcome, pdf=pdf.pdf, previews=previews)


class WriteResults(Step):
    """Receives everything that was encoded and the ``outcome`` (`Outcome`); emits nothing.

    Args:
        fragment: The graph.
        producer: Who made the results.
        folder: Where they are written.
        optional: Which of ``segmentations``, ``encoded_maps`` and ``states`` it also receives: a
            port that nothing is connected to would keep it from ever starting.
    """

    receives: tuple[str, ...] = ("report", "key_images", "pdf", "pictures", "outcome")

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        producer: Producer,
        folder: Path,
        optional: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        self.producer = producer
        self.folder = folder
        self.receives = (*self.receives, *optional)
        super().__init__(fragment, *args, **kwargs)

    def work(self, *received: Any) -> None:
        """Write."""
        write(self.folder, self.producer, **dict(zip(self.receives, received, strict=True)))
