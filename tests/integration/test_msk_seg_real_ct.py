"""The model of msk_ct on public CTs of patients: an outside check, but not an unseen test.

The reference of the bones is not drawn by a reader: it is made of the same CT by thresholds of its
own (`tests.msk_real_ct`), and the edges of bones are refined by thresholds too (`apps.msk_ct.refine`),
in part while looking at one of these CTs. So the agreement of bones is that of one patient, used
during development. No weight was learned from any of them. The labels that come with the CT cover
only a few slices of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.msk_ct.segment import segment
from apps.msk_ct.structures import SEGMENTS, Side, segment_number
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read.ct import CtVolume, read_ct_volume
from tests.msk_real_ct import MODEL, agreement, read_real_ct, write_as_dicom

LEAST_DICE = 0.8


def test_bones_of_a_patient_are_outlined(shared_data: Path, tmp_path: Path) -> None:
    real = read_real_ct(shared_data / "real_ct_abdomen_pelvis")
    volume = write_as_dicom(real, tmp_path)
    found = segment(volume, bundle=MODEL, device="cpu")
    agreed = agreement(real, volume, found)
    for name in ("pelvis_right", "pelvis_left", "femur_right"):
        assert agreed[name][0] >= LEAST_DICE, f"{name}: {agreed[name]}"


def test_an_upper_abdomen_is_refused(shared_data: Path) -> None:
    real = read_real_ct(shared_data / "real_ct_abdomen_pelvis")
    hu, geometry = real.hu_zyx[82:], real.geometry
    part = VolumeGeometry(
        hu.shape, geometry.spacing_mm_zyx, geometry.origin_mm_lps, geometry.direction_lps_zyx
    )
    with pytest.raises(Refused, match="no hip or thigh"):
        segment(CtVolume(hu_zyx=hu, geometry=part, instances=()), bundle=MODEL, device="cpu")


def test_a_single_thigh_of_a_patient_is_outlined_on_its_side(shared_data: Path) -> None:
    volume = read_ct_volume(sorted((shared_data / "real_ct_hip").glob("CT_image_*.dcm")))
    found = segment(volume, bundle=MODEL, device="cpu")
    sizes = np.bincount(found.segments_zyx.ravel(), minlength=44) * volume.geometry.voxel_volume_ml
    sides = {side: sum(sizes[s.number] for s in SEGMENTS if s.side is side) for side in Side}
    assert sides[Side.RIGHT] > 20 * sides[Side.LEFT]
    femur = found.segments_zyx == segment_number("femur", Side.RIGHT)
    assert 60 < femur.sum() * volume.geometry.voxel_volume_ml < 250
    assert volume.hu_zyx[femur].mean() > 300
