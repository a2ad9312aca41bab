"""The graph: read -> find the body -> describe -> encode SEG, SR, key image, PDF -> write.

Also runs alone: ``python -m apps.<name>.app -i INPUT -o OUTPUT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.bundle import load_metadata
from operators.encode import codes
from operators.encode.identity import Producer, producer_of
from operators.encode.messages import KeyImages, LabelVolume, PageContent, Picture, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import (
    View,
    canonical,
    draw_grey,
    draw_outline,
    new_figure,
    png_of,
    rendered,
    write_statement,
)
from operators.encode.report import Group, Number, SegmentReference
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.package import run_as_package
from operators.read.ct import CtVolume, read_ct_volume

from .body import find_body

BODY_LABEL = 1
WHOLE_BODY = codes.code("38266002", "SCT", "Entire body")
SEGMENT = Segment(label=BODY_LABEL, name="Body", property_type=WHOLE_BODY, colour_rgb=(80, 200, 255))
PROCEDURE = codes.private("CT_SCAN", "Computed tomography")
WINDOW_HU = (-160.0, 240.0)
OUTLINE_COLOUR = "#50c8ff"


@dataclass(frozen=True, eq=False)
class Findings:
    """What was measured.

    Args:
        volume: The CT.
        body_zyx: ``(z, y, x)`` bool.
        volume_ml: Of the body inside the slices.
        mean_hu: Of the body.
        warnings: Sentences that a reader must see.
    """

    volume: CtVolume
    body_zyx: NDArray[np.bool_]
    volume_ml: float
    mean_hu: float
    warnings: tuple[str, ...]


def measure(job: AnalysisJob, volume: CtVolume) -> Findings:
    """Find the body and measure it."""
    body = find_body(volume.hu_zyx, volume.geometry, job.bundle_dir)
    return Findings(
        volume=volume,
        body_zyx=body,
        volume_ml=float(body.sum()) * volume.geometry.voxel_volume_ml,
        mean_hu=float(volume.hu_zyx[body].mean()),
        warnings=job.warnings,
    )


def describe(findings: Findings, producer: Producer) -> tuple[Any, ...]:
    """What is encoded: label volumes, report, pictures, page, outcome."""
    sources = findings.volume.instances
    labels = LabelVolume(
        labels_zyx=findings.body_zyx.astype(np.uint8),
        geometry=findings.volume.geometry,
        sources=sources,
        segments=(SEGMENT,),
        series_label="Body",
    )
    group = Group(
        tracking_id=SEGMENT.name,
        finding=WHOLE_BODY,
        category=codes.ANATOMICAL_STRUCTURE,
        segment=SegmentReference(label=BODY_LABEL),
        numbers=(
            Number(name=codes.VOLUME, value=findings.volume_ml, unit=codes.MILLILITRE),
            Number(
                name=codes.ATTENUATION_COEFFICIENT,
                value=findings.mean_hu,
                unit=codes.HOUNSFIELD,
                derivation=codes.MEAN,
            ),
        ),
    )
    content = ReportContent(groups=(group,), sources=sources, procedure=PROCEDURE, warnings=findings.warnings)
    picture = Picture(
        rgb_yxc=draw(findings, producer.statement), description="Middle coronal and axial plane."
    )
    measurements = {
        "body_volume": {"value": findings.volume_ml, "unit": "mL"},
        "body_mean_hu": {"value": findings.mean_hu, "unit": "[hnsf'U]"},
    }
    summary = f"Body inside the slices: {findings.volume_ml:.0f} mL, mean {findings.mean_hu:.0f} HU"
    rows = (
        ("Volume inside the slices, mL", f"{findings.volume_ml:.0f}"),
        ("Mean, HU", f"{findings.mean_hu:.0f}"),
    )
    page = Page(
        title=producer.title,
        summary=summary,
        tables=(PageTable(title="Body", header=(), rows=rows),),
        figures=((PageFigure(png=png_of(picture.rgb_yxc), caption=picture.description),),),
        warnings=findings.warnings,
    )
    return (
        (labels,),
        content,
        KeyImages(pictures=(picture,), sources=sources),
        PageContent(page=page, sources=sources),
        Outcome(summary=summary, measurements=measurements, warnings=findings.warnings),
    )


def draw(findings: Findings, statement: str) -> NDArray[np.uint8]:
    """The middle planes with the outline of the body, ``(row, column, 3)`` uint8."""
    figure = new_figure(8.0, 4.0)
    image = canonical(findings.volume.hu_zyx, findings.volume.geometry)
    body = canonical(findings.body_zyx, findings.volume.geometry)
    for number, view in enumerate((View.CORONAL, View.AXIAL), start=1):
        axes = figure.add_subplot(1, 2, number)
        index = image.array_zyx.shape[int(view)] // 2
        draw_grey(axes, image, view, index, window=WINDOW_HU)
        inside = np.asarray(body.plane(view, index), dtype=bool)
        draw_outline(axes, inside, image.extent_mm(view), OUTLINE_COLOUR)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.97, bottom=0.1, wspace=0.04)
    write_statement(figure, statement)
    return rendered(figure)


class App(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators; every output needs a receiver."""
        job, producer = self.job, self.producer
        read = Call(
            self,
            self.once(),
            function=lambda: read_ct_volume(job.inputs["ct"]),
            emits=("volume",),
            name="read",
        )
        find = Call(
            self,
            function=lambda v: measure(job, v),
            receives=("volume",),
            emits=("findings",),
            name="measure",
        )
        say = Call(
            self,
            function=lambda f: describe(f, producer),
            receives=("findings",),
            emits=("label_volumes", "content", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, find, {("volume", "volume")})
        self.add_flow(find, say, {("findings", "findings")})
        wire_results(self, say, job, producer)


def build_app(job: AnalysisJob) -> App:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    return App(job, producer_of(job, load_metadata(job.bundle_dir)))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
