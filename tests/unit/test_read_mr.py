"""MR slices become one volume in any plane, or are refused with the attribute at fault."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from operators.errors import Refused
from operators.read.mr import read_mr_stack

SAGITTAL = [0, 1, 0, 0, 0, -1]
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


@pytest.fixture
def signal_zyx():
    return np.random.default_rng(0).integers(0, 4000, (7, 20, 24)).astype(np.uint16)


@pytest.fixture
def write(tmp_path, signal_zyx):
    """Writes sagittal slices 4.4 mm apart, from the patient's left to the right."""

    def written(changed=None, **values):
        paths = []
        for z, plane in enumerate(signal_zyx):
            dataset = Dataset()
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, f"1.2.3.{z + 1}"
            dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.4", "1.2.5"
            dataset.Modality, dataset.SeriesDescription = "MR", "SAG"
            dataset.ScanningSequence, dataset.RepetitionTime, dataset.EchoTime = "SE", 550, 11
            dataset.ImageOrientationPatient = SAGITTAL
            dataset.ImagePositionPatient = [13.2 - 4.4 * z, -100.0, 50.0]
            dataset.PixelSpacing = [0.7, 0.8]
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.Rows, dataset.Columns = plane.shape
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
            dataset.PixelRepresentation = 0
            dataset.PixelData = plane.tobytes()
            dataset["PixelData"].VR = "OW"
            if changed is None or z in changed:
                for keyword, value in values.items():
                    setattr(dataset, keyword, value)
            paths.append(tmp_path / f"{z}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
        return paths

    return written


def test_slices_in_any_order_become_the_volume(write, signal_zyx):
    volume = read_mr_stack(write()[::-1])
    assert np.array_equal(volume.signal_zyx, signal_zyx)
    assert volume.geometry.spacing_mm_zyx == pytest.approx((4.4, 0.7, 0.8))
    assert volume.geometry.position_mm_lps((0, 0, 0)).tolist() == pytest.approx([13.2, -100.0, 50.0])
    assert volume.geometry.position_mm_lps((6, 19, 0)).tolist() == pytest.approx([-13.2, -100.0, 36.7])
    assert (volume.plane, volume.weighting) == ("sagittal", "T1")
    assert [one.SOPInstanceUID for one in volume.headers] == [f"1.2.3.{z}" for z in range(1, 8)]
    assert all("PixelData" not in one for one in volume.headers)


def test_the_rescale_of_each_slice_is_applied(write, signal_zyx):
    volume = read_mr_stack(write({2}, RescaleSlope=2.5, RescaleIntercept=10))
    assert np.allclose(volume.signal_zyx[2], signal_zyx[2] * 2.5 + 10)
    assert np.array_equal(volume.signal_zyx[3], signal_zyx[3])


def test_a_rescale_that_is_no_number_is_refused_and_not_taken_as_one(write):
    paths = write()
    dataset = dcmread(paths[3])
    dataset[Tag("RescaleSlope")] = RawDataElement(Tag("RescaleSlope"), "DS", 4, b"2,5 ", 0, False, True)
    dataset.save_as(paths[3])
    with pytest.raises(Refused) as refused:
        read_mr_stack(paths)
    assert refused.value.attribute == "RescaleSlope"


def test_the_weighting_is_told_by_the_inversion(write):
    paths = write(ScanningSequence=["SE", "IR"], InversionTime=170, RepetitionTime=4000, EchoTime=50)
    assert read_mr_stack(paths).weighting == "STIR"


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_missing_slice_is_refused(write, missing):
    paths = write()
    with pytest.raises(Refused, match="missing or repeated") as refused:
        read_mr_stack(paths[:missing] + paths[missing + 1 :])
    assert refused.value.attribute == "ImagePositionPatient"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [0, 0.98, -0.199, 0, -0.199, -0.98]),
        ("PixelSpacing", [0.7, 0.7]),
        ("FrameOfReferenceUID", "1.2.6"),
        ("SeriesInstanceUID", "1.2.6"),
        ("ImagePositionPatient", None),
        ("SOPClassUID", ENHANCED_MR),
        ("PixelData", b"\0\1"),
    ],
)
def test_a_slice_unlike_the_others_is_refused_naming_the_attribute(write, keyword, value):
    with pytest.raises(Refused) as refused:
        read_mr_stack(write({3}, **{keyword: value}))
    assert refused.value.attribute == keyword
    assert keyword in refused.value.reason


@pytest.mark.parametrize(
    ("keyword", "value"), [("EchoTime", 90), ("ImageType", ["ORIGINAL", "PRIMARY", "P"])]
)
def test_two_pictures_at_one_place_are_refused_by_what_tells_them_apart(write, keyword, value):
    second_at_the_same_place = {"ImagePositionPatient": [13.2, -100.0, 50.0], keyword: value}
    with pytest.raises(Refused, match="at the same place") as refused:
        read_mr_stack(write({1}, **second_at_the_same_place))
    assert refused.value.attribute == keyword


def test_an_echo_time_that_varies_from_place_to_place_is_taken(write, signal_zyx):
    assert np.array_equal(read_mr_stack(write({2}, EchoTime=11.02)).signal_zyx, signal_zyx)


def test_a_stack_without_any_contrast_is_refused(write, signal_zyx):
    signal_zyx[:] = 5
    with pytest.raises(Refused, match="constant"):
        read_mr_stack(write())


def test_one_slice_is_no_volume(write):
    with pytest.raises(Refused, match="MR: a volume needs at least 2 slices"):
        read_mr_stack(write()[:1])


def test_the_real_shoulder_is_read(shared_data):
    volume = read_mr_stack(sorted((shared_data / "real_mr_shoulder").glob("MR_T1_image*.dcm")))
    assert volume.geometry.shape_zyx == (28, 79, 77)
    assert volume.geometry.spacing_mm_zyx[0] == pytest.approx(3.27, abs=1e-3)
    assert (volume.plane, volume.weighting) == ("axial", "T1")
    assert volume.signal_zyx.max() > 500


def test_the_structure_set_beside_the_real_shoulder_is_no_slice(shared_data):
    with pytest.raises(Refused) as refused:
        read_mr_stack(sorted((shared_data / "real_mr_shoulder").glob("*.dcm")))
    assert refused.value.attribute == "SOPClassUID"
