"""Reading of NM instances: geometry, timing, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.phantom.nm_writer import PhantomStudy, Shot, write_static, write_tomogram
from operators.read.nm import read_nm_planar, read_nm_volume

INJECTED = datetime.fromisoformat("2024-05-01T09:00:00")
STUDY = PhantomStudy(
    seed=7,
    kind="TEST",
    sex="F",
    age_years=60,
    weight_kg=55.0,
    injected=INJECTED,
    activity_mbq=111.0,
    description="test",
    station="UNIT",
)
SHOT = Shot(
    name="early",
    number=1,
    description="MIBG SPECT early",
    acquired=datetime.fromisoformat("2024-05-01T09:20:00"),
    frame_duration_s=30.0,
    views=60,
    collimator_name="LEHR",
    orbit_mm=220.0,
)
UPWARDS = VolumeGeometry(
    (20, 40, 48), (5.0, 4.0, 4.0), (-90.0, -70.0, -30.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
)


def counts_with_a_spot() -> np.ndarray:
    volume = np.random.default_rng(0).uniform(5, 20, UPWARDS.shape_zyx).astype(np.float32)
    volume[3, 10, 20] = 200
    return volume


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    path = tmp_path / "early.dcm"
    write_tomogram(path, counts_with_a_spot(), UPWARDS, STUDY, SHOT, method="OSEM")
    return path


def changed(path: Path, change: Callable[[Dataset], None]) -> Path:
    instance = pydicom.dcmread(path)
    change(instance)
    instance.save_as(path)
    return path


def test_what_was_written_is_read(tomogram: Path) -> None:
    volume = read_nm_volume([tomogram])
    assert volume.geometry.is_same_as(UPWARDS)
    np.testing.assert_allclose(volume.counts_zyx, counts_with_a_spot(), atol=0.01)
    assert volume.minutes_after_injection == 20
    assert volume.administered_activity_mbq == 111
    assert volume.patient_weight_kg == 55
    assert volume.collimator_name == "LEHR"
    assert volume.acquisition_duration_s == 1800
    assert volume.source_frames[4] == (str(volume.instances[0].SOPInstanceUID), 5)


def test_head_first_slices_are_the_same_anatomy(tomogram: Path, tmp_path: Path) -> None:
    """The same volume stored the other way round, with a negative spacing."""
    far = UPWARDS.position_mm_lps((UPWARDS.shape_zyx[0] - 1, 0, 0))
    downwards = VolumeGeometry(
        UPWARDS.shape_zyx, UPWARDS.spacing_mm_zyx, tuple(far), ((0, 0, -1), (0, 1, 0), (1, 0, 0))
    )
    other = tmp_path / "flipped.dcm"
    write_tomogram(other, counts_with_a_spot()[::-1].copy(), downwards, STUDY, SHOT, method="OSEM")
    assert float(pydicom.dcmread(other).SpacingBetweenSlices) < 0
    places = []
    for path in (tomogram, other):
        volume = read_nm_volume([path])
        peak = np.unravel_index(int(volume.counts_zyx.argmax()), volume.counts_zyx.shape)
        places.append(volume.geometry.position_mm_lps(peak))
    np.testing.assert_allclose(places[0], places[1], atol=1e-3)


def as_single_frames(path: Path, folder: Path) -> list[Path]:
    source = pydicom.dcmread(path)
    pixels = source.pixel_array
    origin = np.array(source.DetectorInformationSequence[0].ImagePositionPatient, dtype=float)
    out = []
    for i, frame in enumerate(pixels):
        single = pydicom.dcmread(path)
        single.SOPInstanceUID = f"1.2.3.{i + 1}"
        single.file_meta.MediaStorageSOPInstanceUID = single.SOPInstanceUID
        single.NumberOfFrames = 1
        del single.SliceVector, single.NumberOfSlices, single.FrameIncrementPointer
        single.DetectorInformationSequence[0].ImagePositionPatient = list(origin + np.array([0, 0, 5.0 * i]))
        single.PixelData = frame.tobytes()
        # Names in another order than the slices.
        out.append(folder / f"{(i * 7) % 20:02d}.dcm")
        single.save_as(out[-1])
    return out


def test_a_series_split_into_slices_is_put_together(tomogram: Path, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    volume = read_nm_volume(as_single_frames(tomogram, tmp_path / "split"))
    assert volume.geometry.is_same_as(UPWARDS)
    np.testing.assert_allclose(volume.counts_zyx, counts_with_a_spot(), atol=0.01)
    assert volume.source_frames[2] == ("1.2.3.3", 1)


def test_a_split_series_with_a_gap_is_refused(tomogram: Path, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    files = as_single_frames(tomogram, tmp_path / "split")
    with pytest.raises(Refused, match="evenly spaced") as refused:
        read_nm_volume(files[:8] + files[9:])
    assert refused.value.attribute == "ImagePositionPatient"


def set_pixels(value: int) -> Callable[[Dataset], None]:
    def change(instance: Dataset) -> None:
        instance.PixelData = np.full(instance.pixel_array.shape, value, dtype="<u2").tobytes()

    return change


def truncate(instance: Dataset) -> None:
    instance.PixelData = instance.PixelData[:1000]


def drop_frames(instance: Dataset) -> None:
    instance.PixelData = instance.pixel_array[:-3].tobytes()
    instance.NumberOfFrames = 17


def make_negative(instance: Dataset) -> None:
    instance.PixelRepresentation = 1
    instance.PixelData = (
        np.where(np.indices(instance.pixel_array.shape)[2] % 2, -500, 400).astype("<i2").tobytes()
    )


def overflow(instance: Dataset) -> None:
    pixels = instance.pixel_array.astype("<u2")
    pixels[:, :10] = 65535
    instance.PixelData = pixels.tobytes()


def shrink(instance: Dataset) -> None:
    instance.Rows = instance.Columns = 1
    instance.PixelData = np.arange(20, dtype="<u2").tobytes()


def set_value(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda instance: setattr(instance, keyword, value)


def remove(keyword: str) -> Callable[[Dataset], None]:
    return lambda instance: delattr(instance, keyword)


def remove_position(instance: Dataset) -> None:
    del instance.DetectorInformationSequence[0].ImagePositionPatient


def skew(instance: Dataset) -> None:
    instance.DetectorInformationSequence[0].ImageOrientationPatient = [1, 0, 0, 0.7, 0.7, 0]


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (remove("PixelSpacing"), "PixelSpacing"),
        (set_value("PixelSpacing", [0, 4]), "PixelSpacing"),
        (remove("PixelData"), "PixelData"),
        (truncate, "PixelData"),
        (set_pixels(0), "PixelData"),
        (set_pixels(77), "PixelData"),
        (make_negative, "PixelData"),
        (overflow, "PixelData"),
        (shrink, "Rows"),
        (drop_frames, "NumberOfSlices"),
        (set_value("NumberOfSlices", 30), "NumberOfSlices"),
        (set_value("SliceVector", [1] * 20), "SliceVector"),
        (set_value("Modality", "PT"), "Modality"),
        (set_value("RescaleSlope", 0), "RescaleSlope"),
        (set_value("RescaleSlope", 1e12), "PixelData"),
        (set_value("SeriesInstanceUID", ""), "SeriesInstanceUID"),
        (remove_position, "DetectorInformationSequence.ImagePositionPatient"),
        (skew, "ImageOrientationPatient"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    tomogram: Path, change: Callable[[Dataset], None], attribute: str
) -> None:
    changed(tomogram, change)
    with pytest.raises(Refused) as refused:
        read_nm_volume([tomogram])
    assert refused.value.attribute == attribute


def test_a_file_that_is_not_dicom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.dcm"
    path.write_bytes(b"nothing like DICOM")
    with pytest.raises(Refused, match="cannot be read"):
        read_nm_volume([path])


def test_an_unknown_injection_time_stays_unknown(tomogram: Path) -> None:
    def change(instance: Dataset) -> None:
        item = instance.RadiopharmaceuticalInformationSequence[0]
        del item.RadiopharmaceuticalStartTime, item.RadiopharmaceuticalStartDateTime

    volume = read_nm_volume([changed(tomogram, change)])
    assert volume.minutes_after_injection is None


def test_a_time_without_date_before_midnight_is_of_the_day_before(tomogram: Path) -> None:
    def change(instance: Dataset) -> None:
        instance.AcquisitionTime = "001000"
        item = instance.RadiopharmaceuticalInformationSequence[0]
        del item.RadiopharmaceuticalStartDateTime
        item.RadiopharmaceuticalStartTime = "235000"

    assert read_nm_volume([changed(tomogram, change)]).minutes_after_injection == 20


def test_a_dose_in_becquerel_is_read_as_such_with_a_warning(tomogram: Path) -> None:
    def change(instance: Dataset) -> None:
        instance.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 1.11e8

    volume = read_nm_volume([changed(tomogram, change)])
    assert volume.administered_activity_mbq == pytest.approx(111)
    assert "Bq" in volume.warnings[0]


def test_a_planar_view_is_read(tmp_path: Path) -> None:
    path = tmp_path / "planar.dcm"
    picture = np.random.default_rng(1).uniform(0, 50, (64, 64)).astype(np.float32)
    write_static(path, picture, 4.0, STUDY, SHOT)
    view = read_nm_planar([path])
    np.testing.assert_allclose(view.counts_yx, picture, atol=0.01)
    assert view.spacing_mm_yx == (4.0, 4.0)
    assert view.collimator_name == "LEHR"


def test_real_bone_scintigraphy_is_read_or_refused_with_a_reason(shared_data: Path) -> None:
    """Real instances of another kind never raise anything but a refusal."""
    files = [
        path
        for path in sorted((shared_data / "real_cr_nm").rglob("*"))
        if path.is_file() and "NM" in path.name.upper()
    ]
    assert files
    for path in files:
        try:
            read_nm_planar([path])
        except Refused as refused:
            assert refused.attribute  # noqa: PT017 - either outcome is right, silence is not
