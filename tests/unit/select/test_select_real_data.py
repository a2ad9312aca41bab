"""Public files from real scanners and malformed ones: a verdict or a typed error for each."""

from __future__ import annotations

import time

import pytest

from dicom_node.catalog import find_apps
from operators.select.choose import NotForThisApp, Outside, Taken, choose_inputs
from operators.select.headers import read_series

LONGEST_S = 2.0

CT_INPUT = {
    "name": "ct",
    "title": "axial CT",
    "match": [{"attribute": "Modality", "equals": "CT"}],
    "envelope": [
        {"attribute": "@orientation", "equals": "axial", "reason": "axial slices are needed"},
        {"attribute": "@missing_slices", "at_most": 0, "reason": "the stack has a gap"},
        {"attribute": "@slice_spacing_mm", "at_most": 5, "reason": "slices of 5 mm or less are needed"},
        {"attribute": "@gantry_tilt_deg", "at_most": 1, "reason": "the gantry must not be tilted"},
    ],
}

HIP_XRAY_INPUT = {
    "name": "hip",
    "title": "hip radiograph",
    "match": [
        {"attribute": "Modality", "one_of": ["CR", "DX"]},
        {"attribute": "@body_part", "one_of": ["HIP", "PELVIS"]},
    ],
}


def files_in(folder):
    assert folder.is_dir(), f"{folder} is missing"
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("folder", ["real_cr_nm", "real_mr_shoulder", "real_ct_hip"])
def test_real_studies_of_another_kind_are_not_for_mibg(shared_data, mibg, folder):
    series, _ = read_series(files_in(shared_data / folder))
    verdict = choose_inputs(mibg, series)
    assert isinstance(verdict, NotForThisApp)
    assert verdict.attribute


def test_the_real_hip_ct_is_a_whole_axial_stack(shared_data, make_manifest):
    series, unreadable = read_series(files_in(shared_data / "real_ct_hip"))
    verdict = choose_inputs(make_manifest([CT_INPUT]), series)
    assert isinstance(verdict, Taken)
    assert len(verdict.inputs["ct"]) == 53
    assert {error.path.suffix for error in unreadable} == {".md"}


def test_a_slice_less_of_the_real_hip_ct_is_a_gap(shared_data, make_manifest):
    paths = [p for p in files_in(shared_data / "real_ct_hip") if not p.name.endswith("000020.dcm")]
    series, _ = read_series(paths)
    verdict = choose_inputs(make_manifest([CT_INPUT]), series)
    assert isinstance(verdict, Outside)
    assert verdict.attribute == "ImagePositionPatient"


def test_a_ct_with_empty_uids_is_outside_for_every_app(shared_data, mibg, make_manifest):
    series, _ = read_series(files_in(shared_data / "real_ct_abdomen_pelvis"))
    for manifest in (mibg, make_manifest([CT_INPUT])):
        verdict = choose_inputs(manifest, series)
        assert isinstance(verdict, Outside)
        assert verdict.attribute == "StudyInstanceUID"


def test_a_hip_radiograph_is_told_from_a_tibia(shared_data, make_manifest):
    manifest = make_manifest([HIP_XRAY_INPUT])
    bodies = {}
    for name in ("RG2_J2KI", "RG3_J2KI"):
        series, _ = read_series([shared_data / "real_cr_nm" / name])
        bodies[name] = choose_inputs(manifest, series)
    assert isinstance(bodies["RG2_J2KI"], Taken)
    assert isinstance(bodies["RG3_J2KI"], NotForThisApp)


def test_every_malformed_file_gets_a_verdict_or_a_typed_error(shared_data, mibg, make_manifest):
    manifests = [mibg, make_manifest([CT_INPUT]), *(app.manifest for app in find_apps())]
    paths = [path for path in files_in(shared_data / "malformed") if path.suffix == ".dcm"]
    assert len(paths) > 100
    for path in paths:
        start = time.process_time()
        series, unreadable = read_series([path])
        if unreadable:
            assert unreadable[0].reason
            assert not series
        for manifest in manifests:
            verdict = choose_inputs(manifest, series)
            assert isinstance(verdict, Taken | NotForThisApp | Outside)
            assert isinstance(verdict, Taken) or verdict.reason.isprintable()
        assert time.process_time() - start < LONGEST_S, path.name


def test_all_malformed_files_at_once_get_a_verdict(shared_data, mibg, make_manifest):
    series, unreadable = read_series(files_in(shared_data / "malformed"))
    assert series
    assert unreadable
    for manifest in (mibg, make_manifest([CT_INPUT])):
        assert not isinstance(choose_inputs(manifest, series), Taken)
