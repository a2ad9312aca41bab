"""Operators, paths through sequences, and sentences that say nothing of a patient."""

from __future__ import annotations

import itertools

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from operators.select.predicates import OPERATORS, Predicate


@pytest.fixture
def view(build):
    return build.series_of(build.spect())[0].views[0]


def predicate(**table):
    return Predicate.model_validate(table)


@pytest.mark.parametrize(
    ("table", "holds"),
    [
        ({"attribute": "Modality", "equals": "NM"}, True),
        ({"attribute": "Modality", "equals": "nm "}, True),
        ({"attribute": "Modality", "equals": "CT"}, False),
        ({"attribute": "Rows", "equals": 64}, True),
        ({"attribute": "Rows", "equals": "64"}, True),
        ({"attribute": "Modality", "one_of": ["CT", "NM"]}, True),
        ({"attribute": "ImageType", "contains": "RECON TOMO"}, True),
        ({"attribute": "ImageType", "contains": "RECON"}, False),
        ({"attribute": "ImageType", "index": 3, "equals": "RECON TOMO"}, True),
        ({"attribute": "ImageType", "index": 9, "equals": "RECON TOMO"}, False),
        ({"attribute": "ImageType", "index": 9, "present": False}, True),
        ({"attribute": "ImageType", "equals": "ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION"}, True),
        ({"attribute": "ImageType", "matches": "^ORIGINAL.*TOMO"}, True),
        ({"attribute": "PixelSpacing", "at_least": 4, "at_most": 6.6}, True),
        ({"attribute": "PixelSpacing", "at_least": 5}, False),
        ({"attribute": "SeriesDescription", "at_least": 5}, False),
        ({"attribute": "GantryDetectorTilt", "at_most": 5}, False),
        ({"attribute": "GantryDetectorTilt", "present": False}, True),
        ({"attribute": "DetectorInformationSequence", "present": True}, True),
        ({"attribute": "PixelData", "present": True}, True),
        ({"not": {"attribute": "Modality", "equals": "CT"}}, True),
        ({"all": [{"attribute": "Rows", "equals": 64}, {"attribute": "Columns", "equals": 65}]}, False),
        ({"any": [{"attribute": "Rows", "equals": 65}, {"attribute": "Columns", "equals": 64}]}, True),
        ({"attribute": "TransferSyntaxUID", "equals": "1.2.840.10008.1.2.1"}, True),
    ],
)
def test_operators(view, table, holds):
    assert predicate(**table).holds(view) is holds


def test_a_path_holds_when_any_of_its_items_fulfils_it(build):
    dataset = build.spect(
        RadiopharmaceuticalInformationSequence=Sequence([build.tracer("1", "Tc-99m"), build.tracer()])
    )
    view = build.series_of(dataset)[0].views[0]
    path = "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalCodeSequence.CodeValue"
    assert predicate(attribute=path, equals="395787009").holds(view)
    assert not predicate(attribute=path, equals="2").holds(view)


def test_a_retired_snomed_code_counts_as_its_successor(build):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "R-10206", "SRT"
    view = build.series_of(build.spect(ViewCodeSequence=Sequence([item])))[0].views[0]
    assert predicate(attribute="ViewCodeSequence.CodeValue", equals="399348003").holds(view)


def test_full_width_and_japanese_text_match(build):
    dataset = build.spect(
        RadiopharmaceuticalInformationSequence=Sequence([build.tracer("1", "ミオＭＩＢＧ")])
    )
    view = build.series_of(dataset)[0].views[0]
    path = "RadiopharmaceuticalInformationSequence.Radiopharmaceutical"
    assert predicate(attribute=path, matches="MIBG").holds(view)
    assert predicate(attribute=path, matches="ミオ").holds(view)


def test_a_sentence_names_the_attribute_its_value_and_the_need(view):
    assert predicate(attribute="Modality", equals="CT").explain(view) == "Modality is 'NM', 'CT' is needed"
    told = predicate(attribute="ImageType", index=3, one_of=["STATIC", "TOMO"]).explain(view)
    assert told == "ImageType value 3 is 'RECON TOMO', 'STATIC' or 'TOMO' is needed"
    told = predicate(attribute="@slice_count", at_least=40).explain(view)
    assert told == "the number of slices (NumberOfFrames) is 30, at least 40 is needed"
    assert predicate(attribute="KVP", at_most=1).explain(view) == "KVP is missing, at most 1 is needed"


def test_no_sentence_shows_what_could_identify_a_patient(view):
    values = {
        "PatientID": "SECRET-4711", "PatientName": "Yamada", "PatientBirthDate": "19500101",
        "SeriesDescription": "Yamada", "StudyInstanceUID": "1.2.3.1", "@series_text": "yamada",
    }  # fmt: skip
    asked = {
        "equals": "x",
        "one_of": ["x"],
        "contains": "x",
        "matches": "xxx",
        "at_least": 1e9,
        "at_most": -1,
    }
    for (attribute, value), (operator, operand) in itertools.product(values.items(), asked.items()):
        rule = predicate(attribute=attribute, **{operator: operand})
        negated = predicate(**{"not": {"attribute": attribute, "present": True}})
        for sentence in (rule.explain(view), rule.state(view), negated.explain(view)):
            assert value.lower() not in sentence.lower()


def test_a_predicate_and_its_negation_never_agree(view):
    operands = {
        "equals": "NM",
        "one_of": ["NM"],
        "contains": "NM",
        "matches": "N",
        "at_least": 1,
        "present": True,
    }
    for attribute, (operator, operand) in itertools.product(
        ["Modality", "Rows", "ImageType", "KVP", "@slice_count", "@view"], operands.items()
    ):
        table = {"attribute": attribute, operator: operand}
        assert predicate(**table).holds(view) is not predicate(**{"not": table}).holds(view)


def test_every_operator_is_tried_here():
    assert set(OPERATORS) == {"equals", "one_of", "contains", "matches", "at_least", "at_most", "present"}


def test_a_hostile_value_is_shown_short_and_printable(build):
    view = build.series_of(build.spect(Modality="\x1b[31m" + "A" * 500))[0].views[0]
    told = predicate(attribute="Modality", equals="NM").explain(view)
    assert "\x1b" not in told
    assert len(told) < 120
