"""Derived facts: times over midnight, gaps, tilt, image planes, views and weightings."""

from __future__ import annotations

import math

import pytest
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def fact(build, name, *datasets):
    found = build.series_of(*datasets)[0].views[0].values(name)
    return found[0][0] if found else None


def started(build, **times):
    item = build.tracer(start=None)
    for keyword, value in times.items():
        with config.disable_value_validation():
            setattr(item, f"RadiopharmaceuticalStart{keyword}", value)
    return Sequence([item])


@pytest.mark.parametrize(
    ("acquired", "times", "minutes"),
    [
        (("20240105", "103000"), {"Time": "100000"}, 30),
        (("20240105", "103000.50"), {"Time": "100000.500000"}, 30),
        (("20240106", "001500"), {"Time": "234500"}, 30),
        (("20240106", "001500"), {"DateTime": "20240105234500"}, 30),
        (("20240106", "001500"), {"DateTime": "20240105234500+0900"}, 30),
        (("20240105", "140000"), {"DateTime": "20240105100000.000000", "Time": "133000"}, 240),
        (("2024.01.05", "10:30"), {"Time": "1000"}, 30),
        (("20240105", "10:30:00"), {"Time": "10:00:00"}, 30),
        (("20240105", "996000"), {"Time": "100000"}, None),
        (("20240105", "103000"), {}, None),
    ],
)
def test_minutes_after_injection(build, acquired, times, minutes):
    dataset = build.spect(
        AcquisitionDate=acquired[0],
        AcquisitionTime=acquired[1],
        RadiopharmaceuticalInformationSequence=started(build, **times),
    )
    found = fact(build, "@minutes_after_injection", dataset)
    assert found == (None if minutes is None else pytest.approx(minutes))


def test_slices_of_an_nm_object_are_its_frames(build):
    assert fact(build, "@slice_count", build.spect()) == 30
    assert fact(build, "@slice_spacing_mm", build.spect()) == pytest.approx(4.8)
    assert fact(build, "@missing_slices", build.spect()) == 0


def test_slices_that_an_nm_object_lacks_are_counted(build):
    assert fact(build, "@missing_slices", build.spect(NumberOfSlices=33)) == 3
    holed = [n for n in range(1, 33) if n not in (7, 20)]
    dataset = build.spect(SliceVector=holed)
    assert fact(build, "@missing_slices", dataset) == 2
    assert fact(build, "@slice_gap_ratio", dataset) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_a_gap_in_a_stack_is_found_in_any_order(build, order):
    heights = [0, 3, 6, 15, 18, 21][::order]
    slices = [build.ct_slice(n, z) for n, z in enumerate(heights)]
    assert fact(build, "@slice_count", *slices) == 6
    assert fact(build, "@slice_spacing_mm", *slices) == 3
    assert fact(build, "@slice_gap_ratio", *slices) == 3
    assert fact(build, "@missing_slices", *slices) == 2


def test_a_gap_between_three_slices_is_found(build):
    assert fact(build, "@missing_slices", *[build.ct_slice(n, z) for n, z in enumerate([0, 5, 15])]) == 1


def test_repeated_positions_are_counted(build):
    slices = [build.ct_slice(n, z) for n, z in enumerate([0, 3, 3, 6])]
    assert fact(build, "@repeated_positions", *slices) == 1
    assert fact(build, "@slice_gap_ratio", *slices) == 1


def test_gantry_tilt_is_the_angle_of_stack_and_normal(build):
    tilt = math.radians(12)
    plane = [1, 0, 0, 0, math.cos(tilt), math.sin(tilt)]
    tilted = [build.ct_slice(n, 3.0 * n, ImageOrientationPatient=plane) for n in range(4)]
    straight = [build.ct_slice(n, 3.0 * n) for n in range(4)]
    assert fact(build, "@gantry_tilt_deg", *tilted) == pytest.approx(12, abs=0.01)
    assert fact(build, "@gantry_tilt_deg", *straight) == pytest.approx(0, abs=1e-6)
    assert fact(build, "@gantry_tilt_deg", build.ct_slice(0, 0.0, GantryDetectorTilt=-7.0)) == 7


@pytest.mark.parametrize(
    ("plane", "name"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 0, 0.7071, 0.7071], "oblique"),
        ([1, 0, 0, 1, 0, 0], None),
        ([0, 0, 0, 0, 0, 0], None),
    ],
)
def test_orientation(build, plane, name):
    assert fact(build, "@orientation", build.ct_slice(0, 0.0, ImageOrientationPatient=plane)) == name


def test_view_is_taken_from_code_then_position_then_text(build):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "399067008", "SCT"
    coded = build.spect(ViewCodeSequence=Sequence([item]), ViewPosition="AP")
    assert fact(build, "@view", coded) == "LATERAL"
    assert fact(build, "@view", build.spect(ViewPosition="PA")) == "PA"
    assert fact(build, "@view", build.spect(SeriesDescription="股関節 正面")) == "AP"
    assert fact(build, "@view", build.spect(SeriesDescription="hip ラウエン")) == "LATERAL"
    assert fact(build, "@view", build.spect(SeriesDescription="capital")) is None


def test_side_and_body_part_fall_back(build):
    assert fact(build, "@side", build.spect(ImageLaterality="L")) == "L"
    assert fact(build, "@side", build.spect(SeriesDescription="右股関節")) == "R"
    assert fact(build, "@side", build.spect()) is None
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "24136001", "SCT", "Hip joint"
    assert fact(build, "@body_part", build.spect(AnatomicRegionSequence=Sequence([item]))) == "HIP JOINT"


@pytest.mark.parametrize(
    ("timing", "weighting"),
    [
        ({"ScanningSequence": "IR", "InversionTime": 160, "RepetitionTime": 4000, "EchoTime": 60}, "STIR"),
        ({"ScanningSequence": "SE", "RepetitionTime": 500, "EchoTime": 10}, "T1"),
        ({"ScanningSequence": "SE", "RepetitionTime": 3500, "EchoTime": 100}, "T2"),
        ({"SeriesDescription": "SAG STIR"}, "STIR"),
        ({"SeriesDescription": "knee"}, None),
    ],
)
def test_mr_weighting(build, timing, weighting):
    assert fact(build, "@mr_weighting", build.spect(Modality="MR", **timing)) == weighting


def test_texts_of_a_projection_are_all_joined(build):
    """Consoles of CR write their menu where no other modality writes anything."""
    dataset = build.spect(
        AcquisitionDeviceProcessingDescription="ＨＩＰ JOINT AP", PerformedProcedureStepDescription="股関節"
    )
    text = fact(build, "@projection_text", dataset)
    assert text.startswith("hip joint ap ")
    assert "股関節" in text


def test_contrast_is_taken_from_the_agent_or_the_text(build):
    assert fact(build, "@is_contrast_enhanced", build.spect(ContrastBolusAgent="Gd-DTPA")) == 1
    assert fact(build, "@is_contrast_enhanced", build.spect(SeriesDescription="T1 造影")) == 1
    assert fact(build, "@is_contrast_enhanced", build.spect()) == 0


def test_pixel_bytes_are_what_is_there_and_what_is_asked(build):
    assert fact(build, "@pixel_data_bytes", build.spect()) == 2 * 64 * 64 * 30
    assert fact(build, "@expected_pixel_bytes", build.spect()) == 2 * 64 * 64 * 30
    assert fact(build, "@expected_pixel_bytes", build.spect(Rows=None)) is None


def test_series_text_and_localizer(build):
    dataset = build.spect(StudyDescription="ＭＩＢＧ", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert fact(build, "@series_text", dataset) == "heart spect yamada mibg"
    assert fact(build, "@is_localizer", dataset) == 1
    assert fact(build, "@is_localizer", build.spect()) == 0
