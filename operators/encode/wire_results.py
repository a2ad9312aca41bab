"""The encoding half of a volume app's graph: SEG, maps, report, key images, PDF, written together."""

from __future__ import annotations

from typing import Any

from operators.encode.encode_key_images import EncodeKeyImages
from operators.encode.encode_parametric_map import EncodeParametricMap
from operators.encode.encode_pdf import EncodePdf
from operators.encode.encode_report import EncodeReport
from operators.encode.encode_segmentation import EncodeSegmentation
from operators.encode.identity import Producer
from operators.encode.segmentation import SegmentationKind
from operators.encode.write_results import WriteResults
from operators.job import AnalysisJob


def wire_results(graph: Any, describe: Any, job: AnalysisJob, producer: Producer) -> None:
    """Add the operators that encode and write what ``describe`` emits, and connect them.

    Args:
        graph: The app's graph, in its ``compose``.
        describe: An operator that emits ``label_volumes``, ``content``, ``pictures``, ``page``
            and ``outcome``; and, if the app makes parametric maps, ``maps``.
        job: The analysis; its setting ``segmentation_kind`` says how the SEG is encoded.
        producer: Who made the results.

    Raises:
        ValueError: The setting names no kind of segmentation.
    """
    kind = SegmentationKind(job.settings.get("segmentation_kind", SegmentationKind.BINARY.value))
    seg = EncodeSegmentation(graph, producer=producer, kind=kind, name="encode_segmentation")
    has_maps = "maps" in describe.emits
    report = EncodeReport(
        graph, producer=producer, has_maps=has_maps, predecessors=job.predecessors, name="encode_report"
    )
    images = EncodeKeyImages(graph, producer=producer, name="encode_key_images")
    pdf = EncodePdf(graph, producer=producer, name="encode_pdf")
    write = WriteResults(
        graph, producer=producer, folder=job.output_dir, has_maps=has_maps, name="write_results"
    )
    graph.add_flow(describe, seg, {("label_volumes", "label_volumes")})
    graph.add_flow(describe, report, {("content", "content")})
    graph.add_flow(describe, images, {("pictures", "pictures")})
    graph.add_flow(describe, pdf, {("page", "page")})
    graph.add_flow(describe, write, {("pictures", "pictures"), ("outcome", "outcome")})
    graph.add_flow(seg, report, {("segmentations", "segmentations")})
    graph.add_flow(seg, write, {("segmentations", "segmentations")})
    graph.add_flow(report, write, {("report", "report")})
    graph.add_flow(images, write, {("key_images", "key_images")})
    graph.add_flow(pdf, write, {("pdf", "pdf")})
    if has_maps:
        maps = EncodeParametricMap(graph, producer=producer, name="encode_parametric_map")
        graph.add_flow(describe, maps, {("maps", "maps")})
        graph.add_flow(maps, report, {("encoded_maps", "encoded_maps")})
        graph.add_flow(maps, write, {("encoded_maps", "encoded_maps")})
