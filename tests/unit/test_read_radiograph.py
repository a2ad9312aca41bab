"""A radiograph is read with bone bright and in millimetres, or refused with the attribute at fault."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import compress
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from operators.errors import Refused
from operators.read.projection import Side, View
from operators.read.radiograph import read_radiograph
from tests.integration.orthanc import find_program

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def picture(rows=160, columns=144):
    """Air, a body and a bone in it, 12 bit, bone bright."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    body = 1500 * np.clip(1 - ((x - columns / 2) / (columns * 0.4)) ** 2, 0, None) ** 0.5
    bone = 1500.0 * (abs(x - columns / 2) < 10)
    return np.rint(500 + body + bone + 3 * (y % 5)).astype(np.uint16)


@pytest.fixture
def write(tmp_path):
    def written(pixels=None, **values):
        pixels = picture() if pixels is None else pixels
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CR, generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = generate_uid(), generate_uid()
        dataset.Modality, dataset.PatientID = "CR", "X"
        dataset.PixelSpacing = [0.2, 0.2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.PixelData = pixels.astype(np.uint16).tobytes()
        dataset["PixelData"].VR = "OW"
        syntax = values.pop("TransferSyntaxUID", None)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if syntax is not None:
            compress(dataset, syntax)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return path

    return written


def between(values, black, white):
    return np.clip((values.astype(float) - black) / (white - black), 0, 1)


# ------------------------------------------------------------------ real files


def test_the_real_hip_is_read_with_bone_bright(shared_data):
    hip = read_radiograph(shared_data / "real_cr_nm" / "RG2_J2KI")
    assert hip.pixels_yx.shape == (2140, 1760)
    assert hip.pixels_yx.dtype == np.float32
    shaft, air = hip.pixels_yx[1130:1150, 1240:1260], hip.pixels_yx[1700:1800, 600:700]
    assert shaft.mean() > air.mean() + 0.3
    assert hip.spacing_mm_yx == (0.2, 0.2)
    assert hip.is_magnified
    assert not hip.grey_is_suspect
    assert "PixelData" not in hip.header


def test_the_real_hip_in_jpeg_with_a_wrong_scan_header_is_the_same_picture(shared_data):
    folder = shared_data / "real_cr_nm"
    one, other = (read_radiograph(folder / name).pixels_yx for name in ("RG2_J2KI", "RG2_JPLY"))
    assert abs(one - other).mean() < 0.01  # both are lossy


@pytest.mark.parametrize("name", ["RG3_J2KI", "RG3_JPLY"])
def test_the_real_tibia_has_no_size_of_pixels_and_is_refused(shared_data, name):
    with pytest.raises(Refused, match="size of a pixel") as refused:
        read_radiograph(shared_data / "real_cr_nm" / name)
    assert refused.value.attribute == "ImagerPixelSpacing"


@pytest.mark.parametrize("name", ["RG3_J2KI", "RG3_JPLY"])
def test_the_real_tibia_of_monochrome1_is_read_with_bone_bright(shared_data, tmp_path, name):
    dataset = dcmread(shared_data / "real_cr_nm" / name)
    dataset.ImagerPixelSpacing = [0.2, 0.2]
    dataset.save_as(tmp_path / "tibia.dcm")
    tibia = read_radiograph(tmp_path / "tibia.dcm")
    cortex, air = tibia.pixels_yx[700:720, 820:830], tibia.pixels_yx[700:720, 480:520]
    assert cortex.mean() > air.mean() + 0.5
    assert (tibia.view, tibia.side) == (View.AP, Side.RIGHT)
    assert not tibia.grey_is_suspect


@pytest.mark.parametrize(
    ("name", "field"),
    [("RG2_J2KI", np.s_[80:-80, 300:1400]), ("RG3_J2KI", np.s_[80:-80, 540:1200]), ("RG3_J2KI", np.s_[:])],
)
def test_the_negative_of_a_real_picture_is_suspect_and_the_picture_is_not(shared_data, write, name, field):
    dataset = dcmread(shared_data / "real_cr_nm" / name)
    stored = dataset.pixel_array[field]
    right = dataset.PhotometricInterpretation
    wrong = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}[right]
    suspected = [
        read_radiograph(write(stored, PhotometricInterpretation=one)).grey_is_suspect
        for one in (right, wrong)
    ]
    assert suspected == [False, True]


def test_a_picture_without_background_is_never_suspect(shared_data, write):
    inside = dcmread(shared_data / "real_cr_nm" / "RG2_J2KI").pixel_array[600:1000, 700:1100]
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        assert not read_radiograph(write(inside, PhotometricInterpretation=kind)).grey_is_suspect


# ------------------------------------------------------------------ grey scale


def test_monochrome1_is_turned_so_that_bone_is_bright(write):
    upright = read_radiograph(write())
    turned = read_radiograph(write(4095 - picture(), PhotometricInterpretation="MONOCHROME1"))
    assert np.allclose(upright.pixels_yx, turned.pixels_yx, atol=1e-3)


def test_inverse_beside_monochrome1_turns_the_picture_once(write):
    path = write(4095 - picture(), PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.allclose(read_radiograph(path).pixels_yx, read_radiograph(write()).pixels_yx, atol=1e-3)


def test_inverse_beside_monochrome2_is_suspect(write):
    assert read_radiograph(write(PresentationLUTShape="INVERSE")).grey_is_suspect


def test_the_first_window_is_used_after_the_rescale(write):
    path = write(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=[2000, 9000], WindowWidth=[3000, 20000])
    expected = between(2.0 * picture() - 100, 2000 - 0.5 - 2999 / 2, 2000 - 0.5 + 2999 / 2)
    assert np.allclose(read_radiograph(path).pixels_yx, expected, atol=1e-5)


def test_a_linear_exact_window_and_a_sigmoid_follow_their_formulas(write):
    exact = write(WindowCenter=1500, WindowWidth=2000, VOILUTFunction="LINEAR_EXACT")
    assert np.allclose(read_radiograph(exact).pixels_yx, between(picture(), 500, 2500), atol=1e-5)
    bent = write(WindowCenter=1500, WindowWidth=2000, VOILUTFunction="SIGMOID")
    expected = 1 / (1 + np.exp(-4 * (picture() - 1500.0) / 2000))
    assert np.allclose(read_radiograph(bent).pixels_yx, expected, atol=1e-5)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 60000, "WindowWidth": 2},
                                    {"WindowCenter": 1500, "WindowWidth": 0}])  # fmt: skip
def test_without_a_window_that_shows_something_the_percentiles_do(write, window):
    shown = read_radiograph(write(**window)).pixels_yx
    assert np.allclose(shown, between(picture(), *np.percentile(picture(), (0.5, 99.5))), atol=1e-5)


def test_a_voi_lut_goes_before_a_window(write):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "US", [round(4095 * (v / 4095) ** 0.5) for v in range(4096)])
    path = write(VOILUTSequence=Sequence([table]), WindowCenter=1000, WindowWidth=50)
    assert np.allclose(read_radiograph(path).pixels_yx, (picture() / 4095.0) ** 0.5, atol=1e-3)


def test_a_look_up_table_that_is_cut_short_is_refused(write):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "US", [0, 1, 2])
    with pytest.raises(Refused) as refused:
        read_radiograph(write(VOILUTSequence=Sequence([table])))
    assert refused.value.attribute == "VOILUTSequence"


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_pictures_are_the_same(write, syntax):
    path = write(TransferSyntaxUID=syntax)
    assert np.array_equal(read_radiograph(path).pixels_yx, read_radiograph(write()).pixels_yx)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize(
    ("options", "syntax"),
    [
        (["--encode-lossless-sv1"], JPEGLosslessSV1),
        *((["--encode-lossless", "--selection-value", str(number)], JPEGLossless) for number in range(1, 8)),
    ],
)
def test_jpeg_lossless_of_another_program_is_the_same_pixel_by_pixel(write, tmp_path, options, syntax, bits):
    """How most archives keep radiographs; every predictor of ITU-T T.81 H.1.2.1."""
    pixels = (picture().astype(np.uint32) << 16 >> (28 - bits)).astype(np.uint16)
    plain = write(pixels, BitsStored=bits, HighBit=bits - 1)
    packed = tmp_path / "packed.dcm"
    command = [find_program("dcmcjpeg"), *options, str(plain), str(packed)]
    subprocess.run(command, check=True, capture_output=True)
    dataset = dcmread(packed)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(dataset.pixel_array, pixels)
    assert np.array_equal(read_radiograph(packed).pixels_yx, read_radiograph(plain).pixels_yx)


# -------------------------------------------------------------------- spacing


@pytest.mark.parametrize(
    ("values", "spacing_mm", "is_magnified"),
    [
        ({}, 0.2, True),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.15, 0.15]}, 0.15, True),
        ({"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25}, 0.16, False),
        ({"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 0}, 0.2, True),
        ({"PixelSpacing": [0.17, 0.17], "ImagerPixelSpacing": [0.2, 0.2]}, 0.17, False),
        ({"PixelSpacingCalibrationType": "FIDUCIAL"}, 0.2, False),
        ({"DistanceSourceToDetector": 1150, "DistanceSourceToPatient": 1000}, 0.2 / 1.15, False),
        ({"DistanceSourceToDetector": 1150, "DistanceSourceToPatient": 10}, 0.2, True),
        ({"DistanceSourceToDetector": 1100, "DistanceSourceToPatient": 1040}, 0.2, True),  # of the table
        ({"PixelSpacing": [0.2000001, 0.2], "ImagerPixelSpacing": [0.2, 0.2]}, 0.2, True),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": ""}, 0.2, True),
    ],
)  # fmt: skip
def test_the_size_of_pixels_is_that_in_the_patient_where_it_is_known(write, values, spacing_mm, is_magnified):
    found = read_radiograph(write(**values))
    assert found.spacing_mm_yx == pytest.approx((spacing_mm, spacing_mm))
    assert found.is_magnified is is_magnified


# ------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("values", "attribute"),
    [
        ({"PixelSpacing": None}, "ImagerPixelSpacing"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing"),
        ({"PixelSpacing": [25.4, 25.4]}, "PixelSpacing"),
        ({"ImagerPixelSpacing": [25.4, 25.4]}, "ImagerPixelSpacing"),
        ({"SOPClassUID": SECONDARY_CAPTURE}, "SOPClassUID"),
        ({"SOPClassUID": DX, "PresentationIntentType": "FOR PROCESSING"}, "PresentationIntentType"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation"),
        ({"BitsStored": 8, "HighBit": 7}, "BitsStored"),
        ({"NumberOfFrames": 2}, "NumberOfFrames"),
        ({"PixelData": b"\0\1"}, "PixelData"),
        ({"pixels": np.ones((1, 1))}, "Rows"),
        ({"pixels": np.full((200, 200), 7)}, "PixelData"),
    ],
)
def test_what_is_no_radiograph_is_refused_naming_the_attribute(write, values, attribute):
    with pytest.raises(Refused) as refused:
        read_radiograph(write(**values))
    assert refused.value.attribute == attribute
    assert attribute in refused.value.reason


@pytest.mark.parametrize(
    ("values", "attribute"),
    [
        ({"RescaleSlope": "", "RescaleIntercept": ""}, "RescaleSlope"),
        ({"RescaleSlope": "1", "RescaleIntercept": ""}, "RescaleIntercept"),
        ({"RescaleSlope": "1,5", "RescaleIntercept": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope"),
        ({"ImagerPixelSpacing": "0.2\\0.2", "PixelSpacing": "0,25\\0,25"}, "PixelSpacing"),
        ({"ImagerPixelSpacing": "0.2\\0.2", "PixelSpacing": "0.25\\"}, "PixelSpacing"),
        ({"ImagerPixelSpacing": "0.2"}, "ImagerPixelSpacing"),
        ({"WindowCenter": "2000", "WindowWidth": "wide"}, "WindowWidth"),
        ({"WindowCenter": "2,0\\1", "WindowWidth": "500\\400"}, "WindowCenter"),
        ({"NumberOfFrames": "one"}, "NumberOfFrames"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
def test_a_number_that_is_none_refuses_the_picture_and_names_the_attribute(write, values, attribute):
    """Archives hold them; the other pictures of the study are read."""
    path = write()
    with config.disable_value_validation():
        dataset = dcmread(path)
        for keyword, value in values.items():
            vr = {"NumberOfFrames": "IS"}.get(keyword, "DS")
            raw = value.encode() + b" " * (len(value) % 2)
            tag = Tag(keyword)
            dataset[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)
        dataset.save_as(path)
    with pytest.raises(Refused) as refused:
        read_radiograph(path)
    assert refused.value.attribute == attribute
    assert attribute in refused.value.reason


def test_a_file_that_is_no_dicom_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"no DICOM")
    with pytest.raises(Refused, match="cannot be read"):
        read_radiograph(tmp_path / "a")


def test_text_burned_into_the_picture_only_warns(write):
    assert "BurnedInAnnotation" in read_radiograph(write(BurnedInAnnotation="YES")).warnings[0]
    assert read_radiograph(write(BurnedInAnnotation="NO")).warnings == ()


def test_opposite_sides_of_tag_and_series_are_told(write):
    found = read_radiograph(write(Laterality="R", SeriesDescription="LT HIP LAT"))
    assert found.side is None
    assert found.side_contradiction == "Laterality says right, SeriesDescription says left"
    assert found.warnings == (f"{found.side_contradiction}: neither is believed",)
    assert read_radiograph(write(Laterality="R")).side_contradiction == ""


def test_a_digital_radiograph_tells_view_and_side_by_codes(write):
    view, side, region = Dataset(), Dataset(), Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399067008", "SCT", "lateral"
    side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = "7771000", "SCT", "Left"
    region.AnatomicRegionModifierSequence = Sequence([side])
    path = write(
        SOPClassUID=DX,
        PresentationIntentType="FOR PRESENTATION",
        ViewCodeSequence=Sequence([view]),
        AnatomicRegionSequence=Sequence([region]),
    )
    found = read_radiograph(path)
    assert (found.view, found.side) == (View.LATERAL, Side.LEFT)
