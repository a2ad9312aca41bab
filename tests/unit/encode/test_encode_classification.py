"""What a classifier says reads the same in every app's report."""

from __future__ import annotations

import copy

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from operators.encode import codes
from operators.encode.classification import Answer, classification_group, decision_quality
from operators.encode.marks import Box
from operators.encode.report import Region, build_report
from operators.measure.decision import Decision

NECK = Answer(
    key="neck",
    text="femoral neck fracture",
    code=codes.FEMORAL_NECK_FRACTURE,
    equivalents=(codes.FEMORAL_NECK_FRACTURE_SCT,),
)
TROCHANTERIC = Answer(key="trochanteric", text="trochanteric fracture", code=codes.PERTROCHANTERIC_FRACTURE)
NONE = Answer(key="none", text="no fracture", code=codes.NO_FRACTURE)
ANSWERS = (NECK, TROCHANTERIC, NONE)
FRACTURE = codes.private("HIP_FRACTURE", "Proximal femoral fracture")
BOX = Box(corners_yx=((10, 20), (30, 99)))


@pytest.fixture
def lateral(radiograph: Dataset) -> Dataset:
    image = copy.deepcopy(radiograph)
    image.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.2.9"
    return image


@pytest.fixture
def report(radiograph, lateral, producer):
    """A hip: what each view says, and what both say."""
    hip = {"site": codes.HIP_JOINT, "laterality": codes.RIGHT, "answers": ANSWERS, "finding": FRACTURE}
    groups = (
        classification_group(
            target="Right hip, AP",
            probabilities=(0.7, 0.2, 0.1),
            region=Region(image=radiograph, box=BOX),
            view=codes.ANTERO_POSTERIOR,
            **hip,
        ),
        classification_group(
            target="Right hip, lateral",
            probabilities=(0.9, 0.1, 0.0),
            region=Region(image=lateral, box=BOX),
            view=codes.LATERAL,
            **hip,
        ),
        classification_group(
            target="Right hip",
            probabilities=np.array([0.8, 0.15, 0.05], dtype=np.float32),
            decision=Decision(class_index=0),
            images=(radiograph, lateral),
            **hip,
        ),
    )
    return build_report(
        groups,
        [radiograph, lateral],
        producer,
        procedure=codes.private("HIP_XRAY", "Hip radiograph"),
    )


def _groups(report: Dataset) -> list[Dataset]:
    return [item for item in report.ContentSequence[-2].ContentSequence if item.ValueType == "CONTAINER"]


def _children(item: Dataset, value: str) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", ()) if child.ValueType == value]


def test_report_of_a_classifier_has_no_dciodvfy_error(report, dicom_errors):
    assert dicom_errors(report) == []


def test_each_class_has_a_probability_that_says_of_what(report):
    for group, expected in zip(
        _groups(report), ([0.7, 0.2, 0.1], [0.9, 0.1, 0], [0.8, 0.15, 0.05]), strict=True
    ):
        said = {}
        for number in _children(group, "NUM"):
            value = number.MeasuredValueSequence[0]
            assert number.ConceptNameCodeSequence[0].CodeValue == "122157"
            assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"
            (modifier,) = _children(number, "CODE")
            assert modifier.RelationshipType == "HAS CONCEPT MOD"
            assert modifier.ConceptNameCodeSequence[0].CodeValue == "121071"
            said[modifier.ConceptCodeSequence[0].CodeValue] = float(value.NumericValue)
        assert list(said) == ["S72.0", "S72.1", "NO_FRACTURE"]
        assert list(said.values()) == pytest.approx(expected, abs=1e-6)


def test_a_view_is_a_rectangle_of_its_image_cut_at_the_border(report, radiograph, lateral, tmp_path):
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    read = hd.sr.srread(tmp_path / "sr.dcm").content
    regions = [group.roi for group in read.get_planar_roi_measurement_groups()]
    for region, image in zip(regions, (radiograph, lateral), strict=True):
        assert region.value.tolist() == [[20, 10], [64, 10], [64, 30], [20, 30], [20, 10]]
        source = _children(region, "IMAGE")[0].ReferencedSOPSequence[0]
        assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_the_decision_is_of_the_hip_and_refers_to_both_views(report, radiograph, lateral):
    views, hip = _groups(report)[:2], _groups(report)[2]

    def decisions(group: Dataset) -> list[Dataset]:
        return [
            item.ConceptCodeSequence[0]
            for item in _children(group, "CODE")
            if item.ConceptNameCodeSequence[0].CodeMeaning == "AI classification"
        ]

    assert [decisions(view) for view in views] == [[], []]
    (decided,) = decisions(hip)
    assert (decided.CodeValue, decided.CodingSchemeDesignator) == ("S72.0", "I10")
    (equivalent,) = decided.EquivalentCodeSequence
    assert (equivalent.CodeValue, equivalent.CodingSchemeDesignator) == ("5913000", "SCT")
    images = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in _children(hip, "IMAGE")]
    assert images == [radiograph.SOPInstanceUID, lateral.SOPInstanceUID]


def test_each_view_is_named(report):
    named = [
        item.ConceptCodeSequence[0].CodeMeaning
        for group in _groups(report)
        for item in _children(group, "CODE")
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Image View"
    ]
    assert named == ["antero-posterior", "lateral"]


def test_what_cannot_be_decided_is_indeterminate_and_says_why():
    reason = "AP says no fracture (0.90), lateral says femoral neck fracture (0.95)"
    group = classification_group(
        target="Right hip",
        finding=FRACTURE,
        answers=ANSWERS,
        probabilities=(0.5, 0.0, 0.5),
        decision=Decision(class_index=None, reason=reason),
    )
    assert [quality.value for quality in group.qualities] == [codes.INDETERMINATE]
    assert group.comments == (f"{reason}.",)


@pytest.mark.parametrize(
    ("probabilities", "sentence"),
    [
        ((0.5, 0.5), "2 probabilities for 3"),
        ((0.5, 0.2, 0.2), "add up to 0.9"),
        ((1.2, -0.2, 0), "outside 0"),
    ],
)
def test_what_are_no_probabilities_of_the_classes_is_refused(probabilities, sentence):
    with pytest.raises(ValueError, match=sentence):
        classification_group(target="x", finding=FRACTURE, answers=ANSWERS, probabilities=probabilities)


def test_a_decision_for_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="class 3 was decided, there are 3"):
        decision_quality(ANSWERS, Decision(class_index=3))


def test_a_group_refers_to_images_or_to_a_region_of_one(radiograph):
    with pytest.raises(ValueError, match="not to both"):
        classification_group(
            target="x",
            finding=FRACTURE,
            answers=ANSWERS,
            probabilities=(1, 0, 0),
            images=(radiograph,),
            region=Region(image=radiograph, box=BOX),
        )


def test_there_is_a_code_for_each_vertebra_from_head_to_feet():
    levels = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    assert list(codes.VERTEBRAE) == levels
    assert len({code.value for code in codes.VERTEBRAE.values()}) == len(levels)


@pytest.mark.parametrize(
    "code",
    [*codes.VERTEBRAE.values(), codes.VERTEBRA, codes.HIP_JOINT, codes.PROXIMAL_FEMUR, codes.INDETERMINATE],
)
def test_snomed_codes_are_those_that_ps3_16_lists(code):
    meanings = [
        m for names in concepts["SCT"].values() for value, (m, _) in names.items() if value == code.value
    ]
    assert code.meaning in meanings
