"""gait_ataxia: from a video of a walk to an estimate of the SARA score and gait parameters.

The graph::

    decode -> people -> pose -> track -> estimate -> describe -> encode report -----> write
                                                        |------> encode key images ----^
                                                        |------> encode PDF -----------^
                                                        '------------------------------^

where ``estimate`` finds the gait events, makes features and asks the Transformers.

``python -m apps.gait_ataxia.app -i INPUT -o OUTPUT`` runs it as a MONAI Application
Package does, on a folder of DICOM files, without the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from apps.gait_ataxia import gate, results
from apps.gait_ataxia.cases import estimator
from apps.gait_ataxia.features import features_of, walking
from apps.gait_ataxia.findings import KEY_POINTS_FILE, Findings
from apps.gait_ataxia.overlay import overlay_video
from apps.gait_ataxia.predict import load_cohort, load_ensemble
from apps.gait_ataxia.signals import Walk
from operators.bundle import load_metadata
from operators.encode.encode_key_images import EncodeKeyImages
from operators.encode.encode_pdf import EncodedPdf, EncodePdf
from operators.encode.encode_report import EncodeReport
from operators.encode.identity import Producer, producer_of
from operators.encode.messages import KeyImages
from operators.encode.pictures import png_of
from operators.encode.result import MadeObject, Outcome, write_result
from operators.errors import Refused
from operators.graph import Call, Graph
from operators.job import AnalysisJob
from operators.package import run_as_package
from operators.pose.body25 import PoseSeries
from operators.pose.openpose import read_openpose
from operators.pose.scene import Scene, look
from operators.video.photographic import view_of
from operators.video.read_frames import Video, read_video


@dataclass(frozen=True, eq=False)
class Tracked:
    """The walker, followed."""

    pose: PoseSeries
    walk: Walk
    share: float


def decode(job: AnalysisJob) -> Video:
    """The video of the job.

    Raises:
        Refused: The series holds several videos, or one that cannot be read.
    """
    paths = job.inputs["walk"]
    if len(paths) > 1:
        raise Refused(f"the series holds {len(paths)} videos, one walk is needed", attribute="InstanceNumber")
    return read_video(paths[0])


def see_people(video: Video) -> Scene:
    """Who is in the video.

    Raises:
        Refused: It is too short, its camera moves, nobody is there, or several people walk.
    """
    scene = look(video, video.frame_rate)
    promised = video.header.get("NumberOfFrames")
    gate.check_scene(scene, video.frame_rate, int(promised) if promised else None)
    return scene


def find_points(job: AnalysisJob, video: Video, scene: Scene) -> PoseSeries:
    """Points of the walker: by the estimator, or those that OpenPose wrote before.

    Raises:
        Refused: OpenPose's points do not belong to the video.
    """
    folder = job.settings.get("openpose_json")
    if folder:
        size = int(video.header.Columns), int(video.header.Rows)
        return read_openpose(Path(str(folder)) / str(video.header.SOPInstanceUID), video.frame_rate, *size)
    return estimator().estimate(video, video.frame_rate, scene.walkers[0] if scene.walkers else None)


def track(video: Video, scene: Scene, pose: PoseSeries) -> Tracked:
    """The walk as signals.

    Raises:
        Refused: The walker could not be followed.
    """
    share = gate.tracked_share(pose, scene)
    gate.check_tracking(share)
    walk = walking(pose, view_of(video.header))
    if walk is None:
        raise Refused("nobody walks in the video", attribute="PixelData")
    return Tracked(pose, walk, share)


def analyse(job: AnalysisJob, video: Video, scene: Scene, tracked: Tracked) -> Findings:
    """Events, parameters and the estimate of a walk.

    Raises:
        Refused: It is no walk, or too little of one.
        BrokenBundle: The model folder is incomplete.
    """
    features, events, parameters = features_of(tracked.walk)
    gate.check_walk(tracked.walk, parameters, scene)
    estimate = load_ensemble(job.bundle_dir, job.device).estimate(features)
    return Findings(
        video=video,
        scene=scene,
        pose=tracked.pose,
        walk=tracked.walk,
        events=events,
        parameters=parameters,
        estimate=estimate,
        tracked_share=tracked.share,
        cohort=load_cohort(job.bundle_dir),
        warnings=(*job.warnings, *_warnings(scene, tracked, parameters.strides, estimate.is_unusual)),
    )


def _warnings(scene: Scene, tracked: Tracked, strides: int, is_unusual: bool) -> tuple[str, ...]:
    told = []
    if scene.bystanders:
        told.append("Another person is in the picture; check in the plots that the right one was followed.")
    if scene.camera_move is None:
        told.append("The background shows too little to tell whether the camera stands still.")
    if strides < 8:
        told.append(f"Only {strides} strides were seen: the variation of the stride time is uncertain.")
    if tracked.share < 0.9:
        told.append(f"The walker was followed in {100 * tracked.share:.0f} % of the frames.")
    if tracked.walk.view == "frontal" and tracked.walk.scale[-1] < tracked.walk.scale[0]:
        told.append("The walk goes away from the camera; the models learned from walks towards it.")
    if is_unusual:
        told.append("The gait parameters are unlike those of the walks that the models learned from.")
    return tuple(told)


class GaitAtaxia(Graph):
    """The application of one analysis."""

    def __init__(self, job: AnalysisJob, producer: Producer) -> None:
        self.job = job
        self.producer = producer
        super().__init__(job.output_dir)

    def compose(self) -> None:
        """Wire the operators."""
        job, producer = self.job, self.producer
        read = Call(self, self.once(), function=lambda: decode(job), emits=("video",), name="decode")
        people = Call(self, function=see_people, receives=("video",), emits=("scene",), name="people")
        pose = Call(
            self,
            function=lambda video, scene: find_points(job, video, scene),
            receives=("video", "scene"),
            emits=("pose",),
            name="pose",
        )
        follow = Call(
            self, function=track, receives=("video", "scene", "pose"), emits=("tracked",), name="track"
        )
        estimate = Call(
            self,
            function=lambda video, scene, tracked: analyse(job, video, scene, tracked),
            receives=("video", "scene", "tracked"),
            emits=("findings",),
            name="estimate",
        )
        describe = Call(
            self,
            function=self._describe,
            receives=("findings",),
            emits=("content", "segmentations", "pictures", "page", "extras"),
            name="describe",
        )
        report = EncodeReport(self, producer=producer, predecessors=job.predecessors, name="encode_report")
        images = EncodeKeyImages(self, producer=producer, name="encode_key_images")
        pdf = EncodePdf(self, producer=producer, name="encode_pdf")
        write = Call(
            self,
            function=self._write,
            receives=("report", "key_images", "pdf", "pictures", "extras"),
            name="write",
        )
        for target in (people, pose, follow, estimate):
            self.add_flow(read, target, {("video", "video")})
        for target in (pose, follow, estimate):
            self.add_flow(people, target, {("scene", "scene")})
        self.add_flow(pose, follow, {("pose", "pose")})
        self.add_flow(follow, estimate, {("tracked", "tracked")})
        self.add_flow(estimate, describe, {("findings", "findings")})
        self.add_flow(describe, report, {("content", "content"), ("segmentations", "segmentations")})
        self.add_flow(describe, images, {("pictures", "pictures")})
        self.add_flow(describe, pdf, {("page", "page")})
        self.add_flow(describe, write, {("pictures", "pictures"), ("extras", "extras")})
        self.add_flow(report, write, {("report", "report")})
        self.add_flow(images, write, {("key_images", "key_images")})
        self.add_flow(pdf, write, {("pdf", "pdf")})

    def _describe(self, findings: Findings) -> tuple[Any, ...]:
        images = results.key_image_content(findings, self.producer)
        return (
            results.report_content(findings, self.producer),
            (),
            images,
            results.page_content(findings, images, self.producer),
            findings,
        )

    def _write(
        self,
        report: Dataset,
        key_images: tuple[Dataset, ...],
        pdf: EncodedPdf,
        pictures: KeyImages,
        findings: Findings,
    ) -> None:
        objects = [MadeObject(role="report", file_stem="report", dataset=report)]
        objects += [
            MadeObject(role="key_image", file_stem=f"key_image_{number}", dataset=image)
            for number, image in enumerate(key_images, start=1)
        ]
        objects.append(MadeObject(role="report_pdf", file_stem="report_pdf", dataset=pdf.dataset))
        if self.job.settings.get("overlay_video"):
            overlay = overlay_video(findings, self.producer)
            objects.append(MadeObject(role="overlay_video", file_stem="overlay_video", dataset=overlay))
        (self.job.output_dir / KEY_POINTS_FILE).write_bytes(findings.key_points)
        previews = {f"preview_{n}.png": png_of(p.rgb_yxc) for n, p in enumerate(pictures.pictures, start=1)}
        outcome: Outcome = results.outcome_of(findings, self.producer)
        write_result(self.job.output_dir, self.producer, objects, outcome, pdf=pdf.pdf, previews=previews)


def build_app(job: AnalysisJob) -> GaitAtaxia:
    """The application that analyses one study.

    Raises:
        BrokenBundle: The model folder is incomplete.
    """
    return GaitAtaxia(job, producer_of(job, load_metadata(job.bundle_dir)))


if __name__ == "__main__":
    run_as_package(__file__, build_app)
