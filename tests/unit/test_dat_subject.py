"""Age, position and attenuation correction as headers state them, and what contradicts them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset

from apps.dat_spect.attenuation import described_correction
from apps.dat_spect.subject import age_of
from operators.read.nm_position import position_contradiction


@pytest.mark.parametrize(
    ("stated", "born", "years", "is_told"),
    [
        ("071Y", "19530101", 71.0, False),
        ("", "19530101", 71.0, False),
        ("071Y", "", 71.0, False),
        ("060Y", "19530101", 60.0, True),
        ("000Y", "19530101", None, False),
        ("004Y", "", None, False),
        ("120Y", "", None, False),
        ("", "19000101", None, False),
        ("", "", None, False),
    ],
)
def test_only_the_age_of_an_adult_is_an_age(stated, born, years, is_told):
    header = Dataset()
    header.PatientAge, header.PatientBirthDate, header.StudyDate = stated, born, "20240701"
    found = age_of(header)
    assert found.years == years
    assert bool(found.why_missing) is (years is None)
    assert bool(found.warning) is is_told


@pytest.mark.parametrize(
    ("description", "wanted"),
    [
        ("DaT SPECT AC", True),
        ("DaT ACSC OSEM", True),
        ("Brain_CTAC", True),
        ("DaT Chang", True),
        ("吸収補正あり", True),
        ("DaT SPECT NoAC", False),
        ("DaT NAC", False),
        ("DaT non-AC", False),
        ("DaT uncorrected", False),
        ("DaT AC off", False),
        ("吸収補正なし", False),
        ("DaT SPECT", None),
        ("DaT transaxial (accepted)", None),
        ("", None),
    ],
)
def test_a_description_says_whether_attenuation_was_corrected(description, wanted):
    header = Dataset()
    header.SeriesDescription = description
    assert described_correction(SimpleNamespace(instances=(header,))) is wanted


def lying(*, modifier: str = "", gantry: str = "", position: str = "", axes=(1, 0, 0, 0, 1, 0)) -> Dataset:
    header, detector = Dataset(), Dataset()
    detector.ImageOrientationPatient = list(axes)
    header.DetectorInformationSequence = [detector]
    if modifier:
        orientation, item = Dataset(), Dataset()
        item.CodeValue = modifier
        orientation.PatientOrientationModifierCodeSequence = [item]
        header.PatientOrientationCodeSequence = [orientation]
    if gantry:
        item = Dataset()
        item.CodeValue = gantry
        header.PatientGantryRelationshipCodeSequence = [item]
    if position:
        header.PatientPosition = position
    return header


@pytest.mark.parametrize(
    ("header", "attribute"),
    [
        (lying(), None),
        (lying(modifier="40199007", gantry="102540008", position="HFS"), None),
        (lying(modifier="1240000"), "PatientOrientationCodeSequence.PatientOrientationModifierCodeSequence"),
        (lying(modifier="F-10310"), "PatientOrientationCodeSequence.PatientOrientationModifierCodeSequence"),
        (lying(gantry="102541007"), "PatientGantryRelationshipCodeSequence"),
        (lying(gantry="F-10480"), "PatientGantryRelationshipCodeSequence"),
        (lying(position="FFS"), "PatientGantryRelationshipCodeSequence"),
        (lying(gantry="102540008", position="FFS"), "PatientPosition"),
        (lying(modifier="40199007", position="HFP"), "PatientPosition"),
        (lying(gantry="102541007", axes=(-1, 0, 0, 0, 1, 0)), None),
        (lying(modifier="1240000", axes=(-1, 0, 0, 0, -1, 0)), None),
    ],
)
def test_a_position_that_the_axes_contradict_is_named(header, attribute):
    found = position_contradiction(header)
    assert (found[1] if found else None) == attribute
