"""Faces in a real video are hidden before an object is made of it; nothing else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pydicom import dcmread

from dicom_node.cli import main
from tests.integration.orthanc import find_program
from tests.made_videos import decoded, make_video

HEAD = (1129, 552)  # of the woman who walks, (x, y) pixels, 3.0 s after the beginning
CUT_S, AT_FRAME = 2.5, 15


@pytest.fixture
def walk(tmp_path: Path, shared_data: Path) -> Path:
    """Half a second before and after the frame that is looked at."""
    video = tmp_path / "walk.mp4"
    source = shared_data / "real_gait_video" / "demo.mp4"
    command = [find_program("ffmpeg"), "-v", "error", "-i", str(source), "-ss", str(CUT_S), "-t", "1", "-an"]
    subprocess.run(
        [*command, "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", str(video)], check=True
    )
    return video


def test_the_face_of_who_walks_is_hidden_and_nothing_else(tmp_path: Path, walk: Path) -> None:
    output, stream = tmp_path / "o.dcm", tmp_path / "back.mp4"
    arguments = ["wrap-video", walk, "--patient-id", "1", "--view", "sagittal", "--output", output]
    done = CliRunner().invoke(main, [*map(str, arguments), "--blur-faces"])
    assert done.exit_code == 0, done.output
    assert "look at the video" in done.output
    CliRunner().invoke(main, ["unwrap-video", str(output), "--output", str(stream)])
    before, after = decoded(walk)[AT_FRAME].astype(int), decoded(stream)[AT_FRAME].astype(int)
    changed = np.abs(before - after).mean(axis=2)
    x, y = HEAD
    assert changed[y - 15 : y + 15, x - 15 : x + 15].mean() > 12
    assert changed[y + 100 :].mean() < 4  # legs and ground
    dataset = dcmread(output, stop_before_pixels=True)
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY"]
    assert "no person has checked" in dataset.DerivationDescription
    assert dataset.RecognizableVisualFeatures == "YES"


def test_a_video_without_any_face_is_refused_when_faces_are_to_be_hidden(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4", frames=10)
    arguments = [
        "wrap-video",
        video,
        "--patient-id",
        "1",
        "--view",
        "frontal",
        "--output",
        tmp_path / "o.dcm",
    ]
    done = CliRunner().invoke(main, [*map(str, arguments), "--blur-faces"])
    assert (done.exit_code, "no face was found" in done.output) == (3, True), done.output
    assert not (tmp_path / "o.dcm").exists()


def test_hiding_faces_alone_says_in_how_many_frames(tmp_path: Path, walk: Path) -> None:
    command = [sys.executable, "-m", "operators.command", "blur-faces", str(walk), str(tmp_path / "b.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('{"frames": 30, "frames_with_face": 30}')
