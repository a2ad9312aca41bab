"""The rules of msk_ct as it ships, asked about good and bad CT studies."""

from __future__ import annotations

import pytest

from dicom_node.catalog import SHIPPED_ROOT
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.manifest import load_manifest

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
CORONAL, SAGITTAL = [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


@pytest.fixture(scope="module")
def app():
    return load_manifest(SHIPPED_ROOT / "msk_ct" / "app.toml")


def stack(build, *, series=1, count=80, spacing_mm=2.0, step=(0.0, 0.0, 1.0), positions=None, **changes):
    """The slices of one CT series of a hip; None takes an attribute away."""
    given = {
        "SOPClassUID": CT_IMAGE,
        "BodyPartExamined": "HIP",
        "SeriesDescription": "routine",
        "ConvolutionKernel": "Br40",
        "PixelSpacing": [0.8, 0.8],
        "PixelData": bytes(2 * 64 * 64),
        "SeriesInstanceUID": f"1.2.8.{series}",
    } | changes
    removed = [keyword for keyword, value in given.items() if value is None]
    slices = []
    for number in range(count):
        along = spacing_mm * number if positions is None else positions[number]
        place = [along * part for part in step]
        one = build.ct_slice(
            number,
            0.0,
            **{k: v for k, v in given.items() if v is not None},
            ImagePositionPatient=place,
            SOPInstanceUID=f"1.2.7.{series}.{number}",
        )
        for keyword in removed:
            if keyword in one:
                delattr(one, keyword)
        slices.append(one)
    return slices


def verdict_on(app, build, *stacks):
    return choose_inputs(app, build.series_of(*(one for slices in stacks for one in slices)))


def test_a_plain_axial_series_is_taken_without_a_warning(build, app):
    verdict = verdict_on(app, build, stack(build))
    assert isinstance(verdict, Taken), verdict
    assert len(verdict.inputs["ct"]) == 80
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    "part", ["HIP", "PELVIS", "FEMUR", "THIGH", "PELVISLOWEXTREMT", "ABDOMENPELVIS", "LEG", "EXTREMITY"]
)
def test_the_body_part_is_told_by_its_tag(build, app, part):
    assert isinstance(verdict_on(app, build, stack(build, BodyPartExamined=part)), Taken)


@pytest.mark.parametrize("text", ["股関節CT", "骨盤 単純", "両側大腿", "Hip 1.0 Br40", "CT PELVIS", "下肢"])
@pytest.mark.parametrize("part", [None, "ABDOMEN", "WHOLEBODY"])
def test_the_body_part_is_told_by_text_where_the_tag_says_less(build, app, text, part):
    slices = stack(build, BodyPartExamined=part, SeriesDescription=text)
    assert isinstance(verdict_on(app, build, slices), Taken)


def test_pixels_decide_where_nothing_names_the_part(build, app):
    slices = stack(build, BodyPartExamined=None, SeriesDescription="1.0 Br40")
    assert isinstance(verdict_on(app, build, slices), Taken)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("CHEST", "Thorax 1.0"),
        ("HEAD", "Head"),
        ("CHESTABDPELVIS", "trunk"),
        ("CHEST", "hip protocol"),
        ("ABDOMEN", "Abdomen 5.0"),
        ("KNEE", "Knee"),
        (None, "胸部CT"),
        (None, "Head routine"),
        ("EXTREMITY", "Shoulder"),
    ],
)
def test_other_parts_are_not_for_this_app(build, app, part, text):
    verdict = verdict_on(app, build, stack(build, BodyPartExamined=part, SeriesDescription=text))
    assert isinstance(verdict, NotForThisApp), verdict


def test_another_modality_and_a_dose_page_are_not_for_this_app(build, app):
    assert isinstance(verdict_on(app, build, stack(build, Modality="MR")), NotForThisApp)
    page = stack(build, count=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    assert isinstance(verdict_on(app, build, page), NotForThisApp)


def test_a_localizer_alone_is_not_for_this_app_and_beside_a_scan_it_is_ignored(build, app):
    scout = stack(build, series=2, count=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert isinstance(verdict_on(app, build, scout), NotForThisApp)
    verdict = verdict_on(app, build, scout, stack(build))
    assert isinstance(verdict, Taken)
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    "other",
    [
        {"ImageOrientationPatient": CORONAL, "step": (0.0, 1.0, 0.0)},
        {"ImageOrientationPatient": SAGITTAL, "step": (1.0, 0.0, 0.0)},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
        {"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]},
    ],
)
def test_reformatted_series_are_ignored_beside_the_axial_one_and_refused_alone(build, app, other):
    more = stack(build, series=2, count=120, **other)
    alone = verdict_on(app, build, more)
    assert isinstance(alone, Outside), alone
    assert "axial" in alone.reason
    assert alone.attribute in {"ImageOrientationPatient", "ImageType"}
    verdict = verdict_on(app, build, more, stack(build))
    assert isinstance(verdict, Taken)
    assert verdict.inputs["ct"][0].series_instance_uid == "1.2.8.1"
    assert verdict.warnings == ()


def test_a_derived_axial_reconstruction_is_taken(build, app):
    slices = stack(build, ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    assert isinstance(verdict_on(app, build, slices), Taken)


@pytest.mark.parametrize(
    ("change", "words", "attribute"),
    [
        ({"count": 30}, "at least 40 slices", "NumberOfFrames"),
        ({"spacing_mm": 7.5}, "at most 5 mm", "ImagePositionPatient"),
        ({"positions": [2.0 * n for n in range(81) if n != 40]}, "slices are miss", "ImagePositionPatient"),
        ({"positions": [2.0 * (n // 2) for n in range(80)]}, "same place", "ImagePositionPatient"),
        (
            {"positions": [2.0 * n + (0.6 if n > 40 else 0.0) for n in range(80)]},
            "evenly spaced",
            "ImagePositionPatient",
        ),
        ({"step": (0.0, 0.26, 1.0)}, "tilted", "GantryDetectorTilt"),
        ({"PixelSpacing": [4.0, 4.0]}, "0.3 to 3 mm", "PixelSpacing"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "Enhanced CT is not read", "SOPClassUID"),
        ({"RescaleSlope": None}, "RescaleSlope", "RescaleSlope"),
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID", "FrameOfReferenceUID"),
    ],
)
def test_outside_the_envelope_is_refused_with_the_reason(build, app, change, words, attribute):
    verdict = verdict_on(app, build, stack(build, **change))
    assert isinstance(verdict, Outside), verdict
    assert words in verdict.reason
    assert verdict.attribute == attribute


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing_mm": 5.0}, "more than 3 mm apart"),
        ({"count": 50}, "fewer than 60 slices"),
        ({"ContrastBolusAgent": "Iopamidol"}, "contrast agent raises attenuation"),
        ({"SeriesDescription": "股関節 造影"}, "contrast agent raises attenuation"),
        ({"ConvolutionKernel": "BONEPLUS"}, "sharp kernel"),
        ({"ConvolutionKernel": ["Br64f", "3"]}, "sharp kernel"),
        ({"ConvolutionKernel": "FC30"}, "sharp kernel"),
    ],
)
def test_what_lowers_accuracy_is_taken_with_a_warning(build, app, change, words):
    verdict = verdict_on(app, build, stack(build, **change))
    assert isinstance(verdict, Taken), verdict
    assert any(words in warning for warning in verdict.warnings)


@pytest.mark.parametrize("kernel", ["Br40d", "B30s", "I31f", "STANDARD", "SOFT", "B", "C", "FC13", "FC08-H"])
@pytest.mark.parametrize("text", ["股関節 非造影", "Hip without contrast", "造影なし"])
def test_soft_kernels_and_texts_of_no_contrast_do_not_warn(build, app, kernel, text):
    slices = stack(build, ConvolutionKernel=kernel, SeriesDescription=text)
    verdict = verdict_on(app, build, slices)
    assert isinstance(verdict, Taken)
    assert verdict.warnings == ()


def test_of_several_reconstructions_the_thin_soft_plain_one_is_taken(build, app):
    stacks = [
        stack(build, series=1, count=200, spacing_mm=1.0, ConvolutionKernel="Br64"),
        stack(build, series=2, count=60, spacing_mm=5.0),
        stack(build, series=3, count=150, spacing_mm=2.0),
        stack(build, series=4, count=220, spacing_mm=1.0, ContrastBolusAgent="Iohexol"),
    ]
    verdict = verdict_on(app, build, *stacks)
    assert isinstance(verdict, Taken)
    assert verdict.inputs["ct"][0].series_instance_uid == "1.2.8.3"
    assert [w for w in verdict.warnings if "best suited" in w]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"passes": 1}, "at least 5 and at most 50"),
        ({"passes": 10.5}, "a whole number"),
        ({"profile": "fast"}, "auto, cpu, gpu"),
        ({"bmd_calibration": {"slope": 0.8}}, "slope, intercept"),
        ({"bmd_calibration": {"slope": "a", "intercept": 0}}, "a number each"),
        ({"bmd_calibration": 0.8}, "a number each"),
    ],
)
def test_a_wrong_setting_is_told(app, settings, told):
    assert told in app.settings_problem(settings)


def test_good_settings_are_taken(app):
    good = {"passes": 10, "profile": "gpu", "bmd_calibration": {"slope": 0.79, "intercept": -3.0}}
    assert app.settings_problem(good) == ""
