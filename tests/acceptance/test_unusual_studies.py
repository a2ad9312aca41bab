"""Studies at the edge: written another way they are analysed, wrong ones refused with the attribute."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.acceptance.node_process import DICOM_NODE


def run(study: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DICOM_NODE, "run", "mibg_spect", study, "--output", output],
        capture_output=True,
        text=True,
        check=False,
    )


def with_slope_nan(early: Dataset) -> None:
    early.add_new("RescaleIntercept", "DS", "0")
    early.add_new("RescaleSlope", "DS", "nan")


def with_iodine_131(early: Dataset) -> None:
    code = early.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "72454001", "^131^Iodine"


def with_ioflupane(early: Dataset) -> None:
    code = early.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "429296007", "Ioflupane I-123"


def with_one_pixel(early: Dataset) -> None:
    early.Rows = early.Columns = 1
    early.PixelData = b"\0\0" * int(early.NumberOfFrames)


def without_patient(early: Dataset) -> None:
    early.PatientID = ""


def without_counts(early: Dataset) -> None:
    early.PixelData = bytes(len(early.PixelData))


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (with_slope_nan, "RescaleSlope"),
        (with_iodine_131, "RadionuclideCodeSequence"),
        (with_ioflupane, "RadiopharmaceuticalCodeSequence"),
        (with_one_pixel, "Rows"),
        (without_patient, "PatientID"),
        (without_counts, "PixelData"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_a_wrong_study_is_refused_by_attribute(
    change: Callable[[Dataset], None], attribute: str, mibg_study: Path, tmp_path: Path
) -> None:
    early = dcmread(mibg_study / "early.dcm")
    change(early)
    study = tmp_path / "study"
    study.mkdir()
    early.save_as(study / "early.dcm")
    done = run(study, tmp_path / "out")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert attribute in done.stderr
    assert "Traceback" not in done.stderr


def test_frames_in_reverse_order_are_the_same_volume(mibg_study: Path, tmp_path: Path) -> None:
    early = dcmread(mibg_study / "early.dcm")
    frames = early.pixel_array[::-1]
    early.PixelData = np.ascontiguousarray(frames).tobytes()
    early.SliceVector = list(range(len(frames), 0, -1))
    study = tmp_path / "study"
    study.mkdir()
    early.save_as(study / "early.dcm")
    done = run(study, tmp_path / "reversed")
    assert done.returncode == 0, done.stderr
    plain = tmp_path / "plain"
    plain.mkdir()
    dcmread(mibg_study / "early.dcm").save_as(plain / "early.dcm")
    assert done.stdout.splitlines()[0] == run(plain, tmp_path / "out").stdout.splitlines()[0]


def test_one_object_per_slice_is_a_volume_too(mibg_study: Path, tmp_path: Path) -> None:
    early = dcmread(mibg_study / "early.dcm")
    frames = early.pixel_array
    detector = early.DetectorInformationSequence[0]
    origin = np.array(detector.ImagePositionPatient, dtype=float)
    axes = np.array(detector.ImageOrientationPatient, dtype=float)
    step = np.cross(axes[:3], axes[3:]) * float(early.SpacingBetweenSlices)
    study = tmp_path / "study"
    study.mkdir()
    for number, frame in enumerate(frames):
        one = dcmread(mibg_study / "early.dcm")
        one.SOPInstanceUID = generate_uid(entropy_srcs=[str(early.SOPInstanceUID), str(number)])
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.InstanceNumber = number + 1
        one.NumberOfFrames = one.NumberOfSlices = 1
        one.SliceVector = 1
        one.DetectorInformationSequence[0].ImagePositionPatient = [
            f"{value:.4f}" for value in origin + number * step
        ]
        one.PixelData = frame.tobytes()
        one.save_as(study / f"{number:03d}.dcm")
    done = run(study, tmp_path / "out")
    assert done.returncode == 0, done.stderr
