"""A valid result passes; each way of breaking it is caught and named."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage

from dicom_node.errors import BrokenPromise
from dicom_node.verify import OutputPromise, verify_results
from tests.made_results import (
    IDENTITY,
    OUTPUTS,
    SERIES_UID,
    STATEMENT,
    MadeResult,
    ct_slice,
    make_result,
    new_uid,
)


@pytest.fixture
def result(tmp_path: Path) -> MadeResult:
    return make_result(tmp_path)


def verify(result: MadeResult, **changes: Any) -> list[str]:
    arguments = {
        "study_instances": result.study_instances,
        "identity": IDENTITY,
        "outputs": OUTPUTS,
    } | changes
    outputs = arguments.pop("outputs")
    return [item.role for item in verify_results(result.directory, outputs, result.inputs, **arguments)]


def assert_broken(result: MadeResult, sentence: str, **changes: Any) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        verify(result, **changes)


def setting(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


# ------------------------------------------------------------------ what is in order


def test_a_complete_result_passes_and_is_listed_in_the_order_of_the_manifest(result: MadeResult) -> None:
    assert verify(result) == ["segmentation", "report", "key_image", "report_pdf"]


def test_a_deflated_segmentation_passes(tmp_path: Path) -> None:
    assert "segmentation" in verify(make_result(tmp_path, deflated=True))


def test_an_optional_object_may_be_missing(result: MadeResult) -> None:
    (result.directory / "report_pdf.dcm").unlink()
    result.edit_manifest(lambda manifest: manifest["objects"].pop())
    assert "report_pdf" not in verify(result)


def test_study_instances_may_be_a_function(result: MadeResult) -> None:
    assert verify(result, study_instances=lambda uid: uid in result.study_instances)


def test_a_known_predecessor_may_be_named(result: MadeResult) -> None:
    predecessor = new_uid()
    result.edit("report.dcm", lambda report: name_predecessor(report, predecessor))
    assert_broken(result, "PredecessorDocuments|ReferencedSOPSequence refers to")
    assert verify(result, predecessors={predecessor})


def name_predecessor(report: Dataset, uid: str) -> None:
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = report.SOPClassUID
    instance.ReferencedSOPInstanceUID = uid
    series.SeriesInstanceUID = new_uid()
    series.ReferencedSOPSequence = [instance]
    study.StudyInstanceUID = report.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    report.PredecessorDocumentsSequence = [study]


# ------------------------------------------------------------------ result.json and the promises


def test_a_missing_manifest_is_broken(result: MadeResult) -> None:
    (result.directory / "result.json").unlink()
    assert_broken(result, "without writing result.json")


def test_a_manifest_that_is_not_json_is_broken(result: MadeResult) -> None:
    (result.directory / "result.json").write_text("{", encoding="utf-8")
    assert_broken(result, r"result\.json")


@pytest.mark.parametrize("key", ["app", "app_version", "model_digest", "input_digest"])
def test_a_manifest_of_another_analysis_is_broken(result: MadeResult, key: str) -> None:
    result.edit_manifest(lambda manifest: manifest.update({key: "other"}))
    assert_broken(result, f"{key} is 'other'")


def test_a_manifest_with_another_training_kind_is_broken(result: MadeResult) -> None:
    result.edit_manifest(lambda manifest: manifest.update(training_kind="Hospital A"))
    assert_broken(result, "training_kind")


def test_a_named_file_that_does_not_exist_is_broken(result: MadeResult) -> None:
    (result.directory / "segmentation.dcm").unlink()
    assert_broken(result, "'segmentation.dcm', which is not a file")


def test_a_file_name_that_leads_out_of_the_folder_is_broken(result: MadeResult) -> None:
    result.edit_manifest(lambda manifest: manifest["objects"][0].update(file="../source/0.dcm"))
    assert_broken(result, r"objects\.0\.file")


def test_an_object_that_the_manifest_does_not_name_is_broken(result: MadeResult) -> None:
    result.edit_manifest(lambda manifest: manifest["objects"].pop())
    assert_broken(result, r"report_pdf\.dcm, which result\.json does not name")


def test_a_promised_role_that_is_missing_is_broken(result: MadeResult) -> None:
    (result.directory / "report.dcm").unlink()
    result.edit_manifest(lambda manifest: manifest["objects"].pop(1))
    assert_broken(result, "0 objects of the role 'report', promised are 1")


def test_a_role_with_too_many_objects_is_broken(result: MadeResult) -> None:
    result.edit_manifest(lambda manifest: manifest["objects"][2].update(role="report_pdf"))
    outputs = (*OUTPUTS[:2], OutputPromise(role="report_pdf", sop_class=OUTPUTS[2].sop_class, count="0..1"))
    result.edit_manifest(lambda manifest: manifest["objects"].pop())
    (result.directory / "report_pdf.dcm").rename(result.directory / "second.dcm")
    second = dcmread(result.directory / "key_image.dcm")
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = new_uid()
    second.save_as(result.directory / "second.dcm", enforce_file_format=True)
    result.edit_manifest(
        lambda manifest: manifest["objects"].append({"role": "report_pdf", "file": "second.dcm"})
    )
    assert_broken(result, r"2 objects of the role 'report_pdf', promised are 0\.\.1", outputs=outputs)


def test_a_role_that_is_not_promised_is_broken(result: MadeResult) -> None:
    assert_broken(result, "role 'report_pdf', which app.toml does not promise", outputs=OUTPUTS[:3])


def test_an_object_of_another_sop_class_is_broken(result: MadeResult) -> None:
    outputs = (OUTPUTS[0], OutputPromise(role="report", sop_class=ComprehensiveSRStorage), *OUTPUTS[2:])
    assert_broken(result, r"report\.dcm: its SOP class is", outputs=outputs)


def test_a_missing_preview_is_broken(result: MadeResult) -> None:
    (result.directory / "preview_1.png").unlink()
    assert_broken(result, "preview_1")


def test_a_preview_that_is_no_picture_is_broken(result: MadeResult) -> None:
    (result.directory / "preview_1.png").write_bytes(b"")
    assert_broken(result, "not a PNG")


def test_a_pdf_that_is_none_is_broken(result: MadeResult) -> None:
    (result.directory / "report.pdf").write_bytes(b"<html>")
    assert_broken(result, "not a PDF")


# ------------------------------------------------------------------ readable Part 10


def test_a_file_that_is_not_dicom_is_broken(result: MadeResult) -> None:
    (result.directory / "segmentation.dcm").write_bytes(b"no")
    assert_broken(result, r"segmentation\.dcm cannot be read")


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_cut_file_is_broken(result: MadeResult, kept: float) -> None:
    path = result.directory / "segmentation.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert_broken(result, r"segmentation\.dcm")


def test_a_header_of_another_instance_is_broken(result: MadeResult) -> None:
    path = result.directory / "report.dcm"
    dataset = dcmread(path)
    dataset.file_meta.MediaStorageSOPInstanceUID = new_uid()
    dataset.save_as(path, enforce_file_format=False)
    content = path.read_bytes()
    assert str(dataset.SOPInstanceUID).encode() in content
    assert_broken(result, "file meta information")


# ------------------------------------------------------------------ patient and study


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "PHANTOM^Other"),
        ("PatientID", "PHANTOM-0002"),
        ("IssuerOfPatientID", "HOSPITAL-B"),
        ("PatientBirthDate", "19500103"),
        ("PatientSex", "M"),
        ("StudyInstanceUID", "2.25.9"),
        ("StudyDate", "20260103"),
        ("StudyTime", "101112.000"),
        ("AccessionNumber", ""),
        ("ReferringPhysicianName", ""),
        ("StudyID", "S2"),
        ("StudyDescription", "invented"),
        ("PatientWeight", 70),
    ],
)
@pytest.mark.parametrize("name", ["segmentation.dcm", "report.dcm"])
def test_an_altered_patient_or_study_attribute_is_broken(
    result: MadeResult, name: str, keyword: str, value: Any
) -> None:
    result.edit(name, setting(keyword, value))
    assert_broken(result, f"{re.escape(name)}: {keyword} is not the source's")


def test_the_sentence_never_holds_a_value_of_the_patient(result: MadeResult) -> None:
    result.edit("report.dcm", setting("PatientID", "SECRET-1"))
    with pytest.raises(BrokenPromise) as caught:
        verify(result)
    assert "SECRET" not in str(caught.value)
    assert "PHANTOM" not in str(caught.value)


# ------------------------------------------------------------------ UIDs


def set_instance_uid(uid: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid

    return change


def test_a_result_with_the_uid_of_a_received_instance_is_broken(result: MadeResult) -> None:
    result.edit("key_image.dcm", set_instance_uid(sorted(result.study_instances)[0]))
    assert_broken(result, "SOPInstanceUID is that of a received instance")


def test_a_result_in_a_received_series_is_broken(result: MadeResult) -> None:
    result.edit("key_image.dcm", setting("SeriesInstanceUID", SERIES_UID))
    assert_broken(result, "SeriesInstanceUID is that of a received series")


def test_two_results_with_one_uid_are_broken(result: MadeResult) -> None:
    uid = str(dcmread(result.directory / "report_pdf.dcm").SOPInstanceUID)
    result.edit("key_image.dcm", set_instance_uid(uid))
    assert_broken(result, "have the same SOPInstanceUID")


def test_objects_of_two_modalities_in_one_series_are_broken(result: MadeResult) -> None:
    uid = dcmread(result.directory / "report_pdf.dcm").SeriesInstanceUID
    result.edit("key_image.dcm", setting("SeriesInstanceUID", uid))
    assert_broken(result, "another modality")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
@pytest.mark.parametrize("uid", ["1.02.3", "not.a.uid", "1.2." + "3" * 64])
def test_an_invalid_series_uid_is_broken(result: MadeResult, uid: str) -> None:
    result.edit("key_image.dcm", setting("SeriesInstanceUID", uid))
    assert_broken(result, "is not a valid UID|cannot be read")


# ------------------------------------------------------------------ references


def first_source(segmentation: Dataset) -> Dataset:
    frame = segmentation.PerFrameFunctionalGroupsSequence[0]
    return frame.DerivationImageSequence[0].SourceImageSequence[0]


def test_a_source_image_that_was_never_received_is_broken(result: MadeResult) -> None:
    result.edit(
        "segmentation.dcm", lambda seg: setattr(first_source(seg), "ReferencedSOPInstanceUID", "2.25.6")
    )
    assert_broken(result, r"SourceImageSequence refers to 2\.25\.6, which is neither")


def test_a_referenced_series_that_was_never_received_is_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.6"

    result.edit("segmentation.dcm", change)
    assert_broken(result, "in a series that it is not in")


def test_a_reference_of_another_sop_class_is_broken(result: MadeResult) -> None:
    result.edit(
        "segmentation.dcm",
        lambda seg: setattr(first_source(seg), "ReferencedSOPClassUID", ComprehensiveSRStorage),
    )
    assert_broken(result, "it is CT Image Storage")


def test_a_referenced_frame_that_does_not_exist_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", lambda seg: setattr(first_source(seg), "ReferencedFrameNumber", 2))
    assert_broken(result, "frame 2 of 1")


def segment_reference(item: Dataset) -> Dataset | None:
    """The item of the content tree with a Referenced Segment Number."""
    for child in item.get("ContentSequence") or ():
        for reference in child.get("ReferencedSOPSequence") or ():
            if "ReferencedSegmentNumber" in reference:
                return reference
        found = segment_reference(child)
        if found is not None:
            return found
    return None


def test_a_referenced_segment_that_does_not_exist_is_broken(result: MadeResult) -> None:
    result.edit("report.dcm", lambda sr: setattr(segment_reference(sr), "ReferencedSegmentNumber", 3))
    assert_broken(result, "segment 3, which it does not have")


def test_a_frame_of_a_segment_that_is_not_described_is_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        frame = segmentation.PerFrameFunctionalGroupsSequence[0]
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7

    result.edit("segmentation.dcm", change)
    assert_broken(result, "a segment that SegmentSequence does not describe")


def test_content_that_refers_to_an_unknown_segmentation_is_broken(result: MadeResult) -> None:
    result.edit("report.dcm", lambda sr: setattr(segment_reference(sr), "ReferencedSOPInstanceUID", "2.25.6"))
    assert_broken(result, r"refers to 2\.25\.6")


def test_evidence_that_was_never_received_is_broken(result: MadeResult) -> None:
    def change(report: Dataset) -> None:
        series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.6"

    result.edit("report.dcm", change)
    assert_broken(result, r"refers to 2\.25\.6")


def test_evidence_in_another_study_is_broken(result: MadeResult) -> None:
    def change(report: Dataset) -> None:
        report.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = "2.25.6"

    result.edit("report.dcm", change)
    assert_broken(result, "in a study that it is not in")


def test_content_that_is_not_in_the_evidence_is_broken(result: MadeResult) -> None:
    def change(report: Dataset) -> None:
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
        evidence.ReferencedSeriesSequence = [
            series for series in evidence.ReferencedSeriesSequence if series.SeriesInstanceUID == SERIES_UID
        ]

    result.edit("report.dcm", change)
    assert_broken(result, "not in its evidence")


def test_a_source_series_that_was_never_received_is_broken(result: MadeResult) -> None:
    def change(item: Dataset) -> None:
        for child in item.get("ContentSequence") or ():
            if child.get("ValueType") == "UIDREF" and child.UID == SERIES_UID:
                child.UID = "2.25.6"
            change(child)

    result.edit("report.dcm", change)
    assert_broken(result, "source series of a segmentation")


def test_a_reference_to_another_received_instance_of_the_study_is_allowed(result: MadeResult) -> None:
    def change(key_image: Dataset) -> None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = CTImageStorage
        reference.ReferencedSOPInstanceUID = "2.25.777"
        key_image.SourceImageSequence = [reference]

    result.edit("key_image.dcm", change)
    assert_broken(result, r"refers to 2\.25\.777")
    known: Collection[str] = {*result.study_instances, "2.25.777"}
    assert verify(result, study_instances=known)


def test_a_procedure_step_copied_from_the_source_is_no_reference_to_an_instance(result: MadeResult) -> None:
    def change(key_image: Dataset) -> None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.3"
        reference.ReferencedSOPInstanceUID = "2.25.778"
        key_image.ReferencedPerformedProcedureStepSequence = [reference]

    result.edit("key_image.dcm", change)
    assert verify(result)


# ------------------------------------------------------------------ content


def test_a_segmentation_without_pixel_data_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", lambda seg: delattr(seg, "PixelData"))
    assert_broken(result, "PixelData is missing or empty")


def test_a_segmentation_with_too_few_pixels_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", lambda seg: setattr(seg, "PixelData", seg.PixelData[:-2]))
    assert_broken(result, "shorter than its rows, columns and frames")


def test_a_segmentation_in_which_no_pixel_is_set_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", lambda seg: setattr(seg, "PixelData", bytes(len(seg.PixelData))))
    assert_broken(result, "no pixel is set")


def test_a_black_key_image_is_broken(result: MadeResult) -> None:
    result.edit("key_image.dcm", lambda sc: setattr(sc, "PixelData", bytes(len(sc.PixelData))))
    assert_broken(result, "no pixel is set")


def test_a_frame_without_description_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", lambda seg: setattr(seg, "NumberOfFrames", 3))
    assert_broken(result, "NumberOfFrames is 3, described are 4")


def test_an_empty_report_is_broken(result: MadeResult) -> None:
    result.edit("report.dcm", lambda sr: setattr(sr, "ContentSequence", []))
    assert_broken(result, "ContentSequence is empty")


def test_a_report_that_claims_to_be_verified_is_broken(result: MadeResult) -> None:
    result.edit("report.dcm", setting("VerificationFlag", "VERIFIED"))
    assert_broken(result, "VerificationFlag")


def test_an_empty_encapsulated_document_is_broken(result: MadeResult) -> None:
    result.edit("report_pdf.dcm", setting("EncapsulatedDocument", b""))
    assert_broken(result, "EncapsulatedDocument is empty")


def test_an_encapsulated_document_that_is_no_pdf_is_broken(result: MadeResult) -> None:
    result.edit("report_pdf.dcm", setting("EncapsulatedDocument", b"<html>"))
    assert_broken(result, "EncapsulatedDocument is not a PDF")


@pytest.mark.parametrize("name", ["segmentation.dcm", "key_image.dcm", "report_pdf.dcm"])
def test_a_result_that_hides_its_synthetic_training_is_broken(result: MadeResult, name: str) -> None:
    result.edit(name, setting("SeriesDescription", "Heart"))
    assert_broken(result, f"{re.escape(name)} does not say")


def test_a_report_may_say_it_in_its_text(result: MadeResult) -> None:
    result.edit("report.dcm", setting("SeriesDescription", "Heart"))
    assert verify(result)


def test_a_shortened_statement_is_enough(result: MadeResult) -> None:
    result.edit("key_image.dcm", setting("SeriesDescription", "Heart (RESEARCH, synthetic training)"))
    assert verify(result)
    assert STATEMENT.startswith("research")


# ------------------------------------------------------------------ geometry


def shift_frame(segmentation: Dataset) -> None:
    position = segmentation.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient = [-16.0, -12.0, 5.1]


def test_a_frame_beside_the_source_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", shift_frame)
    assert_broken(result, "frame 1 lies 0.1 mm away")


def test_a_frame_turned_against_the_source_is_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        shared = segmentation.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]

    result.edit("segmentation.dcm", change)
    assert_broken(result, "another orientation")


def test_a_frame_with_another_spacing_is_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [2.0, 2.001]

    result.edit("segmentation.dcm", change)
    assert_broken(result, "another pixel spacing")


def test_another_frame_of_reference_is_broken(result: MadeResult) -> None:
    result.edit("segmentation.dcm", setting("FrameOfReferenceUID", "2.25.6"))
    assert_broken(result, "FrameOfReferenceUID is not the source's")


def test_other_rows_and_columns_are_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        segmentation.Rows, segmentation.Columns = 16, 12

    result.edit("segmentation.dcm", change)
    assert_broken(result, "16 rows and 12 columns, the source has 12 and 16")


def test_frames_without_position_are_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        for frame in segmentation.PerFrameFunctionalGroupsSequence:
            del frame.PlanePositionSequence

    result.edit("segmentation.dcm", change)
    assert_broken(result, "no position, orientation or spacing")


def test_frames_derived_from_slices_elsewhere_are_broken(result: MadeResult) -> None:
    other = str(ct_slice(3).SOPInstanceUID)
    result.edit("segmentation.dcm", lambda seg: setattr(first_source(seg), "ReferencedSOPInstanceUID", other))
    assert_broken(result, "derived from source frames that lie elsewhere")


def test_a_segmentation_without_any_received_source_is_broken(result: MadeResult) -> None:
    def change(segmentation: Dataset) -> None:
        del segmentation.ReferencedSeriesSequence, segmentation.SourceImageSequence
        for frame in segmentation.PerFrameFunctionalGroupsSequence:
            del frame.DerivationImageSequence

    result.edit("segmentation.dcm", change)
    assert_broken(result, "names no received image as its source")


# ------------------------------------------------------------------ files cut or garbled


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "deflated"),
    [
        ("segmentation.dcm", False),
        ("segmentation.dcm", True),
        ("report.dcm", False),
        ("key_image.dcm", False),
        ("report_pdf.dcm", False),
    ],
)
def test_a_file_cut_anywhere_is_broken(tmp_path: Path, name: str, *, deflated: bool) -> None:
    """What pydicom does: it reads a cut report as a shorter one."""
    result = make_result(tmp_path, deflated=deflated)
    path = result.directory / name
    content = path.read_bytes()
    for end in range(1, len(content), max(1, len(content) // 20)):
        path.write_bytes(content[:end])
        assert_broken(result, re.escape(name))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_garbled_files_pass_or_break_and_raise_nothing_else(result: MadeResult) -> None:
    dice = random.Random(20260102)
    names = ["segmentation.dcm", "report.dcm", "key_image.dcm", "report_pdf.dcm", "result.json"]
    verdicts = set()
    for _ in range(100):
        path = result.directory / dice.choice(names)
        content = path.read_bytes()
        garbled = bytearray(content)
        for _ in range(dice.randint(1, 20)):
            garbled[dice.randrange(len(garbled))] = dice.randrange(256)
        path.write_bytes(garbled)
        try:
            verify(result)
            verdicts.add("passes")
        except BrokenPromise:
            verdicts.add("broken")
        path.write_bytes(content)
    assert "broken" in verdicts
