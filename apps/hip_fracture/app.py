"""hip_fracture: radiographs of the hip to the probabilities of a fracture of neck or trochanters.

The graph::

    read -> find hips, read, fuse -> describe -> encode report --------------> write
                                        |------> encode presentation states ----^
                                        |------> encode key images -------------^
                                        '------> encode PDF --------------------^

``python -m apps.hip_fracture.app -i INPUT -o OUTPUT`` runs it as a MONAI Application Package
does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.hip_fracture import results
from apps.hip_fracture.findings import Findings, analyse
from operators.bundle import choose_device, load_metadata
from operators.encode.identity import Producer, producer_of
from operators.encode.wire_results import wire_results
from operators.errors import Refused
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.package import run_as_package
from operators.read.radiograph import Radiograph, read_radiograph

LEFT_OUT = " left out"
"""In the sentences about instances of the study that the choice of the inputs left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What could be read of a study.

    Args:
        radiographs: In the order of their numbers.
        left_out: Why others are not among them, a sentence each.
        warnings: Further sentences that a reader must see.
    """

    radiographs: tuple[Radiograph, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def read_all(paths: list[Path]) -> Study:
    """The radiographs of a study.

    Raises:
        Refused: None can be read; the reason names each image's.
    """
    radiographs: list[Radiograph] = []
    refusals: list[Refused] = []
    for path in paths:
        try:
            radiographs.append(read_radiograph(path))
        except Refused as refused:
            refusals.append(refused)
    if not radiographs:
        reasons = dict.fromkeys(refused.reason for refused in refusals)
        raise Refused("; ".join(reasons), attribute=refusals[0].attribute)
    radiographs.sort(key=_order)
    left_out = [f"an image is left out: {refused.reason}" for refused in refusals]
    told = [warning for radiograph in radiographs for warning in radiograph.warnings]
    return Study(
        radiographs=tuple(radiographs),
        left_out=tuple(dict.fromkeys(left_out)),
        warnings=tuple(dict.fromkeys(told)),
    )


def _order(radiograph: Radiograph) -> tuple[int, int, str]:
    header = radiograph.header
    numbers = (int(header.get(word) or 0) for word in ("SeriesNumber", "InstanceNumber"))
    return (*numbers, str(header.SOPInstanceUID))


class HipFracture(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job, producer = self.job, self.producer
        read = Call(
            self,
            self.once(),
            function=lambda: read_all(job.inputs["radiographs"]),
            emits=("study",),
            name="read",
        )
        assess = Call(
            self,
            function=self._assess,
            receives=("study",),
            emits=("findings",),
            name="assess",
        )
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("content", "markings", "pictures", "page", "outcome"),
            name="describe",
        )
        self.add_flow(read, assess, {("study", "study")})
        self.add_flow(assess, describe, {("findings", "findings")})
        wire_results(self, describe, job, producer)

    def _assess(self, study: Study) -> Findings:
        chosen = self.job.warnings
        return analyse(
            study.radiographs,
            self.job.bundle_dir,
            choose_device(self.job.device),
            warnings=(*(one for one in chosen if LEFT_OUT not in one), *study.warnings),
            left_out=(*(one for one in chosen if LEFT_OUT in one), *study.left_out),
        )

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        images = results.key_image_content(findings, self.producer)
        return (
            results.report_content(findings, self.producer),
            results.markings(findings),
            images,
            results.page_content(findings, images, self.producer),
            results.outcome_of(findings),
        )


def build_app(job: AnalysisJob) -> HipFracture:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    return HipFracture(job, producer_of(job, load_metadata(job.bundle_dir)))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
