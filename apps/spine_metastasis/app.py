"""spine_metastasis: osteoporotic or malignant fracture of vertebrae on sagittal T1 and STIR.

The graph::

    read -> find vertebrae -> judge -> describe -> encode segmentation --> encode report -> write
                                                |-> encode marks ---------------------^
                                                |-> encode key images ----------------^
                                                '-> encode PDF -----------------------^

``python -m apps.spine_metastasis.app -i INPUT -o OUTPUT`` runs it as a MONAI Application
Package does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from typing import Any

from apps.spine_metastasis import results
from apps.spine_metastasis.classify import LEAST_PROBABILITY, Judge
from apps.spine_metastasis.detect import DETECTOR, find_spine
from apps.spine_metastasis.findings import Findings, findings_of
from apps.spine_metastasis.labels import Weighting
from apps.spine_metastasis.levels import Spine
from apps.spine_metastasis.study import Study, read_study
from operators.bundle import choose_device, load_metadata
from operators.encode.identity import Producer, producer_of
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.infer.landmarks import Detector
from operators.job import AnalysisJob
from operators.package import run_as_package


def read_job(job: AnalysisJob) -> Study:
    """The sequences of the job.

    Raises:
        Refused: The slices of a sequence are no even stack, or cannot be decoded.
    """
    job.report_progress("reading slices", 0.0)
    return read_study({w: job.inputs[w.value] for w in Weighting if w.value in job.inputs})


def judge_study(job: AnalysisJob, study: Study, spine: Spine) -> Findings:
    """Every vertebra judged."""
    job.report_progress("judging vertebrae", 0.0)
    judge = Judge.load(job.bundle_dir, choose_device(job.device))
    least = float(job.settings.get("least_probability", LEAST_PROBABILITY))
    judged = judge.judge(study.stacks, spine.vertebrae, least=least)
    return findings_of(study.stacks, spine, judged, warnings=(*job.warnings, *study.warnings))


class SpineMetastasis(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job = self.job
        read = Call(self, self.once(), function=lambda: read_job(job), emits=("study",), name="read")
        find = Call(self, function=self._find, receives=("study",), emits=("spine",), name="find_vertebrae")
        judge = Call(
            self,
            function=lambda study, spine: judge_study(job, study, spine),
            receives=("study", "spine"),
            emits=("findings",),
            name="judge",
        )
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("label_volumes", "markings", "content", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, find, {("study", "study")})
        self.add_flow(read, judge, {("study", "study")})
        self.add_flow(find, judge, {("spine", "spine")})
        self.add_flow(judge, describe, {("findings", "findings")})
        wire_results(self, describe, job, self.producer)

    def _find(self, study: Study) -> Spine:
        self.job.report_progress("finding vertebrae", 0.0)
        device = choose_device(self.job.device)
        return find_spine(study.stacks, Detector.load(self.job.bundle_dir, DETECTOR, device))

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        self.job.report_progress("drawing and encoding", 0.0)
        images = results.key_image_content(findings, self.producer)
        return (
            results.label_volumes(findings),
            results.markings(findings),
            results.report_content(findings),
            images,
            results.page_content(findings, images),
            results.outcome_of(findings),
        )


def build_app(job: AnalysisJob) -> SpineMetastasis:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    return SpineMetastasis(job, producer_of(job, load_metadata(job.bundle_dir)))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
