"""The verdict on a study: taken, not for this app, or outside, and the sentence that says why."""

from __future__ import annotations

import itertools

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs

CT_INPUT = {
    "name": "ct",
    "title": "hip CT",
    "match": [{"attribute": "Modality", "equals": "CT"}],
    "envelope": [{"attribute": "@missing_slices", "at_most": 0, "reason": "the stack has a gap"}],
}


def renamed(dataset, number):
    dataset.SeriesInstanceUID = f"1.2.5.{number}"
    dataset.SOPInstanceUID = f"1.2.6.{number}"
    return dataset


@pytest.fixture
def early(build):
    return build.spect()


@pytest.fixture
def late(build):
    return renamed(build.spect(AcquisitionTime="133000"), 2)


@pytest.fixture
def planar(build):
    return renamed(
        build.spect(
            ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], DetectorInformationSequence=None
        ),
        3,
    )


def test_early_late_and_planar_are_taken(build, mibg, early, late, planar):
    verdict = choose_inputs(mibg, build.series_of(early, late, planar))
    assert isinstance(verdict, Taken)
    assert {name: [h.sop_instance_uid for h in chosen] for name, chosen in verdict.inputs.items()} == {
        "early": ["1.2.3.3"],
        "late": ["1.2.6.2"],
        "planar": ["1.2.6.3"],
    }
    assert verdict.warnings == ()


def test_early_alone_is_taken(build, mibg, early):
    verdict = choose_inputs(mibg, build.series_of(early))
    assert isinstance(verdict, Taken)
    assert set(verdict.inputs) == {"early"}


def test_the_order_of_series_does_not_change_the_verdict(build, mibg, early, late, planar):
    more = renamed(build.spect(NumberOfFrames=28, NumberOfSlices=28, SliceVector=list(range(28))), 4)
    series = build.series_of(early, late, planar, more)
    verdicts = [choose_inputs(mibg, order) for order in itertools.permutations(series)]
    chosen = {tuple((n, c[0].sop_instance_uid) for n, c in v.inputs.items()) for v in verdicts}
    assert len(chosen) == 1
    assert len({v.warnings for v in verdicts}) == 1


@pytest.mark.parametrize(
    ("changes", "attribute", "words"),
    [
        ({"StudyInstanceUID": ""}, "StudyInstanceUID", "missing or empty"),
        ({"SeriesInstanceUID": None}, "SeriesInstanceUID", "missing or empty"),
        ({"SOPInstanceUID": ""}, "SOPInstanceUID", "missing or empty"),
        ({"PatientID": ""}, "PatientID", "missing or empty"),
        ({"StudyInstanceUID": "../../etc"}, "StudyInstanceUID", "not a valid UID"),
        ({"Rows": 1, "Columns": 1}, "Rows", "Rows is 1, at least 8 is needed"),
        ({"Columns": 0}, "Columns", "Columns is 0"),
        ({"Rows": None}, "Rows", "Rows is missing"),
        ({"NumberOfFrames": 65535}, "NumberOfFrames", "NumberOfFrames is 65535"),
        ({"NumberOfFrames": 0}, "NumberOfFrames", "NumberOfFrames is 0"),
        ({"NumberOfFrames": -5}, "NumberOfFrames", "NumberOfFrames is -5"),
        ({"PixelData": b""}, "PixelData", "missing or empty"),
        ({"PixelData": None}, "PixelData", "missing or empty"),
        ({"PixelData": b"\0" * 100}, "NumberOfFrames", "PixelData holds only 100"),
        ({"BitsAllocated": 3}, "BitsAllocated", "BitsAllocated is 3"),
        ({"BitsStored": 17}, "BitsStored", "BitsStored is 17, 1 to 16 is needed"),
        ({"SamplesPerPixel": 9}, "SamplesPerPixel", "SamplesPerPixel is 9"),
        ({"PixelSpacing": None}, "PixelSpacing", "a positive number is needed"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing", "a positive number is needed"),
        ({"SliceThickness": None, "SpacingBetweenSlices": None}, "SpacingBetweenSlices", "is needed"),
        (
            {"DetectorInformationSequence": None},
            "DetectorInformationSequence.ImageOrientationPatient",
            "unit vectors is needed",
        ),
        ({"NumberOfFrames": 20, "NumberOfSlices": 20}, "NumberOfFrames", "(NumberOfFrames) is 20"),
        ({"NumberOfSlices": 40}, "ImagePositionPatient", "missing slices"),
    ],
)
def test_bad_input_is_outside_and_the_sentence_names_the_attribute(build, mibg, changes, attribute, words):
    verdict = choose_inputs(mibg, build.series_of(build.spect(**changes)))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == attribute
    assert attribute.rsplit(".", 1)[-1] in verdict.reason
    assert words in verdict.reason
    assert "SECRET" not in verdict.reason


def test_pixels_that_cannot_be_decoded_are_outside(build, mibg, early):
    early.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.94"  # JPIP: pixels are elsewhere
    verdict = choose_inputs(mibg, build.series_of(early))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "TransferSyntaxUID"


def test_more_compressed_frames_than_bytes_are_outside(build, mibg):
    dataset = build.spect(PixelData=b"\0" * 64)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    verdict = choose_inputs(mibg, build.series_of(dataset))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "NumberOfFrames"


def test_a_series_that_would_not_fit_into_memory_is_outside(build, mibg):
    dataset = build.spect(PixelData=b"\0" * 600_000, NumberOfFrames=60_000, Rows=1024, Columns=1024)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    verdict = choose_inputs(mibg, build.series_of(dataset))
    assert isinstance(verdict, Outside)
    assert "the app may use 2000 MB" in verdict.reason


def test_another_tracer_is_not_for_this_app_and_is_named(build, mibg):
    item = build.tracer("429296007", "Ioflupane I-123")
    verdict = choose_inputs(
        mibg, build.series_of(build.spect(RadiopharmaceuticalInformationSequence=Sequence([item])))
    )
    assert isinstance(verdict, NotForThisApp)
    assert "Ioflupane" in verdict.reason
    assert verdict.attribute.startswith("RadiopharmaceuticalInformationSequence")


def test_planar_only_is_outside_and_names_what_is_lacking(build, mibg, planar):
    verdict = choose_inputs(mibg, build.series_of(planar))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "ImageType"
    assert "a reconstructed MIBG SPECT is needed" in verdict.reason
    assert "ImageType value 3 is 'STATIC', 'RECON TOMO' is needed" in verdict.reason


def test_a_time_between_early_and_late_is_not_guessed(build, mibg):
    verdict = choose_inputs(mibg, build.series_of(build.spect(AcquisitionTime="113000")))
    assert isinstance(verdict, NotForThisApp)
    assert verdict.attribute == "AcquisitionTime"
    assert "is 90, 10 to 60 is needed" in verdict.reason


def test_a_missing_injection_time_is_named(build, mibg):
    items = Sequence([build.tracer(start=None)])
    verdict = choose_inputs(mibg, build.series_of(build.spect(RadiopharmaceuticalInformationSequence=items)))
    assert isinstance(verdict, NotForThisApp)
    assert "RadiopharmaceuticalStartTime" in verdict.reason


def test_a_mixed_series_is_outside(build, mibg, early):
    other = build.spect(SOPInstanceUID="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])
    verdict = choose_inputs(mibg, build.series_of(early, other))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "ImageType"
    assert "the series is mixed" in verdict.reason
    assert "in 1 of 2 instances" in verdict.reason


def test_a_mixed_series_beside_a_good_one_is_left_out_with_a_warning(build, mibg, early):
    mixed = [
        build.spect(SeriesInstanceUID="1.2.7", SOPInstanceUID="1.2.7.1"),
        build.spect(SeriesInstanceUID="1.2.7", SOPInstanceUID="1.2.7.2", Modality="OT"),
    ]
    verdict = choose_inputs(mibg, build.series_of(early, *mixed))
    assert isinstance(verdict, Taken)
    assert verdict.inputs["early"][0].sop_instance_uid == "1.2.3.3"
    assert "was left out: the series is mixed" in verdict.warnings[0]


def test_an_optional_input_outside_is_left_out_with_a_warning(build, mibg, early, planar):
    planar.Rows = 1
    verdict = choose_inputs(mibg, build.series_of(early, planar))
    assert isinstance(verdict, Taken)
    assert set(verdict.inputs) == {"early"}
    assert verdict.warnings == ("a series that is planar MIBG was left out: Rows is 1, at least 8 is needed",)


def test_a_late_series_outside_refuses_the_study(build, mibg, early, late):
    late.NumberOfSlices = 40
    verdict = choose_inputs(mibg, build.series_of(early, late))
    assert isinstance(verdict, Outside)
    assert verdict.reason.startswith("late MIBG SPECT: every slice is needed")


def test_of_several_candidates_most_slices_then_the_latest_is_taken(build, mibg, early):
    early.ContentDate, early.ContentTime = "20240105", "120000"
    newer = renamed(build.spect(), 7)
    newer.ContentDate, newer.ContentTime = "20240105", "130000"
    fewer = renamed(build.spect(NumberOfFrames=25, NumberOfSlices=25, SliceVector=list(range(25))), 8)
    verdict = choose_inputs(mibg, build.series_of(early, newer, fewer))
    assert isinstance(verdict, Taken)
    assert verdict.inputs["early"][0].sop_instance_uid == "1.2.6.7"
    assert verdict.warnings[0].startswith("3 series are early MIBG SPECT")


def test_a_rule_that_only_warns_warns(build, mibg):
    item = build.tracer()
    del item.RadionuclideTotalDose
    verdict = choose_inputs(
        mibg, build.series_of(build.spect(RadiopharmaceuticalInformationSequence=Sequence([item])))
    )
    assert isinstance(verdict, Taken)
    assert "counts cannot be normalised" in verdict.warnings[0]
    assert "RadionuclideTotalDose is missing" in verdict.warnings[0]


@pytest.mark.parametrize(
    "changes", [{"PatientID": "OTHER"}, {"StudyInstanceUID": "1.2.77"}, {"PatientBirthDate": "20000101"}]
)
def test_two_patients_or_studies_are_outside(build, mibg, early, changes):
    other = renamed(build.spect(**changes), 5)
    verdict = choose_inputs(mibg, build.series_of(early, other))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == next(iter(changes))
    assert "SECRET" not in verdict.reason


def test_the_same_instance_twice_is_taken_once(build, mibg, early, tmp_path):
    from operators.select.headers import read_series

    for name in ("a.dcm", "b.dcm"):
        early.save_as(tmp_path / name, enforce_file_format=True)
    series, _ = read_series(tmp_path.iterdir())
    verdict = choose_inputs(mibg, series)
    assert isinstance(verdict, Taken)
    assert len(verdict.inputs["early"]) == 1


def test_one_uid_with_two_contents_is_outside(build, mibg, early, tmp_path):
    from operators.select.headers import read_series

    early.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    early.SeriesDescription = "changed"
    early.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    series, _ = read_series(tmp_path.iterdir())
    verdict = choose_inputs(mibg, series)
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "SOPInstanceUID"


def test_a_series_that_would_be_two_inputs_is_outside(build, make_manifest, early):
    manifest = make_manifest([build.spect_input("early", 10, 60), build.spect_input("late", 20, 90)])
    verdict = choose_inputs(manifest, build.series_of(early))
    assert isinstance(verdict, Outside)
    assert "both early MIBG SPECT and late MIBG SPECT" in verdict.reason


def test_no_instance_at_all_is_not_for_this_app(mibg):
    assert isinstance(choose_inputs(mibg, []), NotForThisApp)


def test_a_missing_ct_slice_is_outside(build, make_manifest):
    slices = [build.ct_slice(n, 3.0 * n) for n in range(10) if n != 4]
    verdict = choose_inputs(make_manifest([CT_INPUT]), build.series_of(*slices))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "ImagePositionPatient"
    assert "the stack has a gap: the number of missing slices (ImagePositionPatient) is 1" in verdict.reason


@pytest.mark.parametrize(
    "keyword",
    [
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "FrameOfReferenceUID",
        "RescaleSlope",
    ],
)
def test_ct_geometry_is_needed_of_every_slice(build, make_manifest, keyword):
    slices = [build.ct_slice(n, 3.0 * n) for n in range(10)]
    delattr(slices[7], keyword)
    verdict = choose_inputs(make_manifest([CT_INPUT]), build.series_of(*slices))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == keyword


def test_a_document_needs_identifiers_but_no_pixels(build, make_manifest):
    wanted = {"name": "sr", "title": "variables", "kind": "document",
              "match": [{"attribute": "Modality", "equals": "SR"}]}  # fmt: skip
    report = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        setattr(report, keyword, "1.2.3")
    report.Modality, report.PatientID = "SR", "P"
    assert isinstance(choose_inputs(make_manifest([wanted]), build.series_of(report)), Taken)
    report.PatientID = ""
    assert isinstance(choose_inputs(make_manifest([wanted]), build.series_of(report)), Outside)
