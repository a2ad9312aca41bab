"""mibg_spect: heart, lungs and liver on I-123 MIBG SPECT, cardiac uptake and washout.

The graph::

    read -> segment -> measure -> describe -> encode segmentation --> encode report -> write
                                           |-> encode key images --------------------^
                                           '-> encode PDF ---------------------------^

``python -m apps.mibg_spect.app -i INPUT -o OUTPUT`` runs it as a MONAI Application
Package does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.mibg_spect import results
from apps.mibg_spect.findings import Findings
from apps.mibg_spect.labels import Phase
from apps.mibg_spect.quantify import quantify
from apps.mibg_spect.segment import Segmentation, segment
from operators.bundle import load_metadata
from operators.encode.identity import Producer, producer_of
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.package import run_as_package
from operators.read.nm import NmPlanar, NmVolume, read_nm_planar, read_nm_volume

SPECT_INPUTS = {Phase.EARLY: "early", Phase.LATE: "late"}
PLANAR_INPUTS = {Phase.EARLY: "planar_early", Phase.LATE: "planar_late"}


@dataclass(frozen=True, eq=False)
class Study:
    """What was read: the SPECT volumes and planar views that are there."""

    volumes: Mapping[Phase, NmVolume]
    planar: Mapping[Phase, NmPlanar]


def read_study(job: AnalysisJob) -> Study:
    """The inputs of the job as arrays.

    Raises:
        Refused: An input cannot be what it is taken for.
    """
    return Study(
        volumes={p: read_nm_volume(job.inputs[n]) for p, n in SPECT_INPUTS.items() if job.inputs.get(n)},
        planar={p: read_nm_planar(job.inputs[n]) for p, n in PLANAR_INPUTS.items() if job.inputs.get(n)},
    )


def measure_study(job: AnalysisJob, study: Study, segmentation: Segmentation) -> Findings:
    """Numbers, and every warning once, those of the rules first."""
    measurements = quantify(
        study.volumes,
        segmentation,
        planar=study.planar,
        collimator_coefficients=job.settings.get("collimator_coefficients"),
    )
    read = [w for one in (*study.volumes.values(), *study.planar.values()) for w in one.warnings]
    missing = results.missing_input_warnings(study.volumes, study.planar)
    warnings = [*job.warnings, *missing, *read, *segmentation.warnings, *measurements.warnings]
    return Findings(
        volumes=study.volumes,
        planar=study.planar,
        segmentation=segmentation,
        measurements=measurements,
        warnings=tuple(dict.fromkeys(warnings)),
    )


class MibgSpect(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job, producer = self.job, self.producer
        read = Call(self, self.once(), function=lambda: read_study(job), emits=("study",), name="read")
        organs = Call(
            self, function=self._segment, receives=("study",), emits=("segmentation",), name="segment"
        )
        measure = Call(
            self,
            function=lambda study, organs: measure_study(job, study, organs),
            receives=("study", "segmentation"),
            emits=("findings",),
            name="measure",
        )
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("label_volumes", "content", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, organs, {("study", "study")})
        self.add_flow(read, measure, {("study", "study")})
        self.add_flow(organs, measure, {("segmentation", "segmentation")})
        self.add_flow(measure, describe, {("findings", "findings")})
        wire_results(self, describe, job, producer)

    def _segment(self, study: Study) -> Segmentation:
        early, late = study.volumes.get(Phase.EARLY), study.volumes.get(Phase.LATE)
        return segment(early, late, bundle=self.job.bundle_dir, device=self.job.device)

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        images = results.key_image_content(findings, self.producer)
        return (
            results.label_volumes(findings),
            results.report_content(findings),
            images,
            results.page_content(findings, images, self.producer),
            results.outcome_of(findings),
        )


def build_app(job: AnalysisJob) -> MibgSpect:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    producer = producer_of(job, load_metadata(job.bundle_dir))
    return MibgSpect(job, producer)


if __name__ == "__main__":
    run_as_package(__file__, build_app)
