"""The encoding half of an app's graph: SEG, maps, marks, report, key images, PDF, written together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operators.encode.encode_key_images import EncodeKeyImages
from operators.encode.encode_parametric_map import EncodeParametricMap
from operators.encode.encode_pdf import EncodePdf
from operators.encode.encode_presentation_state import EncodePresentationState
from operators.encode.encode_report import EncodeReport
from operators.encode.encode_segmentation import EncodeSegmentation
from operators.encode.identity import Producer
from operators.encode.segmentation import SegmentationKind
from operators.encode.write_results import WriteResults
from operators.graph import Step
from operators.job import AnalysisJob

EVIDENCE = ("segmentations", "encoded_maps")
"""Ports whose objects a report refers to."""


def wire_results(graph: Any, describe: Any, job: AnalysisJob, producer: Producer) -> None:
    """Add the operators that encode and write what ``describe`` emits, and connect them.

    Args:
        graph: The app's graph, in its ``compose``.
        describe: An operator that emits ``content``, ``pictures``, ``page`` and ``outcome``; and,
            of ``label_volumes``, ``maps`` and ``markings``, those that the app makes.
        job: The analysis; its setting ``segmentation_kind`` says how a SEG is encoded.
        producer: Who made the results.

    Raises:
        ValueError: The setting names no kind of segmentation.
    """
    kind = SegmentationKind(job.settings.get("segmentation_kind", SegmentationKind.BINARY.value))
    makers: dict[str, Callable[[], Step]] = {
        "label_volumes": lambda: EncodeSegmentation(
            graph, producer=producer, kind=kind, name="encode_segmentation"
        ),
        "maps": lambda: EncodeParametricMap(graph, producer=producer, name="encode_parametric_map"),
        "markings": lambda: EncodePresentationState(
            graph, producer=producer, name="encode_presentation_state"
        ),
    }
    parts = [make() for port, make in makers.items() if port in describe.emits]
    encoded = [part.emits[0] for part in parts]
    evidence = [port for port in encoded if port in EVIDENCE]
    report = EncodeReport(
        graph, producer=producer, optional=evidence, predecessors=job.predecessors, name="encode_report"
    )
    images = EncodeKeyImages(graph, producer=producer, name="encode_key_images")
    pdf = EncodePdf(graph, producer=producer, name="encode_pdf")
    write = WriteResults(
        graph, producer=producer, folder=job.output_dir, optional=encoded, name="write_results"
    )
    graph.add_flow(describe, report, {("content", "content")})
    graph.add_flow(describe, images, {("pictures", "pictures")})
    graph.add_flow(describe, pdf, {("page", "page")})
    graph.add_flow(describe, write, {("pictures", "pictures"), ("outcome", "outcome")})
    graph.add_flow(report, write, {("report", "report")})
    graph.add_flow(images, write, {("key_images", "key_images")})
    graph.add_flow(pdf, write, {("pdf", "pdf")})
    for part, port in zip(parts, encoded, strict=True):
        graph.add_flow(describe, part, {(part.receives[0], part.receives[0])})
        graph.add_flow(part, write, {(port, port)})
        if port in evidence:
            graph.add_flow(part, report, {(port, port)})
