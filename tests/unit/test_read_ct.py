"""CT slices become one volume, or are refused with the attribute at fault."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.read.ct import read_ct_volume

GRID = VolumeGeometry((12, 20, 24), (2.5, 1.0, 1.5), (-10.0, 5.0, 30.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))


@pytest.fixture
def hu_zyx():
    return np.rint(np.random.default_rng(0).normal(0, 300, GRID.shape_zyx)).clip(-1024, 3071)


@pytest.fixture
def files(tmp_path, hu_zyx):
    study = CtPhantomStudy(kind="TEST", seed=1, station="A", body_part="CHEST", description="test")
    return write_ct_series(tmp_path / "ct", hu_zyx, GRID, study)


def _change(path, **values):
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_slices_in_any_order_become_the_volume_that_was_written(files, hu_zyx):
    volume = read_ct_volume(files[::-1])
    assert np.array_equal(volume.hu_zyx, hu_zyx)
    assert volume.geometry.is_same_as(GRID)
    assert [int(i.InstanceNumber) for i in volume.instances] == list(range(1, 13))


def test_a_missing_slice_is_refused(files):
    with pytest.raises(Refused, match="missing or repeated") as refused:
        read_ct_volume(files[:5] + files[6:])
    assert refused.value.attribute == "ImagePositionPatient"


def test_a_repeated_slice_is_refused(files):
    _change(files[4], ImagePositionPatient=[-10.0, 5.0, 30.0 + 2.5 * 5])
    with pytest.raises(Refused, match="missing or repeated"):
        read_ct_volume(files)


def test_a_tilted_gantry_is_refused(files):
    for z, path in enumerate(files):
        _change(path, ImagePositionPatient=[-10.0, 5.0 + 0.6 * z, 30.0 + 2.5 * z])
    with pytest.raises(Refused, match="tilted"):
        read_ct_volume(files)


def test_a_slice_that_is_shifted_sideways_is_refused(files):
    _change(files[5], ImagePositionPatient=[-9.0, 5.0, 30.0 + 2.5 * 5])
    with pytest.raises(Refused, match="shifted"):
        read_ct_volume(files)


def test_uneven_slices_are_refused(files):
    for z, path in enumerate(files):
        _change(path, ImagePositionPatient=[-10.0, 5.0, 30.0 + 2.5 * z + (0.4 if z > 5 else 0.0)])
    with pytest.raises(Refused, match="even distance"):
        read_ct_volume(files)


def test_positions_rounded_by_the_scanner_are_taken(files, hu_zyx):
    for z, path in enumerate(files):
        _change(path, ImagePositionPatient=[-10.0, 5.0, round(30.0 + 0.625 * z, 1)])
    volume = read_ct_volume(files)
    assert volume.geometry.spacing_mm_zyx[0] == pytest.approx(0.625, abs=0.01)
    assert np.array_equal(volume.hu_zyx, hu_zyx)


def test_feet_first_slices_are_where_they_are_in_the_patient(files, hu_zyx):
    """Rows run to the right, slices to the feet: the array turns, the patient does not."""
    for z, path in enumerate(files):
        _change(
            path,
            PatientPosition="FFS",
            ImageOrientationPatient=[-1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[24.5, 5.0, 30.0 + 2.5 * z],
        )
    volume = read_ct_volume(files)
    assert volume.geometry.direction_lps_zyx == ((0, 0, -1), (0, 1, 0), (-1, 0, 0))
    assert np.array_equal(volume.hu_zyx, hu_zyx[::-1])
    assert volume.geometry.position_mm_lps((0, 0, 23)).tolist() == [-10.0, 5.0, 57.5]


def test_instances_are_headers_without_pixels(files):
    assert all("PixelData" not in one for one in read_ct_volume(files).instances)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1]),
        ("PixelSpacing", [2.0, 2.0]),
        ("FrameOfReferenceUID", "1.2.3"),
        ("SeriesInstanceUID", "1.2.3"),
        ("RescaleSlope", None),
        ("ImagePositionPatient", None),
    ],
)
def test_a_slice_unlike_the_others_is_refused_naming_the_attribute(files, keyword, value):
    _change(files[3], **{keyword: value})
    with pytest.raises(Refused) as refused:
        read_ct_volume(files)
    assert refused.value.attribute == keyword


def test_pixels_that_cannot_be_decoded_are_refused(files):
    _change(files[3], PixelData=b"\x00\x01")
    with pytest.raises(Refused) as refused:
        read_ct_volume(files)
    assert refused.value.attribute == "PixelData"


def test_a_file_that_is_no_dicom_is_refused(files):
    files[3].write_bytes(b"no DICOM")
    with pytest.raises(Refused, match="not a DICOM file"):
        read_ct_volume(files)


def test_one_slice_is_no_volume(files):
    with pytest.raises(Refused, match="at least 2"):
        read_ct_volume(files[:1])


def test_a_real_ct_is_read(shared_data):
    volume = read_ct_volume(sorted((shared_data / "real_ct_hip").glob("CT_image*.dcm")))
    assert volume.geometry.shape_zyx == (53, 155, 159)
    assert volume.geometry.spacing_mm_zyx[0] == pytest.approx(3.27)
    assert volume.hu_zyx.max() > 700


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "EDW", "HU_MOD", "US"])
def test_pixel_values_that_are_no_hounsfield_units_are_refused(files, unit):
    _change(files[3], RescaleType=unit)
    with pytest.raises(Refused, match=f"pixel values are {unit}") as refused:
        read_ct_volume(files)
    assert refused.value.attribute == "RescaleType"


def test_a_rescale_without_its_type_is_of_hounsfield_units(files, hu_zyx):
    for path in files:
        _change(path, RescaleType="")
    assert np.array_equal(read_ct_volume(files).hu_zyx, hu_zyx)


@pytest.mark.parametrize("hu", [3050, -1020])
def test_padding_is_no_metal_whatever_its_value(files, hu_zyx, hu):
    for path in files:
        dataset = dcmread(path)
        pixels = dataset.pixel_array.copy()
        stored = int((hu - dataset.RescaleIntercept) / dataset.RescaleSlope)
        pixels[:3] = stored
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "US" if dataset.PixelRepresentation == 0 else "SS", stored)
        dataset.save_as(path)
    found = read_ct_volume(files).hu_zyx
    assert (found[:, :3] == -2000).all()
    assert np.array_equal(found[:, 3:], hu_zyx[:, 3:])


def test_a_padding_value_that_tissue_has_too_is_not_believed(files, hu_zyx):
    for path in files:
        dataset = dcmread(path)
        stored = int((40 - dataset.RescaleIntercept) / dataset.RescaleSlope)
        dataset.add_new("PixelPaddingValue", "US" if dataset.PixelRepresentation == 0 else "SS", stored)
        dataset.save_as(path)
    assert np.array_equal(read_ct_volume(files).hu_zyx, hu_zyx)


def test_more_voxels_than_fit_into_memory_are_refused_before_they_are_read(files, monkeypatch):
    monkeypatch.setattr("operators.read.slices.MOST_VOXELS", 12 * 20 * 24 - 1)
    with pytest.raises(Refused, match="12 slices of 20 x 24") as refused:
        read_ct_volume(files)
    assert refused.value.attribute == "Rows"
