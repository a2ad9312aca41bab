"""dat_spect: striatal dopamine transporter on I-123 ioflupane SPECT.

The graph::

    read -> locate and measure -> assess -> describe -> encode segmentation --> encode report -> write
                                                     |-> encode parametric map --^
                                                     |-> encode key images ------^
                                                     '-> encode PDF -------------^

``python -m apps.dat_spect.app -i INPUT -o OUTPUT`` runs it as a MONAI Application
Package does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from typing import Any

from apps.dat_spect import results
from apps.dat_spect.findings import Findings, findings_of
from apps.dat_spect.model import DatModel, load_model
from apps.dat_spect.scan import Scan, measure_scan
from operators.bundle import load_metadata
from operators.encode.identity import Producer, producer_of
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.package import run_as_package
from operators.read.nm import NmVolume, read_nm_volume


class DatSpect(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer, model: DatModel) -> None:
        self.job = job
        self.producer = producer
        self.model = model
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job, producer = self.job, self.producer
        read = Call(
            self,
            self.once(),
            function=lambda: read_nm_volume(job.inputs["spect"]),
            emits=("volume",),
            name="read",
        )
        measure = Call(
            self, function=self._measure, receives=("volume",), emits=("scan",), name="locate_and_measure"
        )
        assess = Call(self, function=self._assess, receives=("scan",), emits=("findings",), name="assess")
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("label_volumes", "maps", "content", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, measure, {("volume", "volume")})
        self.add_flow(measure, assess, {("scan", "scan")})
        self.add_flow(assess, describe, {("findings", "findings")})
        wire_results(self, describe, job, producer)

    def _measure(self, volume: NmVolume) -> Scan:
        return measure_scan(volume, self.model.template, striatum_ml=self.model.striatum_ml)

    def _assess(self, scan: Scan) -> Findings:
        return findings_of(scan, self.model, warnings=tuple(self.job.warnings))

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        images = results.key_image_content(findings, self.producer)
        return (
            results.label_volumes(findings),
            results.maps(findings),
            results.report_content(findings),
            images,
            results.page_content(findings, images),
            results.outcome_of(findings),
        )


def build_app(job: AnalysisJob) -> DatSpect:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    producer = producer_of(job, load_metadata(job.bundle_dir))
    return DatSpect(job, producer, load_model(job.bundle_dir))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
