"""The rules of hip_fracture as it ships, asked about radiographs as consoles describe them."""

from __future__ import annotations

import pytest

from dicom_node.catalog import SHIPPED_ROOT
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.manifest import load_manifest

CR = "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture(scope="module")
def app():
    return load_manifest(SHIPPED_ROOT / "hip_fracture" / "app.toml")


@pytest.fixture
def verdict_on(app, build):
    """Function: what becomes of a study of CR pictures, one for each set of attributes."""

    def chosen(*pictures):
        made = []
        for number, changes in enumerate(pictures, start=1):
            dataset = build.spect(
                **{
                    "SOPClassUID": CR,
                    "Modality": "CR",
                    "ImageType": ["ORIGINAL", "PRIMARY"],
                    "SOPInstanceUID": f"1.2.6.{number}",
                    "SeriesInstanceUID": "1.2.5.1",
                    "SeriesNumber": 1,
                    "InstanceNumber": number,
                    "BodyPartExamined": None,
                    "SeriesDescription": None,
                    "ViewPosition": "AP",
                    "ImagerPixelSpacing": [0.2, 0.2],
                    "BitsStored": 12,
                    "NumberOfFrames": None,
                    "NumberOfSlices": None,
                    "SliceVector": None,
                    "DetectorInformationSequence": None,
                    "RadiopharmaceuticalInformationSequence": None,
                }
                | changes
            )
            dataset.PixelData = bytes(2 * 64 * 64)
            made.append(dataset)
        return choose_inputs(app, build.series_of(*made))

    return chosen


@pytest.mark.parametrize(
    "part", ["HIP", "PELVIS", "R_HIP", "HIPJOINT", "PELVISLOWEXTREMT", "LEFT HIP", "股関節"]
)
def test_a_body_part_that_is_the_hip_is_taken(verdict_on, part):
    verdict = verdict_on({"BodyPartExamined": part})
    assert isinstance(verdict, Taken), verdict


@pytest.mark.parametrize(
    "text",
    ["HIP_AP_R", "Pelvis_AP", "右Hip正面", "股関節 正面", "両股関節", "大腿骨頸部 正面", "大腿骨頚部 正面",
     "大腿骨近位 AP", "転子部", "ＨＩＰ ＡＰ"],
)  # fmt: skip
@pytest.mark.parametrize("part", [None, "OTHER", "UNKNOWN", "LOWER_LIMB", "EXTREMITIES", "ABDOMEN", "FEMUR"])
def test_a_text_that_names_the_hip_is_believed_beside_a_body_part_that_says_nothing(verdict_on, text, part):
    verdict = verdict_on({"BodyPartExamined": part, "SeriesDescription": text})
    assert isinstance(verdict, Taken), verdict


@pytest.mark.parametrize(
    "keyword", ["AcquisitionDeviceProcessingDescription", "PerformedProcedureStepDescription", "ProtocolName"]
)
def test_the_hip_is_found_wherever_consoles_write_it(verdict_on, keyword):
    assert isinstance(verdict_on({keyword: "HIP JOINT AP"}), Taken)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (None, "頸部 正面"), (None, "頸部軟線 側面"), (None, "頚椎 正面"), (None, "ship AP"), (None, ""),
        ("KNEE", "hip and knee"), ("LSPINE", "腰椎 股関節"), ("CHEST", "hip"), ("C_SPINE", ""), ("NECK", ""),
        ("WRIST", "手関節"),
    ],
)  # fmt: skip
def test_another_part_of_the_body_is_not_for_this_app(verdict_on, part, text):
    verdict = verdict_on({"BodyPartExamined": part, "SeriesDescription": text or None})
    assert isinstance(verdict, NotForThisApp), verdict


def test_a_picture_of_another_part_under_an_order_that_names_the_hip_is_not_taken(verdict_on):
    order = {"StudyDescription": "股関節・膝関節"}
    verdict = verdict_on({"SeriesDescription": "膝関節 正面"} | order, {"SeriesDescription": "正面"} | order)
    assert isinstance(verdict, Taken), verdict
    assert [one.sop_instance_uid for one in verdict.inputs["radiographs"]] == ["1.2.6.2"]


@pytest.mark.parametrize("text", ["股関節 ギプス固定", "HIP_CAST", "右股シーネ"])
def test_hips_in_a_cast_are_refused(verdict_on, text):
    verdict = verdict_on({"BodyPartExamined": "HIP", "SeriesDescription": text})
    assert isinstance(verdict, Outside)
    assert "cast" in verdict.reason


@pytest.mark.parametrize(
    "values",
    [
        {"SeriesDescription": "股関節 ギプス除去後"},
        {"SeriesDescription": "股関節 ギプスなし"},
        {"SeriesDescription": "hip, cast off"},
        {"StudyDescription": "手関節ギプス・股関節 正面"},
        {"SeriesDescription": "forecast hip"},
    ],
)
def test_a_cast_that_is_off_or_elsewhere_refuses_no_hip(verdict_on, values):
    assert isinstance(verdict_on({"BodyPartExamined": "HIP"} | values), Taken)
