"""gait_ataxia from a video object to its results, on phantoms and on a real video.

What the model is worth is what ``dicom-node evaluate`` measures; here the results are looked
at as objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from apps.gait_ataxia import app as gait
from apps.gait_ataxia.phantom import generate, header_of, simulate
from operators.errors import Refused
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.select.digests import bundle_digest
from operators.select.manifest import load_manifest
from operators.video.photographic import acquisition_context, put_video
from operators.video.read_frames import decoded, read_video
from operators.video.write_h264 import write_h264
from tests.dicom_checks import dciodvfy_errors

APP_DIR = Path(__file__).resolve().parent
STATEMENT = "research use, trained on synthetic data"
SEED = 900_004
"""No seed that training uses."""

EYE_FRAMES = (60, 79, 97, 116, 134, 152, 171, 190)
"""Heel strikes of the woman in the real video, counted by eye, frames from 0, each to two frames.

Looked at as a contact sheet of every third frame from 52 to 196, cut out around her: the first
frame in which the heel of the leading foot is on the grass while the legs are farthest apart.
She enters behind a tree at frame 38 and leaves at frame 200; a man jumps on a box all the while.
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A phantom patient."""
    folder = tmp_path_factory.mktemp("phantom")
    generate(SEED, folder)
    return folder


@pytest.fixture(scope="module")
def analysed(case, tmp_path_factory) -> AnalysisJob:
    """The job of an analysis that has been run, with an overlay."""
    job = _job(case / "dicom", tmp_path_factory.mktemp("out"), overlay_video=True)
    gait.build_app(job).run()
    return job


def _job(folder: Path, output: Path, **settings) -> AnalysisJob:
    return dataclasses.replace(job_of_folder(APP_DIR, folder, output, None, "cpu"), settings=settings)


def _result(job: AnalysisJob) -> dict:
    return json.loads((job.output_dir / "result.json").read_text(encoding="utf-8"))


def _objects(job: AnalysisJob) -> dict[str, Dataset]:
    return {path.stem: dcmread(path) for path in sorted(job.output_dir.glob("*.dcm"))}


def _texts(dataset: Dataset) -> list[str]:
    texts: list[str] = []
    dataset.walk(lambda _, e: texts.append(str(e.value)) if e.keyword == "TextValue" else None)
    return texts


def test_a_walk_gives_every_object_that_is_promised(analysed):
    result = _result(analysed)
    assert [entry["role"] for entry in result["objects"]] == [
        "report",
        "key_image",
        "key_image",
        "key_image",
        "report_pdf",
        "overlay_video",
    ]
    assert all((analysed.output_dir / entry["file"]).is_file() for entry in result["objects"])
    assert (analysed.output_dir / result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert all((analysed.output_dir / name).read_bytes()[1:4] == b"PNG" for name in result["previews"])
    assert result["training_kind"] == "synthetic"


def test_no_object_has_a_dciodvfy_error(case, analysed):
    paths = [*analysed.output_dir.glob("*.dcm"), *(case / "dicom").glob("*.dcm")]
    assert len(paths) == 7
    for path in paths:
        assert dciodvfy_errors(path) == [], path


def test_numbers_agree_with_the_phantoms_truth(case, analysed):
    truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))
    found = _result(analysed)["measurements"]
    assert found["cadence"]["value"] == pytest.approx(truth["gait"]["cadence_per_min"], abs=4)
    assert found["stride_time"]["value"] == pytest.approx(truth["gait"]["stride_time_s"], rel=0.04)
    assert found["tracked"]["value"] >= 95
    assert abs(found["sara_total"]["value"] - truth["sara_total"]) < 9


def test_the_report_says_the_score_with_its_interval_and_where_the_points_are(analysed):
    report = _objects(analysed)["report"]
    codes: list[str] = []
    report.walk(lambda _, e: codes.append(str(e.value)) if e.keyword == "CodeValue" else None)
    for code in (
        "SARA_TOTAL_PRED",
        "SARA_GAIT_PRED",
        "CADENCE",
        "STRIDE_TIME",
        "STRIDE_CV",
        "TRACKED",
        "371885007",
    ):
        assert code in codes, code
    digest = hashlib.sha256((analysed.output_dir / "key_points.npz").read_bytes()).hexdigest()
    assert any(digest in text for text in _texts(report))


def test_the_key_points_are_those_of_every_frame(case, analysed):
    with np.load(analysed.output_dir / "key_points.npz") as saved:
        frames = int(dcmread(case / "dicom" / "walk.dcm", stop_before_pixels=True).NumberOfFrames)
        assert saved["points"].shape == (frames, 25, 3)
        assert str(saved["order"]) == "BODY_25"


def test_the_synthetic_statement_is_wherever_a_reader_looks(analysed):
    objects = _objects(analysed)
    for name, dataset in objects.items():
        assert STATEMENT in dataset.SeriesDescription, name
    texts = _texts(objects["report"])
    assert STATEMENT in texts
    assert any("synthetic walkers" in text for text in texts)


def test_patient_and_study_are_the_sources(case, analysed):
    source = dcmread(case / "dicom" / "walk.dcm", stop_before_pixels=True)
    for name, dataset in _objects(analysed).items():
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "StudyInstanceUID",
            "AccessionNumber",
        ):
            assert dataset.get(keyword) == source.get(keyword), (name, keyword)


def test_the_overlay_is_a_video_of_the_same_length(case, analysed):
    overlay = read_video(analysed.output_dir / "overlay_video.dcm")
    source = dcmread(case / "dicom" / "walk.dcm", stop_before_pixels=True)
    assert list(overlay.header.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert overlay.header.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert sum(1 for _ in overlay) == int(source.NumberOfFrames)


def test_the_same_video_gives_the_same_uids_and_points(case, analysed, tmp_path):
    again = _job(case / "dicom", tmp_path / "again", overlay_video=True)
    gait.build_app(again).run()
    one, two = _objects(analysed), _objects(again)
    assert {n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in one.items()} == {
        n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in two.items()
    }
    assert _result(analysed)["measurements"] == _result(again)["measurements"]


def test_an_overlay_is_made_only_when_asked_for_and_is_no_input(analysed, case, tmp_path):
    manifest = load_manifest(APP_DIR / "app.toml")
    assert next(o for o in manifest.outputs if o.role == "overlay_video").count == "0..1"
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "overlay.dcm").write_bytes((analysed.output_dir / "overlay_video.dcm").read_bytes())
    with pytest.raises(Refused):
        job_of_folder(APP_DIR, folder, tmp_path / "out", None, "cpu")


def test_points_of_openpose_are_taken_instead_of_an_estimator(case, analysed, tmp_path):
    source = dcmread(case / "dicom" / "walk.dcm", stop_before_pixels=True)
    folder = tmp_path / "points" / str(source.SOPInstanceUID)
    folder.mkdir(parents=True)
    joints = json.loads((case / "truth.json").read_text(encoding="utf-8"))["joints_px"]
    for index, frame in enumerate(joints):
        flat = np.concatenate([np.array(frame), np.ones((25, 1))], axis=1).ravel().tolist()
        text = json.dumps({"people": [{"pose_keypoints_2d": flat}]})
        (folder / f"walk_{index:012d}_keypoints.json").write_text(text, encoding="utf-8")
    job = _job(case / "dicom", tmp_path / "out", openpose_json=str(tmp_path / "points"))
    gait.build_app(job).run()
    assert _result(job)["measurements"]["cadence"]["value"] == pytest.approx(
        _result(analysed)["measurements"]["cadence"]["value"], abs=3
    )
    assert any("OpenPose" in text for text in _texts(_objects(job)["report"]))


def test_a_stream_that_breaks_off_is_refused(case, tmp_path):
    dataset = dcmread(case / "dicom" / "walk.dcm")
    stream = read_video(case / "dicom" / "walk.dcm").stream
    from operators.video.encapsulate import encapsulated

    dataset.PixelData = encapsulated(stream[: len(stream) // 3])
    folder = tmp_path / "in"
    folder.mkdir()
    dataset.save_as(folder / "cut.dcm")
    job = _job(folder, tmp_path / "out")
    with pytest.raises(Refused):
        gait.build_app(job).run()
    assert not (job.output_dir / "result.json").exists()


def test_a_clip_of_two_seconds_is_refused_by_its_header(tmp_path):
    short = simulate(SEED)
    stream, facts = write_h264(list(short.frames())[:40], Fraction(30))
    instance = header_of(short)
    put_video(instance, stream, facts)
    instance.AcquisitionContextSequence = acquisition_context(view=short.shot.camera.view)
    folder = tmp_path / "in"
    folder.mkdir()
    instance.save_as(folder / "short.dcm", enforce_file_format=True)
    with pytest.raises(Refused, match="3 s"):
        _job(folder, tmp_path / "out")


def test_a_video_of_something_else_is_not_for_this_app(case, tmp_path):
    dataset = dcmread(case / "dicom" / "walk.dcm")
    dataset.AcquisitionContextSequence = []
    dataset.SeriesDescription, dataset.StudyDescription = "Hand movements", "Neurology"
    folder = tmp_path / "in"
    folder.mkdir()
    dataset.save_as(folder / "other.dcm")
    with pytest.raises(Refused):
        _job(folder, tmp_path / "out")


def test_the_manifest_names_the_bundle_that_is_there():
    manifest = load_manifest(APP_DIR / "app.toml")
    assert manifest.model is not None
    assert manifest.model.digest == bundle_digest(APP_DIR / manifest.model.bundle)


@pytest.fixture(scope="module")
def real_walk(tmp_path_factory) -> AnalysisJob:
    """The analysis of the real video, coded anew as H.264."""
    beside = APP_DIR.parents[2] / "shared" / "data"
    shared_data = Path(os.environ.get("DICOM_NODE_SHARED_DATA", beside))
    stream, facts = write_h264(
        decoded((shared_data / "real_gait_video" / "demo.mp4").read_bytes()), Fraction(30)
    )
    instance = header_of(simulate(SEED))
    instance.PatientName, instance.PatientID = "REAL^WALK", "REAL-WALK"
    instance.ImageComments = "A real walk outdoors"
    instance.RecognizableVisualFeatures = "YES"
    put_video(instance, stream, facts)
    instance.AcquisitionContextSequence = acquisition_context(view="sagittal", task="walk")
    folder = tmp_path_factory.mktemp("real")
    instance.save_as(folder / "walk.dcm", enforce_file_format=True)
    job = _job(folder, tmp_path_factory.mktemp("real_out"))
    gait.build_app(job).run()
    return job


def test_cadence_of_a_real_walk_agrees_with_a_count_by_eye(real_walk):
    steps = len(EYE_FRAMES) - 1
    by_eye = 60 * steps / ((EYE_FRAMES[-1] - EYE_FRAMES[0]) / 30)
    found = _result(real_walk)["measurements"]
    assert by_eye == pytest.approx(96.9, abs=0.1)
    assert found["cadence"]["value"] == pytest.approx(by_eye, abs=2)
    assert found["tracked"]["value"] > 90


def test_heel_strikes_of_a_real_walk_are_where_the_eye_sees_them(real_walk):
    text = next(t for t in _texts(_objects(real_walk)["report"]) if t.startswith("Heel strikes"))
    frames = sorted(int(word.strip(",;.")) - 1 for word in text.split() if word.strip(",;.").isdigit())
    assert len(frames) >= 6
    assert all(min(abs(frame - eye) for eye in EYE_FRAMES) <= 3 for frame in frames)


def test_the_report_of_a_real_walk_says_what_the_model_learned_from(real_walk):
    texts = _texts(_objects(real_walk)["report"])
    assert any("learned from synthetic walkers only" in text for text in texts)
    assert any("Another person" in text for text in texts)
    assert any("synthetic walkers" in warning for warning in _result(real_walk)["warnings"])


def test_key_points_can_be_read_without_this_project(analysed):
    raw = (analysed.output_dir / "key_points.npz").read_bytes()
    with np.load(io.BytesIO(raw), allow_pickle=False) as saved:
        assert {"points", "frame_rate", "order", "size", "estimator"} <= set(saved.files)
