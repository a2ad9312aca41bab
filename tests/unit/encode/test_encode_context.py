"""Patient and study are copied unaltered, whatever their character set; identity is derived."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from operators.encode import codes
from operators.encode.context import COPIED_KEYWORDS, complete, copy_patient_and_study, stand_in
from operators.encode.identity import MANUFACTURER, producer_of
from operators.encode.parametric_map import build_parametric_map
from operators.encode.pdf import build_encapsulated_pdf
from operators.encode.report import Group, Number, SegmentReference, build_report
from operators.encode.secondary_capture import build_secondary_capture
from operators.encode.segmentation import Segment, build_segmentation
from operators.job import AnalysisJob
from tests.dicom_checks import JAPANESE_NAME

NAMES = {
    "unicode": ("ISO_IR 192", JAPANESE_NAME),
    "kanji": (["", "ISO 2022 IR 87"], JAPANESE_NAME),
    "half-width": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "latin": ("ISO_IR 100", "Müller^Jürgen"),
    "ascii": (None, "PHANTOM^ONE"),
}


def _encoded(dataset: Dataset, keyword: str, tmp_path) -> bytes:
    """Bytes of a value as it stands in the file."""
    path = tmp_path / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return dcmread(path).get_item(keyword).value


@pytest.fixture(params=NAMES)
def source(request, spect, tmp_path):
    character_set, name = NAMES[request.param]
    if character_set is None:
        del spect.SpecificCharacterSet
        spect.StudyDescription, spect.ReferringPhysicianName = "MIBG", "REF^DOCTOR"
    else:
        spect.SpecificCharacterSet = character_set
    if request.param == "latin":
        spect.StudyDescription, spect.ReferringPhysicianName = "Herz é", "Höß^A"
    spect.PatientName = name
    spect.save_as(tmp_path / "source.dcm", enforce_file_format=True)
    return dcmread(tmp_path / "source.dcm")


@pytest.fixture
def results(source, labels_zyx, geometry, producer):
    heart = Segment(label=1, name="Heart", property_type=codes.HEART)
    seg = build_segmentation(np.where(labels_zyx == 1, labels_zyx, 0), geometry, [source], [heart], producer)
    group = Group(
        tracking_id="Heart",
        finding=codes.HEART,
        numbers=(Number(name=codes.VOLUME, value=1.0, unit=codes.MILLILITRE),),
    )
    report = build_report(
        [group], [source], producer, procedure=codes.private("SCAN", "Scan"), segmentations=[seg]
    )
    image = build_secondary_capture(
        np.zeros((9, 7, 3), np.uint8),
        [source],
        producer,
        role="key_image_1",
        instance_number=1,
        description="A.",
    )
    pdf = build_encapsulated_pdf(b"%PDF-1.4 x", [source], producer, title="Report")
    return [seg.dataset, report, image, pdf]


def test_patient_and_study_are_the_sources_value_for_value_and_byte_for_byte(source, results, tmp_path):
    for result in results:
        for keyword in COPIED_KEYWORDS:
            assert result.get(keyword) == source.get(keyword), keyword
        for keyword in ("PatientName", "StudyDescription", "ReferringPhysicianName"):
            assert _encoded(result, keyword, tmp_path) == _encoded(source, keyword, tmp_path)


def test_every_result_names_its_maker_and_its_limits(results, producer):
    for result in results:
        assert producer.statement in result.SeriesDescription
        assert result.Manufacturer == MANUFACTURER
        assert result.DeviceSerialNumber == producer.model_digest.removeprefix("sha256:")[:16]
        purpose = result.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
        scheme = result.CodingSchemeIdentificationSequence[0]
        assert scheme.CodingSchemeDesignator == "99DAIN"
        assert scheme.CodingSchemeUID == codes.PRIVATE_SCHEME_UID


def test_no_result_has_a_dciodvfy_error(results, dicom_errors):
    for result in results:
        assert dicom_errors(result) == []


def test_text_beyond_the_sources_character_set_makes_the_result_unicode(spect, producer):
    group = Group(tracking_id="a", finding=codes.HEART, comments=("後期像がない",))
    report = build_report([group], [spect], producer, procedure=codes.private("SCAN", "Scan"), language="ja")
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == str(spect.PatientName)


def test_every_kind_of_object_holds_text_beyond_the_sources_character_set(
    spect, labels_zyx, geometry, producer, tmp_path
):
    spect.SpecificCharacterSet, spect.PatientName, spect.StudyDescription = "ISO_IR 100", "Müller^J", "é"
    spect.ReferringPhysicianName = "Höß"
    heart = Segment(label=1, name="心臓", property_type=codes.HEART)
    labels = np.where(labels_zyx == 1, labels_zyx, 0)
    seg = build_segmentation(labels, geometry, [spect], [heart], producer)
    map_ = build_parametric_map(
        labels.astype(np.float32),
        geometry,
        [spect],
        quantity=codes.private("A", "A"),
        unit=codes.NO_UNITS,
        label="確率",
        producer=producer,
    )
    group = Group(tracking_id="心臓", finding=codes.HEART, segment=SegmentReference(label=1))
    report = build_report(
        [group], [spect], producer, procedure=codes.private("SCAN", "Scan"), segmentations=[seg]
    )
    image = build_secondary_capture(
        np.zeros((9, 7, 3), np.uint8),
        [spect],
        producer,
        role="key_image_1",
        instance_number=1,
        description="冠状断面",
    )
    pdf = build_encapsulated_pdf(b"%PDF-1.4 x", [spect], producer, title="筋と骨")
    for result, read in (
        (seg.dataset, lambda d: d.SegmentSequence[0].SegmentLabel),
        (map_.dataset, lambda d: d[0x52009229][0].RealWorldValueMappingSequence[0].LUTExplanation),
        (report, lambda d: "心臓" if "心臓" in str(d.ContentSequence) else ""),
        (image, lambda d: d.DerivationDescription),
        (pdf, lambda d: d.DocumentTitle),
    ):
        result.save_as(tmp_path / "one.dcm", enforce_file_format=True)
        written = dcmread(tmp_path / "one.dcm")
        assert written.SpecificCharacterSet == "ISO_IR 192"
        assert str(written.PatientName) == "Müller^J"
        assert read(written) in {"心臓", "確率", "冠状断面", "筋と骨"}


def test_a_source_that_breaks_the_standard_is_still_copied(spect, producer):
    spect.PatientSex, spect.StudyID = "MALE", ""
    del spect.AccessionNumber
    image = build_secondary_capture(
        np.zeros((4, 4, 3), np.uint8),
        [spect],
        producer,
        role="k",
        instance_number=1,
        description="A.",
    )
    assert image.PatientSex == "MALE"
    assert image.AccessionNumber == ""


def test_the_stand_in_has_the_uids_but_not_the_patient(spect):
    blank = stand_in(spect)
    assert blank.SOPInstanceUID == spect.SOPInstanceUID
    assert blank.StudyInstanceUID == spect.StudyInstanceUID
    assert not blank.PatientName
    assert "PixelData" not in blank


def test_what_the_source_lacks_the_result_lacks_too(spect):
    target = Dataset()
    target.PatientAge = "012Y"
    del spect.PatientAge
    copy_patient_and_study(spect, target)
    assert "PatientAge" not in target


def test_times_are_written_in_the_sources_time_zone(spect, producer):
    spect.TimezoneOffsetFromUTC = "+0900"
    target = Dataset()
    target.Modality = "OT"
    complete(target, spect, producer, label="Images")
    assert (target.ContentDate, target.ContentTime) == ("20260102", "120405")


def test_uids_are_the_same_for_the_same_analysis_and_differ_otherwise(producer):
    again = dataclasses.replace(producer)
    assert producer.uid("report") == again.uid("report")
    assert producer.uid("report").is_valid
    assert producer.uid("report").startswith("2.25.")
    for change in (
        {"input_digest": "sha256:x"},
        {"app_version": "0.2.0"},
        {"model_digest": "sha256:y"},
        {"app": "b"},
    ):
        assert dataclasses.replace(producer, **change).uid("report") != producer.uid("report")
    assert producer.uid("report") != producer.uid("segmentation")


def test_a_target_keeps_its_tracking_uid_in_a_repeated_analysis(producer):
    later = dataclasses.replace(producer, input_digest="sha256:with late images")
    assert producer.tracking_uid("1.2.3", "Heart") == later.tracking_uid("1.2.3", "Heart")
    assert producer.tracking_uid("1.2.3", "Heart") != producer.tracking_uid("1.2.4", "Heart")


def test_a_label_too_long_for_the_statement_is_an_error(producer):
    with pytest.raises(ValueError, match="longer than 64"):
        producer.series_description("A label that leaves no room for the statement")


def _job(tmp_path, kind):
    about = '[app]\nname="a"\nversion="1.2.3"\ntitle="T"\nintended_use="U"\n'
    training = '[training]\nkind="synthetic"\nstatement="research use, trained on synthetic data"\n'
    (tmp_path / "app.toml").write_text(about + training)
    bundle = tmp_path / "model"
    bundle.mkdir()
    (bundle / "weights").write_text(kind)
    return AnalysisJob(
        app="a", app_dir=tmp_path, bundle_dir=bundle, inputs={}, input_digest="sha256:0", output_dir=tmp_path
    )


def test_a_bundle_that_says_nothing_counts_as_synthetic_like_the_app(tmp_path):
    producer = producer_of(_job(tmp_path, "x"), {})
    assert producer.statement == "research use, trained on synthetic data"
    assert producer.app_version == "1.2.3"


def test_a_bundle_trained_at_a_site_does_not_carry_the_synthetic_statement(tmp_path):
    producer = producer_of(_job(tmp_path, "x"), {"training": {"kind": "Naniwa hospital"}})
    assert producer.statement == ""
    assert producer.series_description("MIBG") == "MIBG"
