"""Which part of the spine a series shows, as consoles and archives write it."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from operators.select.spine import spine_region_of


def _dataset(part: str = "", series: str = "", study: str = "", protocol: str = "") -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in (
        ("BodyPartExamined", part),
        ("SeriesDescription", series),
        ("StudyDescription", study),
        ("ProtocolName", protocol),
    ):
        if value:
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("said", "region"),
    [
        ({"part": "CSPINE"}, "cervical"),
        ({"part": "CERVICAL_SPINE", "series": "T1 sag"}, "cervical"),
        ({"part": "SPINE", "protocol": "C_SPINE"}, "cervical"),
        ({"part": "SPINE", "series": "t1_tse_sag_c_spine"}, "cervical"),
        ({"part": "SPINE", "series": "頸髄 T1 SAG"}, "cervical"),
        ({"part": "SPINE", "series": "頚部 T1 SAG"}, "cervical"),
        ({"part": "LSPINE", "series": "C-spine T1"}, "cervical"),
        ({"part": "SPINE", "series": "T1 SAG", "study": "頸椎・腰椎MRI"}, "unclear"),
        ({"part": "SPINE", "series": "T1 SAG", "study": "頸椎MRI"}, "cervical"),
        ({"part": "SPINE", "series": "T1 SAG", "study": "腰椎MRI"}, "thoracolumbar"),
        ({"part": "SPINE", "series": "腰椎 T1 SAG", "study": "頸椎・腰椎MRI"}, "thoracolumbar"),
        ({"part": "LSPINE", "study": "頸椎・腰椎MRI"}, "thoracolumbar"),
        ({"part": "TLSPINE"}, "thoracolumbar"),
        ({"part": "LUMBAR_SPINE"}, "thoracolumbar"),
        ({"series": "sag_STIR_Lspine"}, "thoracolumbar"),
        ({"series": "胸腰椎 矢状断 T1"}, "thoracolumbar"),
        ({"part": "OTHER", "series": "T/L spine T1"}, "thoracolumbar"),
        ({"part": "SPINE", "series": "whole spine T1"}, "whole"),
        ({"series": "全脊椎 T1"}, "whole"),
        ({"part": "SPINE", "series": "T1 sag"}, "spine"),
        ({"part": "BRAIN", "series": "T1 sag"}, "other"),
        ({"part": "PELVIS", "series": "T1 sag", "study": "腰椎"}, "other"),
        ({"series": "膝 T1 sag"}, "other"),
        ({"series": "T1 SPIR sag"}, None),
        ({"series": "T1 sag"}, None),
        ({}, None),
    ],
)
def test_the_region_is_told_by_part_series_and_order(said, region):
    assert spine_region_of(_dataset(**said)) == region
