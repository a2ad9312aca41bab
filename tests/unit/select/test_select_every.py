"""Inputs made of every instance that fits: views, sides and retakes, in one series or several."""

from __future__ import annotations

import itertools

import pytest

from dicom_node.catalog import App
from dicom_node.route import Decision, route_study
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.digests import input_digest
from operators.select.headers import read_series
from operators.select.manifest import BrokenManifest

HIP = {"attribute": "BodyPartExamined", "one_of": ["HIP", "PELVIS"]}


def xray_input(name, view, **more):
    return {
        "name": name,
        "title": f"{name} hip radiograph",
        "takes": "every",
        "match": [
            {"attribute": "Modality", "one_of": ["CR", "DX"]},
            HIP,
            {"attribute": "@view", "equals": view},
        ],
        "envelope": [
            {"attribute": "Rows", "at_least": 64, "reason": "the picture is too small"},
            {"attribute": "BurnedInAnnotation", "equals": "NO", "reason": "text may be burned in",
             "severity": "warn"},
        ],
    } | more  # fmt: skip


STUDY = {"needs_any": [["ap", "lateral"]]}


@pytest.fixture
def hip(make_manifest):
    return make_manifest([xray_input("ap", "AP"), xray_input("lateral", "LATERAL")], study=STUDY)


@pytest.fixture
def xray(build):
    def made(number, series=1, **changes):
        dataset = build.spect(
            **{
                "Modality": "CR",
                "ImageType": ["ORIGINAL", "PRIMARY"],
                "SOPInstanceUID": f"1.2.6.{number}",
                "SeriesInstanceUID": f"1.2.5.{series}",
                "SeriesNumber": series,
                "InstanceNumber": number,
                "BodyPartExamined": "HIP",
                "BurnedInAnnotation": "NO",
                "SeriesDescription": "hip",
                "AcquisitionTime": f"10{number:02d}00",
                "NumberOfFrames": None,
                "NumberOfSlices": None,
                "SliceVector": None,
                "DetectorInformationSequence": None,
                "RadiopharmaceuticalInformationSequence": None,
            }
            | changes
        )
        if "PixelData" not in changes:
            dataset.PixelData = bytes(2 * 64 * 64)
        return dataset

    return made


def taken(verdict):
    assert isinstance(verdict, Taken), verdict
    return {name: [one.sop_instance_uid[6:] for one in chosen] for name, chosen in verdict.inputs.items()}


@pytest.mark.parametrize("series", [(1, 1, 1), (1, 2, 3)], ids=["one series", "a series each"])
def test_views_are_taken_whether_they_lie_in_one_series_or_in_several(build, hip, xray, series):
    study = [
        xray(1, series[0], ViewPosition="AP"),
        xray(2, series[1], ViewPosition="LL"),
        xray(3, series[2], ViewPosition="RL"),
    ]
    for order in itertools.permutations(study):
        verdict = choose_inputs(hip, build.series_of(*order))
        assert taken(verdict) == {"ap": ["1"], "lateral": ["2", "3"]}
        assert verdict.warnings == ()


def test_instances_of_other_parts_and_views_are_none_of_the_apps_business(build, hip, xray):
    study = [
        xray(1, ViewPosition="AP"),
        xray(2, ViewPosition="AP", BodyPartExamined="CHEST"),
        xray(3, ViewPosition=None),
        xray(4, 2, Modality="KO"),
    ]
    verdict = choose_inputs(hip, build.series_of(*study))
    assert taken(verdict) == {"ap": ["1"]}
    assert verdict.warnings == ()


def test_retakes_are_all_taken_the_latest_last(build, hip, xray):
    study = [
        xray(1, 3, ViewPosition="AP", AcquisitionTime="101500"),
        xray(2, 1, ViewPosition="AP", AcquisitionTime="103000"),
        xray(3, 2, ViewPosition="AP", AcquisitionTime="100000"),
    ]
    assert taken(choose_inputs(hip, build.series_of(*study))) == {"ap": ["3", "1", "2"]}


def test_an_instance_outside_the_envelope_is_left_out_and_told(build, hip, xray):
    study = [xray(1, ViewPosition="AP"), *(xray(n, 2, ViewPosition="AP", Rows=32) for n in (2, 3))]
    verdict = choose_inputs(hip, build.series_of(*study))
    assert taken(verdict) == {"ap": ["1"]}
    assert verdict.warnings == (
        "instance 2 of series 2, instance 3 of series 2 were left out of ap hip radiograph: "
        "the picture is too small: Rows is 32",
    )


def test_when_none_fits_the_study_is_refused_and_the_attribute_named(build, hip, xray):
    study = [xray(1, ViewPosition="AP", Rows=32), xray(2, ViewPosition="LL")]
    verdict = choose_inputs(hip, build.series_of(*study))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "Rows"
    assert verdict.reason == "ap hip radiograph: the picture is too small: Rows is 32"


def test_when_none_fits_the_reason_of_each_is_told(build, hip, xray):
    """Who mends one picture is not refused again for the next."""
    study = [
        xray(1, ViewPosition="AP", Rows=32),
        xray(2, 2, ViewPosition="AP", PixelSpacing=None, SeriesNumber=None),
        xray(3, ViewPosition="AP", Rows=32),
    ]
    verdict = choose_inputs(hip, build.series_of(*study))
    assert isinstance(verdict, Outside)
    assert verdict.reason.startswith(
        "ap hip radiograph: instance 1 of series 1, instance 3 of series 1: the picture is too small: "
        "Rows is 32; instance 2: ImagerPixelSpacing"
    )


def test_of_many_instances_the_number_is_told_and_of_one_without_a_number_nothing(build, hip, xray):
    small = [xray(n, ViewPosition="AP", Rows=32) for n in range(2, 8)]
    nameless = xray(8, ViewPosition="AP", PixelSpacing=None, InstanceNumber=None)
    verdict = choose_inputs(hip, build.series_of(xray(1, ViewPosition="AP"), *small, nameless))
    assert verdict.warnings[1].startswith("an instance without a number was left out of ap hip radiograph: ")
    assert verdict.warnings[0].startswith("6 instances were left out of ap hip radiograph: the picture")


def test_an_input_that_may_be_left_out_is_when_none_of_its_instances_fits(build, make_manifest, xray):
    inputs = [xray_input("ap", "AP", when_outside="leave_out"), xray_input("lateral", "LATERAL")]
    manifest = make_manifest(inputs, study=STUDY)
    study = [xray(1, ViewPosition="AP", Rows=32), xray(2, ViewPosition="LL")]
    verdict = choose_inputs(manifest, build.series_of(*study))
    assert taken(verdict) == {"lateral": ["2"]}
    assert verdict.warnings[0].startswith(
        "instance 1 of series 1 was left out of ap hip radiograph: the picture"
    )


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"PixelSpacing": None}, "ImagerPixelSpacing"),
        ({"PixelData": b""}, "PixelData"),
        ({"PixelData": b"\0" * 10}, "PixelData"),
        ({"PatientID": ""}, "PatientID"),
        ({"BitsStored": 17}, "BitsStored"),
    ],
)
def test_what_every_app_needs_counts_as_envelope_of_each_instance(build, hip, xray, changes, attribute):
    broken = xray(1, ViewPosition="AP", **changes)
    verdict = choose_inputs(hip, build.series_of(broken))
    assert isinstance(verdict, Outside)
    assert verdict.attribute == attribute
    verdict = choose_inputs(hip, build.series_of(broken, xray(2, 2, ViewPosition="AP")))
    assert taken(verdict) == {"ap": ["2"]}
    assert attribute in verdict.warnings[0]


def test_a_rule_that_only_warns_counts_the_instances(build, hip, xray):
    study = [xray(1, ViewPosition="AP", BurnedInAnnotation="YES"), xray(2, ViewPosition="AP")]
    verdict = choose_inputs(hip, build.series_of(*study))
    assert taken(verdict) == {"ap": ["1", "2"]}
    assert verdict.warnings == (
        "ap hip radiograph: text may be burned in: BurnedInAnnotation is 'YES', in 1 of 2 instances",
    )


def test_what_is_passed_over_is_told_only_when_nothing_else_fits(build, make_manifest, xray):
    rule = {"attribute": "ImageType", "index": 1, "equals": "ORIGINAL", "reason": "it is a copy",
            "severity": "pass_over"}  # fmt: skip
    manifest = make_manifest([xray_input("ap", "AP", envelope=[rule])])
    copy = xray(1, ViewPosition="AP", ImageType=["DERIVED", "PRIMARY"])
    verdict = choose_inputs(manifest, build.series_of(copy, xray(2, ViewPosition="AP")))
    assert taken(verdict) == {"ap": ["2"]}
    assert verdict.warnings == ()
    verdict = choose_inputs(manifest, build.series_of(copy))
    assert isinstance(verdict, Outside)
    assert "it is a copy" in verdict.reason


def test_pictures_that_together_exceed_the_memory_are_outside(build, hip, xray):
    large = {"Rows": 20000, "Columns": 20000, "PixelData": b"\0" * 100, "ViewPosition": "AP"}
    study = [xray(number, **large) for number in (1, 2, 3)]
    for dataset in study:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    assert isinstance(choose_inputs(hip, build.series_of(*study[:2])), Taken)
    verdict = choose_inputs(hip, build.series_of(*study))
    assert isinstance(verdict, Outside)
    assert "the app may use 2000 MB" in verdict.reason


def test_an_instance_that_would_be_two_inputs_is_outside(build, make_manifest, xray):
    manifest = make_manifest([xray_input("ap", "AP"), xray_input("front", "AP")], study={})
    verdict = choose_inputs(manifest, build.series_of(xray(1, ViewPosition="AP")))
    assert isinstance(verdict, Outside)
    assert "both ap hip radiograph and front hip radiograph" in verdict.reason


def test_a_study_of_another_part_is_not_for_this_app(build, hip, xray):
    verdict = choose_inputs(hip, build.series_of(xray(1, ViewPosition="AP", BodyPartExamined="CHEST")))
    assert isinstance(verdict, NotForThisApp)
    assert verdict.attribute == "BodyPartExamined"


def test_a_hip_of_which_nobody_says_the_view_is_not_for_this_app_and_the_view_is_named(build, hip, xray):
    verdict = choose_inputs(hip, build.series_of(xray(1)))
    assert isinstance(verdict, NotForThisApp)
    assert "the view cannot be told from" in verdict.reason


def test_a_need_that_is_not_met_is_a_refusal(build, make_manifest, xray):
    inputs = [xray_input("ap", "AP"), xray_input("lateral", "LATERAL")]
    manifest = make_manifest(inputs, study={"needs_any": [["ap"]], "reason_needs": "an AP view is needed"})
    verdict = choose_inputs(manifest, build.series_of(xray(1, ViewPosition="LL")))
    assert isinstance(verdict, Outside)
    assert verdict.reason.startswith("an AP view is needed: in the nearest series the view")


def test_the_same_instance_twice_is_taken_once_and_other_content_under_its_uid_not_at_all(
    hip, xray, tmp_path
):
    for name in ("a.dcm", "b.dcm"):
        xray(1, ViewPosition="AP").save_as(tmp_path / name, enforce_file_format=True)
    assert taken(choose_inputs(hip, read_series(tmp_path.iterdir())[0])) == {"ap": ["1"]}
    xray(1, 2, ViewPosition="AP").save_as(tmp_path / "c.dcm", enforce_file_format=True)
    verdict = choose_inputs(hip, read_series(tmp_path.iterdir())[0])
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "SOPInstanceUID"


def test_a_preference_beside_every_is_a_broken_manifest(make_manifest):
    with pytest.raises(BrokenManifest, match="'prefer' chooses among series"):
        make_manifest([xray_input("ap", "AP", prefer=[HIP])])
    with pytest.raises(BrokenManifest, match="takes"):
        make_manifest([xray_input("ap", "AP", takes="all")])


def test_the_node_gives_the_app_every_file_and_one_more_instance_changes_the_digest(hip, xray, tmp_path):
    app = App(manifest=hip, app_dir=tmp_path, bundle_dir=tmp_path, model_digest="", training_kind="synthetic")
    for number, position in ((1, "AP"), (2, "LL"), (3, "AP")):
        path = tmp_path / f"{number}.dcm"
        xray(number, number, ViewPosition=position).save_as(path, enforce_file_format=True)
    early, _ = read_series([tmp_path / "1.dcm", tmp_path / "2.dcm"])
    whole, _ = read_series(tmp_path.glob("*.dcm"))
    (first,), (second,) = route_study(early, [app]), route_study(whole, [app])
    assert (first.decision, second.decision) == (Decision.TAKEN, Decision.TAKEN)
    assert second.paths == {"ap": [tmp_path / "1.dcm", tmp_path / "3.dcm"], "lateral": [tmp_path / "2.dcm"]}
    assert first.input_digest() != second.input_digest()
    assert second.input_digest() == input_digest({k: v[::-1] for k, v in second.inputs.items()})
