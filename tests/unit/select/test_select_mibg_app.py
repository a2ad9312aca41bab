"""The rules of mibg_spect as it ships, asked about good and bad NM studies."""

from __future__ import annotations

import pytest
from pydicom.sequence import Sequence

from dicom_node.catalog import SHIPPED_ROOT
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.manifest import load_manifest

NAMES = ["early", "late", "planar_early", "planar_late"]


@pytest.fixture(scope="module")
def app():
    return load_manifest(SHIPPED_ROOT / "mibg_spect" / "app.toml")


def whole_study(build, **changes):
    static = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    planar = {
        "ImageType": static,
        "DetectorInformationSequence": None,
        "NumberOfFrames": 1,
        "Rows": 128,
        "Columns": 128,
    }
    study = [
        build.spect(**changes),
        build.spect(AcquisitionTime="140000", **changes),
        build.spect(**planar | changes),
        build.spect(AcquisitionTime="141000", **planar | changes),
    ]
    for number, dataset in enumerate(study):
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
            if keyword not in changes:
                setattr(dataset, keyword, f"1.2.5.{number}")
    return study


def tracer(build, **arguments):
    return {"RadiopharmaceuticalInformationSequence": Sequence([build.tracer(**arguments)])}


def test_a_whole_study_is_taken_without_a_warning(build, app):
    verdict = choose_inputs(app, build.series_of(*whole_study(build)))
    assert isinstance(verdict, Taken), verdict
    assert sorted(verdict.inputs) == NAMES
    assert verdict.warnings == ()


def test_early_alone_and_late_alone_are_taken(build, app):
    early, late, *_ = whole_study(build)
    for dataset, name in ((early, "early"), (late, "late")):
        verdict = choose_inputs(app, build.series_of(dataset))
        assert isinstance(verdict, Taken), verdict
        assert list(verdict.inputs) == [name]


@pytest.mark.parametrize("text", ["I-123 MIBG", "123I-mIBG", "Iobenguane", "ミオＭＩＢＧ"])
def test_the_tracer_is_known_by_its_text_when_it_has_no_code(build, app, text):
    changes = tracer(build, text=text)
    del changes["RadiopharmaceuticalInformationSequence"][0].RadiopharmaceuticalCodeSequence
    assert isinstance(choose_inputs(app, build.series_of(build.spect(**changes))), Taken)


def test_planar_views_alone_are_refused(build, app):
    verdict = choose_inputs(app, build.series_of(*whole_study(build)[2:]))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "ImageType"


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"StudyInstanceUID": ""}, "StudyInstanceUID"),
        ({"SeriesInstanceUID": ""}, "SeriesInstanceUID"),
        ({"SOPInstanceUID": ""}, "SOPInstanceUID"),
        ({"PatientID": ""}, "PatientID"),
        ({"Rows": 1, "Columns": 1}, "Rows"),
        ({"NumberOfFrames": 60000}, "NumberOfFrames"),
    ],
)
def test_bad_studies_are_refused_and_the_attribute_is_named(build, app, changes, attribute):
    verdict = choose_inputs(app, build.series_of(*whole_study(build, **changes)))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == attribute
    assert attribute in verdict.reason


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"NumberOfFrames": 20, "NumberOfSlices": 20}, "NumberOfFrames"),
        ({"NumberOfSlices": 33}, "ImagePositionPatient"),
        ({"PixelSpacing": [30, 30]}, "PixelSpacing"),
        ({"AcquisitionTime": "113000"}, "AcquisitionTime"),
        ({"AcquisitionTime": "130000"}, None),
        ({"AcquisitionTime": "180000"}, "AcquisitionTime"),
    ],
)
def test_a_volume_outside_the_envelope_is_refused(build, app, changes, attribute):
    verdict = choose_inputs(app, build.series_of(build.spect(**changes)))
    if attribute is None:
        assert isinstance(verdict, Taken)
    else:
        assert isinstance(verdict, Outside), verdict
        assert verdict.attribute == attribute


def test_a_missing_slice_in_slice_vector_is_refused(build, app):
    holed = [number for number in range(1, 32) if number != 12]
    verdict = choose_inputs(app, build.series_of(build.spect(SliceVector=holed)))
    assert isinstance(verdict, Outside)
    assert "slices are missing" in verdict.reason


def test_a_mixed_series_is_refused(build, app):
    other = build.spect(SOPInstanceUID="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])
    verdict = choose_inputs(app, build.series_of(build.spect(), other))
    assert isinstance(verdict, Outside)
    assert "mixed" in verdict.reason


@pytest.mark.parametrize(
    ("code", "text"), [("429296007", "Ioflupane I-123"), ("404707004", "Tc-99m sestamibi MIBI")]
)
def test_another_tracer_is_not_for_this_app(build, app, code, text):
    verdict = choose_inputs(app, build.series_of(build.spect(**tracer(build, code=code, text=text))))
    assert isinstance(verdict, NotForThisApp)
    assert "RadiopharmaceuticalCodeSequence.CodeValue" in verdict.attribute
    assert f"is '{code}' ({text}), '395787009' is needed" in verdict.reason
    assert "not allowed" not in verdict.reason


def test_a_series_that_could_be_early_or_late_is_refused(build, app):
    verdict = choose_inputs(app, build.series_of(build.spect(**tracer(build, start=None))))
    assert isinstance(verdict, Outside), verdict
    assert "RadiopharmaceuticalStart" in verdict.reason


def test_without_times_the_description_tells_and_a_warning_says_so(build, app):
    changes = tracer(build, start=None)
    for text, name in (("MIBG early", "early"), ("MIBG 後期", "late"), ("MIBG delayed", "late")):
        verdict = choose_inputs(app, build.series_of(build.spect(SeriesDescription=text, **changes)))
        assert isinstance(verdict, Taken), verdict
        assert list(verdict.inputs) == [name]
        assert "injection" in verdict.warnings[0]


def test_acquired_before_the_injection_is_refused(build, app):
    item = build.tracer(start=None)
    item.RadiopharmaceuticalStartDateTime = "20240105120000"
    changes = {"RadiopharmaceuticalInformationSequence": Sequence([item])}
    verdict = choose_inputs(app, build.series_of(build.spect(**changes)))
    assert isinstance(verdict, Outside)
    assert "AcquisitionTime" in verdict.reason
