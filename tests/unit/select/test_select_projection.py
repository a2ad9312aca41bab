"""View and side of a radiograph, as consoles and archives write them, Japanese ones among them."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from operators.read.projection import Side, View, side_contradiction, side_of, view_of


def code(value, scheme="SCT", **more):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "x"
    for keyword, nested in more.items():
        setattr(item, keyword, nested)
    return item


def described(text="", **values):
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesDescription = text
    with config.disable_value_validation():
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("text", "view", "side"),
    [
        ("股関節 正面", View.AP, None),
        ("右股関節軸位", View.LATERAL, Side.RIGHT),
        ("左股関節 ラウエンシュタイン", View.LATERAL, Side.LEFT),
        ("ﾗｳｴﾝ 左", View.LATERAL, Side.LEFT),
        ("両股関節正面", View.AP, Side.BOTH),
        ("左右股関節 正面", View.AP, Side.BOTH),
        ("頚椎 側面", View.LATERAL, None),
        ("ＨＩＰ ＡＰ", View.AP, None),
        ("HIP_AP_R", View.AP, Side.RIGHT),
        ("Rt. HIP_AXIAL", View.LATERAL, Side.RIGHT),
        ("PELVIS A-P", View.AP, None),
        ("Hip LAT L", View.LATERAL, Side.LEFT),
        ("L-HIP X-TABLE LATERAL", View.LATERAL, Side.LEFT),
        ("hip cross-table", View.LATERAL, None),
        ("chest p-a", View.PA, None),
        ("AP2", View.AP, None),
        ("BILAT HIPS FROG", View.LATERAL, Side.BOTH),
        ("hips R+L AP", View.AP, Side.BOTH),
        ("L-spine AP", View.AP, None),
        ("L/S LAT", View.LATERAL, None),
        ("L sp lat", View.LATERAL, None),
        ("R/O fracture AP", View.AP, None),
        ("hip AP + lateral", None, None),
        ("股関節2方向(正面・軸位)", None, None),
        ("側面 R→L", View.LATERAL, None),
        ("軸位 L->R", View.LATERAL, None),
        ("側面 右→左", View.LATERAL, None),
        ("右股関節 側面 R→L", View.LATERAL, Side.RIGHT),
        ("股関節 A→P", View.AP, None),
        ("chest P -> A", View.PA, None),
        ("axiolateral", View.LATERAL, None),
        ("Frogleg R", View.LATERAL, Side.RIGHT),
        ("frog-leg", View.LATERAL, None),
        ("Lowenstein", View.LATERAL, None),
        ("Löwenstein", View.LATERAL, None),
        ("股関節 開排位", View.LATERAL, None),
        ("左 杉岡法", View.LATERAL, Side.LEFT),
        ("HIP AXL", View.LATERAL, None),
        ("術前後 股関節", None, None),
        ("股関節 前後像", View.AP, None),
        ("正面(PA)", View.PA, None),
        ("正面(AP)", View.AP, None),
        ("正面 PA・側面", None, None),
        ("capital, lateralised pain, maple", None, None),
        ("", None, None),
    ],
)
def test_texts_of_consoles(text, view, side):
    assert (view_of(described(text)), side_of(described(text))) == (view, side)


def test_the_text_nearest_to_the_image_tells_where_that_of_the_series_names_two_views():
    both = {"text": "両股関節 正面・軸位", "StudyDescription": "hip 2 views"}
    assert view_of(described(**both)) is None
    assert view_of(described(**both, AcquisitionDeviceProcessingDescription="HIP AXIAL")) is View.LATERAL
    assert view_of(described(**both, ProtocolName="HIP AP")) is View.AP


def test_the_series_tells_before_the_study_does():
    dataset = described("右 股関節 軸位", StudyDescription="両股関節 正面")
    assert (view_of(dataset), side_of(dataset)) == (View.LATERAL, Side.RIGHT)


@pytest.mark.parametrize(
    ("position", "view"),
    [("AP", View.AP), ("ap ", View.AP), ("PA", View.PA), ("LL", View.LATERAL), ("RL", View.LATERAL),
     ("RLD", View.LATERAL), ("LAT", View.LATERAL), ("AXIAL", View.LATERAL), ("XYZ", None)],
)  # fmt: skip
def test_a_plate_with_a_view_position_only(position, view):
    assert view_of(described(ViewPosition=position)) is view


@pytest.mark.parametrize(
    ("item", "view"),
    [
        (code("399348003"), View.AP),
        (code("399067008"), View.LATERAL),
        (code("R-10206", "SRT"), View.AP),
        (code("399352003"), View.LATERAL),
        (code("272479007"), View.PA),
        (code("999", ViewModifierCodeSequence=Sequence([code("111069", "DCM")])), View.LATERAL),
        (code("399110001"), None),
    ],
)
def test_a_digital_radiograph_with_a_view_code(item, view):
    assert view_of(described(ViewCodeSequence=Sequence([item]))) is view


def test_a_code_goes_before_a_position_and_a_position_before_a_text():
    lateral = Sequence([code("399067008")])
    assert view_of(described("AP", ViewCodeSequence=lateral, ViewPosition="AP")) is View.LATERAL
    assert view_of(described("hip lateral", ViewPosition="AP")) is View.AP


def test_front_or_back_at_an_edge_of_the_image_is_a_view_from_the_side():
    assert view_of(described(PatientOrientation=["A", "F"])) is View.LATERAL
    assert view_of(described(PatientOrientation=["F", "AR"])) is View.LATERAL
    assert view_of(described("ラウエン", PatientOrientation=["L", "F"])) is View.LATERAL
    assert view_of(described(PatientOrientation=["L", "F"])) is None


@pytest.mark.parametrize(
    ("values", "side"),
    [
        ({"ImageLaterality": "L", "Laterality": "R"}, Side.LEFT),
        ({"Laterality": "R", "text": "右"}, Side.RIGHT),
        ({"Laterality": "R", "text": "両股関節"}, Side.RIGHT),
        ({"Laterality": "", "ImageLaterality": "B"}, Side.BOTH),
        ({"ImageLaterality": "U", "text": "左"}, Side.LEFT),
        ({"FrameLaterality": "R"}, Side.RIGHT),
        (
            {"AnatomicRegionSequence": Sequence(
                [code("24136001", AnatomicRegionModifierSequence=Sequence([code("24028007")]))]
            )},
            Side.RIGHT,
        ),
        (
            {"AnatomicRegionSequence": Sequence(
                [code("24136001", AnatomicRegionModifierSequence=Sequence([code("51440002")]))]
            )},
            Side.BOTH,
        ),
    ],
)  # fmt: skip
def test_the_side_by_attributes(values, side):
    assert side_of(described(**values)) is side


@pytest.mark.parametrize("keyword", ["StudyDescription", "PerformedProcedureStepDescription"])
def test_what_was_ordered_does_not_tell_the_side_of_a_picture(keyword):
    """The healthy side is exposed for comparison under the same order."""
    dataset = described("股関節 軸位", **{keyword: "右大腿骨頸部骨折疑い"})
    assert (side_of(dataset), side_contradiction(dataset)) == (None, "")
    assert side_of(described("股関節 軸位", **{keyword: "右"}, Laterality="L")) is Side.LEFT


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"Laterality": "R", "text": "左股関節 軸位"}, "Laterality says right, SeriesDescription says left"),
        (
            {"ImageLaterality": "L", "ProtocolName": "RT HIP"},
            "ImageLaterality says left, ProtocolName says right",
        ),
        (
            {"AnatomicRegionSequence": Sequence(
                [code("24136001", AnatomicRegionModifierSequence=Sequence([code("24028007")]))]
             ), "text": "HIP L"},
            "AnatomicRegionSequence says right, SeriesDescription says left",
        ),
    ],
)  # fmt: skip
def test_an_attribute_and_a_text_of_opposite_sides_tell_no_side_but_which_two_they_are(values, told):
    dataset = described(**values)
    assert (side_of(dataset), side_contradiction(dataset)) == (None, told)


def test_the_text_nearest_to_the_image_is_what_an_attribute_is_held_against():
    dataset = described("右股関節", AcquisitionDeviceProcessingDescription="HIP AXIAL L", Laterality="L")
    assert (side_of(dataset), side_contradiction(dataset)) == (Side.LEFT, "")


@pytest.mark.parametrize("character_set", [["", "ISO 2022 IR 87"], "ISO 2022 IR 87", None])
def test_japanese_of_iso_2022_is_read_also_where_the_file_does_not_declare_it(character_set):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    dataset.add_new("SOPInstanceUID", "UI", "1.2.3")
    raw = "左股関節 側面".encode("iso2022_jp")
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=False, implicit_vr=False, little_endian=True)
    element = b"\x08\x00\x3e\x10LO" + len(raw + b" " * (len(raw) % 2)).to_bytes(2, "little")
    file.write(element + raw + b" " * (len(raw) % 2))
    read = dcmread(BytesIO(file.getvalue()), force=True)
    assert (view_of(read), side_of(read)) == (View.LATERAL, Side.LEFT)
