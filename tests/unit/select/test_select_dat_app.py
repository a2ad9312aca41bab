"""The rules of dat_spect as it ships, asked about ioflupane studies and about others."""

from __future__ import annotations

import pytest
from pydicom.sequence import Sequence

from dicom_node.catalog import SHIPPED_ROOT
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.manifest import load_manifest

IOFLUPANE, MIBG, HMPAO = "429296007", "395787009", "35321007"
AT_FOUR_HOURS = "140000"
"""Of acquisition; the injection is at 10:00."""


@pytest.fixture(scope="module")
def dat():
    return load_manifest(SHIPPED_ROOT / "dat_spect" / "app.toml")


@pytest.fixture(scope="module")
def mibg():
    return load_manifest(SHIPPED_ROOT / "mibg_spect" / "app.toml")


def brain(build, *, code=IOFLUPANE, text="Ioflupane I-123", start="100000", **changes):
    """An ioflupane SPECT, changed as asked."""
    item = build.tracer(code=code or "", text=text, start=start)
    if code is None:
        del item.RadiopharmaceuticalCodeSequence
    if text is None:
        del item.Radiopharmaceutical
    settled = {
        "AcquisitionTime": AT_FOUR_HOURS,
        "PixelSpacing": [3.3, 3.3],
        "SpacingBetweenSlices": 3.3,
        "SliceThickness": 3.3,
        "SeriesDescription": "Brain SPECT",
        "RadiopharmaceuticalInformationSequence": Sequence([item]),
    }
    return build.spect(**(settled | changes))


def test_an_ioflupane_study_is_taken_without_a_warning(build, dat):
    verdict = choose_inputs(dat, build.series_of(brain(build)))
    assert isinstance(verdict, Taken), verdict
    assert list(verdict.inputs) == ["spect"]
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    "text", ["I-123 FP-CIT", "DaTSCAN", "ダットスキャン静注", "Ioflupane", "ＤａＴ", "イオフルパン"]
)
def test_the_tracer_is_known_by_its_name_when_it_has_no_code(build, dat, text):
    verdict = choose_inputs(dat, build.series_of(brain(build, code=None, text=text)))
    assert isinstance(verdict, Taken), verdict


def test_the_tracer_is_known_by_the_meaning_of_a_local_code(build, dat):
    item = build.tracer(code="RP-77", text="ioflupane (123I)")
    del item.Radiopharmaceutical
    study = brain(build, RadiopharmaceuticalInformationSequence=Sequence([item]))
    assert isinstance(choose_inputs(dat, build.series_of(study)), Taken)


@pytest.mark.parametrize(
    ("meaning", "text", "is_taken"),
    [
        ("DaTSCAN 185 MBq", None, True),
        ("ダットスキャン静注", None, True),
        ("RI drug 77", "DaTSCAN", True),
        ("ミオMIBG", "I-123 MIBG", False),
        ("RI drug 78", "I-123 IMP", False),
    ],
)
def test_a_code_of_the_hospitals_own_does_not_hide_the_name(build, dat, meaning, text, is_taken):
    study = brain(build, code="RP-77", text=text)
    code = study.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0]
    code.CodingSchemeDesignator, code.CodeMeaning = "99HOSPITAL", meaning
    verdict = choose_inputs(dat, build.series_of(study))
    assert isinstance(verdict, Taken if is_taken else NotForThisApp), verdict


def test_of_several_reconstructions_the_one_with_attenuation_correction_is_taken(build, dat):
    corrected = brain(
        build, CorrectedImage=["DECY", "ATTN"], SeriesInstanceUID="1.2.3.2", ContentDate="20240101",
        ContentTime="140000",
    )  # fmt: skip
    later = brain(
        build, CorrectedImage=["DECY"], SeriesInstanceUID="1.2.3.1", SOPInstanceUID="1.2.3.1.1",
        ContentDate="20240101", ContentTime="150000",
    )  # fmt: skip
    for order in ((corrected, later), (later, corrected)):
        verdict = choose_inputs(dat, build.series_of(*order))
        assert isinstance(verdict, Taken), verdict
        assert [one.text("SeriesInstanceUID") for one in verdict.inputs["spect"]] == ["1.2.3.2"]


@pytest.mark.parametrize(
    ("description", "is_taken"),
    [
        ("DaT SPECT AC", True),
        ("ダットスキャン", True),
        ("FP-CIT 4h", True),
        ("dat_recon", True),
        ("Brain perfusion data", False),
        ("Update of protocol", False),
        ("脳血流SPECT", False),
    ],
)
def test_the_description_decides_only_where_nothing_names_the_tracer(build, dat, description, is_taken):
    study = brain(build, RadiopharmaceuticalInformationSequence=None, SeriesDescription=description)
    verdict = choose_inputs(dat, build.series_of(study))
    assert isinstance(verdict, Taken if is_taken else NotForThisApp), verdict


@pytest.mark.parametrize(
    "changes",
    [
        {"code": MIBG, "text": "I-123 MIBG"},
        {"code": None, "text": "I-123 MIBG"},
        {"code": HMPAO, "text": "Tc-99m HMPAO"},
        {"code": None, "text": "I-123 IMP"},
        {"code": MIBG, "text": "I-123 MIBG", "SeriesDescription": "DaT"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], "NumberOfFrames": 1},
        {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"Modality": "PT"},
    ],
)
def test_other_studies_are_not_for_this_app(build, dat, changes):
    verdict = choose_inputs(dat, build.series_of(brain(build, **changes)))
    assert isinstance(verdict, NotForThisApp), verdict


@pytest.mark.parametrize("time", ["103000", AT_FOUR_HOURS], ids=["early", "late"])
@pytest.mark.parametrize("text", ["MIBG+DaT", "I-123 MIBG / ioflupane", "ミオMIBG・ダットスキャン"])
def test_a_name_of_two_tracers_is_refused_as_ambiguous_by_both_apps(build, dat, mibg, text, time):
    study = brain(build, code=None, text=text, AcquisitionTime=time)
    for app in (dat, mibg):
        verdict = choose_inputs(app, build.series_of(study))
        assert isinstance(verdict, Outside), verdict
        assert verdict.attribute == "RadiopharmaceuticalInformationSequence.Radiopharmaceutical"
        assert "the tracer is ambiguous" in verdict.reason
        assert "Radiopharmaceutical" in verdict.reason


@pytest.mark.parametrize(
    ("series", "study", "whose"),
    [
        ("MIBG and DaT", "SPECT", "nobody's"),
        ("SPECT", "MIBG + DaTSCAN", "nobody's"),
        ("MIBG early", "MIBG + DaTSCAN", "mibg"),
        ("DaT", "MIBG + DaTSCAN", "dat"),
        ("ダットスキャン", "心筋MIBG", "dat"),
        ("MIBG early", "DaT view", "mibg"),
    ],
)
def test_of_texts_with_two_tracers_the_description_of_the_series_decides(
    build, dat, mibg, series, study, whose
):
    spect = brain(
        build, RadiopharmaceuticalInformationSequence=None, SeriesDescription=series, StudyDescription=study
    )
    verdicts = {"dat": choose_inputs(dat, build.series_of(spect))}
    verdicts["mibg"] = choose_inputs(mibg, build.series_of(spect))
    for name, verdict in verdicts.items():
        if whose == "nobody's":
            assert isinstance(verdict, Outside), verdict
            assert verdict.attribute in {"SeriesDescription", "StudyDescription"}
            assert "the tracer is ambiguous" in verdict.reason
        else:
            assert isinstance(verdict, Taken if name == whose else NotForThisApp), verdict


def test_a_standard_code_decides_whatever_the_name_says(build, dat, mibg):
    for code, meaning, whose in ((IOFLUPANE, "Ioflupane I-123", dat), (MIBG, "Iobenguane I-123", mibg)):
        study = brain(build, code=code, text="MIBG+DaT")
        item = study.RadiopharmaceuticalInformationSequence[0]
        item.RadiopharmaceuticalCodeSequence[0].CodeMeaning = meaning
        for app in (dat, mibg):
            verdict = choose_inputs(app, build.series_of(study))
            assert isinstance(verdict, Taken if app is whose else NotForThisApp), verdict


def test_the_two_spect_apps_do_not_take_one_anothers_studies(build, dat, mibg):
    ioflupane = build.series_of(brain(build))
    heart = build.series_of(build.spect())
    assert isinstance(choose_inputs(dat, ioflupane), Taken)
    assert isinstance(choose_inputs(mibg, ioflupane), NotForThisApp)
    assert isinstance(choose_inputs(dat, heart), NotForThisApp)
    assert isinstance(choose_inputs(mibg, heart), Taken)


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"NumberOfFrames": 12, "NumberOfSlices": 12}, "NumberOfFrames"),
        ({"NumberOfSlices": 33}, "ImagePositionPatient"),
        ({"PixelSpacing": [8, 8]}, "PixelSpacing"),
        ({"SpacingBetweenSlices": 9, "SliceThickness": 9}, "ImagePositionPatient"),
        ({"Rows": 32, "Columns": 32}, "Rows"),
        ({"AcquisitionTime": "103000"}, "AcquisitionTime"),
        ({"AcquisitionTime": "200000"}, "AcquisitionTime"),
    ],
)
def test_a_study_outside_the_envelope_is_refused_naming_the_attribute(build, dat, changes, attribute):
    verdict = choose_inputs(dat, build.series_of(brain(build, **changes)))
    assert isinstance(verdict, Outside), verdict
    assert verdict.attribute == attribute


def test_a_tomogram_of_another_radionuclide_is_refused(build, dat):
    study = brain(build)
    nuclide = build.tracer(code="81483001", text="I-131").RadiopharmaceuticalCodeSequence
    study.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = nuclide
    verdict = choose_inputs(dat, build.series_of(study))
    assert isinstance(verdict, Outside), verdict
    assert "I-123" in verdict.reason


@pytest.mark.parametrize("time", ["123000", "170000"])
def test_an_unusual_delay_is_a_warning(build, dat, time):
    verdict = choose_inputs(dat, build.series_of(brain(build, AcquisitionTime=time)))
    assert isinstance(verdict, Taken), verdict
    assert any("3 to 6 hours" in warning for warning in verdict.warnings)


def test_an_unknown_delay_is_a_warning(build, dat):
    verdict = choose_inputs(dat, build.series_of(brain(build, start=None)))
    assert isinstance(verdict, Taken), verdict
    assert any("plateau" in warning for warning in verdict.warnings)


def test_oblique_reslices_are_not_taken(build, dat):
    study = brain(build)
    study.DetectorInformationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    verdict = choose_inputs(dat, build.series_of(study))
    assert isinstance(verdict, NotForThisApp), verdict
    assert verdict.attribute == "ImageOrientationPatient"
