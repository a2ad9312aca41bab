"""The SR follows TID 1500, refers to what it is about, and says what a reader must know."""

from __future__ import annotations

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from operators.encode import codes
from operators.encode.report import Group, Number, Quality, SegmentReference, TimePoint, build_report
from operators.encode.segmentation import Segment, build_segmentation

PROCEDURE = codes.private("MIBG_SCAN", "MIBG scintigraphy")
SEGMENTS = tuple(
    Segment(label=label, name=name, property_type=code)
    for label, name, code in (
        (1, "Heart", codes.HEART),
        (2, "L", codes.LUNG),
        (3, "R", codes.LUNG),
        (4, "Liver", codes.LIVER),
    )
)


@pytest.fixture
def segmentation(spect, labels_zyx, geometry, producer):
    return build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer)


@pytest.fixture
def groups(spect):
    heart = Group(
        tracking_id="Heart, early",
        finding=codes.HEART,
        category=codes.ANATOMICAL_STRUCTURE,
        site=codes.HEART,
        segment=SegmentReference(label=1),
        time=TimePoint(name="early", offset=20.5),
        numbers=(
            Number(name=codes.VOLUME, value=271.8281828, unit=codes.MILLILITRE, uncertainty=(9.0, 11.0)),
            Number(name=codes.NM_TOMOGRAPHIC_ACTIVITY, value=42.0, unit=codes.COUNTS, derivation=codes.MEAN),
        ),
        comments=("Faint heart.",),
    )
    study = Group(
        tracking_id="Uptake",
        finding=codes.private("MIBG_UPTAKE", "Cardiac MIBG uptake"),
        images=(spect,),
        numbers=(Number(name=codes.private("HMR_STD", "HMR"), value=2.1, unit=codes.RATIO),),
        qualities=(
            Quality(name=codes.private("AI_CLASS", "AI classification"), value=codes.private("LOW", "Low")),
        ),
    )
    return heart, study


@pytest.fixture
def report(groups, spect, producer, segmentation):
    return build_report(
        groups,
        [spect],
        producer,
        procedure=PROCEDURE,
        segmentations=[segmentation],
        warnings=["Late SPECT is missing."],
    )


def _texts(item: Dataset) -> list[tuple[str, str]]:
    found = []
    for child in item.get("ContentSequence", []):
        if child.ValueType == "TEXT":
            found.append((child.ConceptNameCodeSequence[0].CodeValue, child.TextValue))
        found += _texts(child)
    return found


def test_report_has_no_dciodvfy_error(report, dicom_errors):
    assert dicom_errors(report) == []


def test_report_reads_back_as_tid_1500_with_its_numbers(report, tmp_path, segmentation, producer):
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    read = hd.sr.srread(tmp_path / "sr.dcm")
    volumetric = read.content.get_volumetric_roi_measurement_groups()
    assert len(volumetric) == 1
    values = {m.name.value: (m.value, m.unit.value) for m in volumetric[0].get_measurements()}
    assert values["118565006"] == (271.8282, "cm3")
    assert values["110821"] == (42.0, "{counts}")
    segment = volumetric[0].referenced_segment
    assert segment.referenced_sop_instance_uid == segmentation.dataset.SOPInstanceUID
    assert volumetric[0].tracking_uid == producer.tracking_uid(report.StudyInstanceUID, "Heart, early")
    others = read.content.get_image_measurement_groups()
    assert [m.value for m in others[0].get_measurements()] == [2.1]
    assert "LOW" in [e.value.value for e in others[0].get_qualitative_evaluations()]


def test_statement_warnings_and_comments_are_text_that_a_reader_meets(report, producer):
    texts = _texts(report)
    assert ("STATEMENT", producer.statement) in texts
    assert ("WARNING", "Late SPECT is missing.") in texts
    assert ("121106", "Faint heart.") in texts


def test_each_group_identifies_the_algorithm_and_its_model(report, producer):
    texts = _texts(report)
    assert texts.count(("111001", producer.app)) == 2
    assert texts.count(("111002", f"model digest: {producer.model_digest}")) == 2
    assert texts.count(("111002", "training data: SYNTHETIC")) == 2


def test_evidence_names_the_source_and_the_segmentation(report, spect, segmentation):
    named = {
        instance.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert named == {spect.SOPInstanceUID, segmentation.dataset.SOPInstanceUID}


def test_uncertainty_has_the_unit_of_its_measurement(report):
    units = []

    def collect(_, element):
        if element.keyword == "ConceptNameCodeSequence" and element.value[0].CodeValue == "371886008":
            units.append("found")

    report.walk(collect)
    assert units == ["found"]
    heart = report.ContentSequence[-2].ContentSequence[0]
    volume = next(i for i in heart.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "118565006")
    for bound in volume.ContentSequence:
        assert bound.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "cm3"


def test_a_person_still_has_to_verify_it(report):
    assert (report.VerificationFlag, report.PreliminaryFlag, report.CompletionFlag) == (
        "UNVERIFIED", "PRELIMINARY", "COMPLETE",
    )  # fmt: skip


def test_a_repeated_analysis_names_its_predecessor(
    groups, spect, producer, segmentation, report, dicom_errors
):
    import dataclasses

    later = dataclasses.replace(producer, input_digest="sha256:later")
    second = build_report(
        groups,
        [spect],
        later,
        procedure=PROCEDURE,
        segmentations=[segmentation],
        predecessors=[report],
        is_complete=False,
    )
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == report.SeriesInstanceUID
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == report.SOPInstanceUID
    assert second.SOPInstanceUID != report.SOPInstanceUID
    assert second.CompletionFlag == "PARTIAL"
    assert dicom_errors(second) == []


def test_procedure_and_request_of_the_study_are_kept(groups, spect, producer, segmentation):
    procedure, request = Dataset(), Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = (
        "J123",
        "JJ1017",
        "心筋MIBG",
    )
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
    spect.ProcedureCodeSequence, spect.RequestAttributesSequence = [procedure], [request]
    report = build_report(groups, [spect], producer, procedure=PROCEDURE, segmentations=[segmentation])
    reported = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121058")
    assert reported.ConceptCodeSequence[0].CodeValue == "J123"
    assert report.ReferencedRequestSequence[0].RequestedProcedureID == "RP1"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_an_error(spect, producer, value):
    group = Group(
        tracking_id="a",
        finding=codes.HEART,
        numbers=(Number(name=codes.VOLUME, value=value, unit=codes.MILLILITRE),),
    )
    with pytest.raises(ValueError, match="leave out"):
        build_report([group], [spect], producer, procedure=PROCEDURE)


def test_a_segment_that_is_not_there_is_an_error(groups, spect, producer):
    with pytest.raises(ValueError, match="no segmentation has the role"):
        build_report(groups, [spect], producer, procedure=PROCEDURE)


def test_an_unknown_language_is_an_error(groups, spect, producer, segmentation):
    with pytest.raises(ValueError, match="en, ja"):
        build_report(
            groups, [spect], producer, procedure=PROCEDURE, segmentations=[segmentation], language="xx"
        )


def test_the_same_analysis_makes_the_same_report(groups, spect, producer, segmentation, report, tmp_path):
    again = build_report(
        groups,
        [spect],
        producer,
        procedure=PROCEDURE,
        segmentations=[segmentation],
        warnings=["Late SPECT is missing."],
    )
    for name, dataset in (("a", report), ("b", again)):
        dataset.save_as(tmp_path / name, enforce_file_format=True)
    assert dcmread(tmp_path / "a") == dcmread(tmp_path / "b")


def test_a_muscle_has_its_codes_in_every_scheme_and_merged_ones_all_their_sites(
    spect, producer, dicom_errors
):
    fma, sct = Code("22314", "FMA", "Gluteus maximus"), Code("206007", "SCT", "Gluteus maximus muscle")
    volume = Number(name=codes.VOLUME, value=873.0, unit=codes.MILLILITRE)
    single = Group(
        tracking_id="Gluteus maximus, right",
        finding=fma,
        finding_equivalents=(sct,),
        site=fma,
        site_equivalents=(sct,),
        laterality=codes.RIGHT,
        numbers=(volume,),
    )
    merged = Group(
        tracking_id="Vasti, right",
        finding=codes.private("VASTUS_LAT_INT", "Vastus lateralis and vastus intermedius"),
        site=Code("22431", "FMA", "Vastus lateralis"),
        further_sites=(Code("22433", "FMA", "Vastus intermedius"),),
        laterality=codes.RIGHT,
        numbers=(volume,),
    )
    report = build_report([single, merged], [spect], producer, procedure=PROCEDURE)
    assert dicom_errors(report) == []
    groups = report.ContentSequence[-2].ContentSequence
    found = {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0]
        for item in groups[0].ContentSequence
        if item.ValueType == "CODE"
    }
    for concept in ("121071", "363698007"):
        assert found[concept].CodeValue == "22314"
        assert found[concept].EquivalentCodeSequence[0].CodeValue == "206007"
    sites = [
        item
        for item in groups[1].ContentSequence
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeValue == "363698007"
    ]
    assert [item.ConceptCodeSequence[0].CodeValue for item in sites] == ["22431", "22433"]
    assert all(item.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning == "Right" for item in sites)
