"""msk_ct: 19 muscles and 3 bones on CT of hip and thigh, with their uncertainty.

The graph::

    read -> segment -> measure -> describe -> encode segmentation --> encode report -> write
                                           |-> encode map -----------^
                                           |-> encode key images --------------------^
                                           '-> encode PDF ---------------------------^

``python -m apps.msk_ct.app -i INPUT -o OUTPUT`` runs it as a MONAI Application Package
does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from typing import Any

from apps.msk_ct import results
from apps.msk_ct.findings import Findings, warnings_of
from apps.msk_ct.metal import judge_metal
from apps.msk_ct.quantify import quantify
from apps.msk_ct.segment import segment
from apps.msk_ct.segmentation import Segmentation
from operators.bundle import load_metadata
from operators.encode.identity import Producer, producer_of
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.measure.attenuation import DensityLine
from operators.measure.metal import metal_pieces
from operators.package import run_as_package
from operators.read.ct import CtVolume, read_ct_volume

INPUT = "ct"


def read_study(job: AnalysisJob) -> CtVolume:
    """The CT of the job.

    Raises:
        Refused: Its slices are no even, upright stack, or cannot be decoded.
    """
    job.report_progress("reading slices", 0.0)
    return read_ct_volume(job.inputs[INPUT])


def density_line(job: AnalysisJob) -> DensityLine:
    """The site's calibration of bone density, or the uncalibrated line."""
    setting = job.settings.get("bmd_calibration")
    if setting is None:
        return DensityLine()
    return DensityLine(slope=setting["slope"], intercept=setting["intercept"], is_calibrated=True)


def measure_study(job: AnalysisJob, volume: CtVolume, segmentation: Segmentation) -> Findings:
    """Numbers, and every warning once, those of the rules first.

    Raises:
        Refused: There is metal on both sides.
    """
    job.report_progress("measuring", 0.0)
    pieces = metal_pieces(volume.hu_zyx, volume.geometry)
    metal = judge_metal(pieces, segmentation.segments_zyx, volume.geometry)
    measurements = quantify(
        volume.hu_zyx,
        segmentation.segments_zyx,
        volume.geometry,
        psv=segmentation.psv,
        predictive_dice=segmentation.predictive_dice,
        unreliable=segmentation.low_confidence | (metal.affected if metal else frozenset()),
        unknown=segmentation.unknown_confidence,
        density_line=density_line(job),
    )
    warnings = [*job.warnings, *segmentation.warnings, *warnings_of(measurements, metal)]
    return Findings(
        volume=volume,
        segmentation=segmentation,
        measurements=measurements,
        warnings=tuple(dict.fromkeys(warnings)),
    )


class MskCt(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job = self.job
        read = Call(self, self.once(), function=lambda: read_study(job), emits=("volume",), name="read")
        structures = Call(
            self, function=self._segment, receives=("volume",), emits=("segmentation",), name="segment"
        )
        measure = Call(
            self,
            function=lambda volume, segmentation: measure_study(job, volume, segmentation),
            receives=("volume", "segmentation"),
            emits=("findings",),
            name="measure",
        )
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("label_volumes", "maps", "content", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, structures, {("volume", "volume")})
        self.add_flow(read, measure, {("volume", "volume")})
        self.add_flow(structures, measure, {("segmentation", "segmentation")})
        self.add_flow(measure, describe, {("findings", "findings")})
        wire_results(self, describe, job, self.producer)

    def _segment(self, volume: CtVolume) -> Segmentation:
        job = self.job
        return segment(
            volume,
            bundle=job.bundle_dir,
            device=job.device,
            profile=job.settings.get("profile", "auto"),
            passes=job.settings.get("passes"),
            report_progress=lambda share: job.report_progress("segmenting", share),
        )

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        self.job.report_progress("drawing and encoding", 0.0)
        images = results.key_image_content(findings, self.producer)
        return (
            (results.label_volume(findings),),
            (results.uncertainty_map(findings),),
            results.report_content(findings),
            images,
            results.page_content(findings, images),
            results.outcome_of(findings),
        )


def build_app(job: AnalysisJob) -> MskCt:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    return MskCt(job, producer_of(job, load_metadata(job.bundle_dir)))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
