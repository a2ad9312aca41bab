"""Numbers of msk_ct on volumes whose answers are known without measuring."""

from __future__ import annotations

import numpy as np
import pytest

from apps.msk_ct.codes import CODES, JAPANESE
from apps.msk_ct.findings import warnings_of
from apps.msk_ct.metal import judge_metal
from apps.msk_ct.quantify import compare_sides, quantify
from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Side, segment_number
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.measure.attenuation import DensityLine
from operators.measure.metal import metal_pieces
from operators.measure.truncation import cut_off_labels

GRID = VolumeGeometry((20, 40, 50), (2.5, 1.0, 2.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
VOXEL_ML = 0.005
RIGHT = segment_number("gluteus_medius", Side.RIGHT)
LEFT = segment_number("gluteus_medius", Side.LEFT)
FEMUR = segment_number("femur", Side.RIGHT)


def box(volume, z, y, x, value):
    volume[z[0] : z[1], y[0] : y[1], x[0] : x[1]] = value


@pytest.fixture
def scene():
    """A right gluteus medius of 20 HU and 600 voxels, a left one of 50 HU and 800, a femur of 300 HU."""
    segments = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    hu = np.full(GRID.shape_zyx, -100.0, dtype=np.float32)
    for value, x, z, brightness in ((RIGHT, 5, (5, 11), 20.0), (LEFT, 30, (5, 13), 50.0)):
        box(segments, z, (10, 20), (x, x + 10), value)
        box(hu, z, (10, 20), (x, x + 10), brightness)
    box(segments, (12, 16), (25, 35), (5, 10), FEMUR)
    box(hu, (12, 16), (25, 35), (5, 10), 300.0)
    return hu, segments


def measured(hu, segments, **arguments):
    given = {"psv": {}, "predictive_dice": {}} | arguments
    return quantify(hu, segments, GRID, **given)


def test_a_muscle_has_volume_attenuation_fat_and_lean_mass(scene):
    one = measured(*scene, psv={RIGHT: 0.01}, predictive_dice={RIGHT: 0.9}).structures[RIGHT]
    assert one.volume_ml == pytest.approx(600 * VOXEL_ML)
    assert one.mean_hu == pytest.approx(20.0)
    assert one.sd_hu == pytest.approx(0.0, abs=1e-6)
    assert one.fat_fraction_percent == pytest.approx(100 * 38 / 158)
    assert one.lean_mass_g == pytest.approx(3.0 * 1.06 * 50 / 60)
    assert one.density_mg_cm3 is None
    assert (one.psv, one.predictive_dice) == (0.01, 0.9)


def test_fat_and_lean_are_those_of_the_voxels_and_not_of_the_mean(scene):
    hu, segments = scene
    hu[5:8, 10:20, 5:15] = 58.0
    hu[8:11, 10:20, 5:15] = -100.0
    one = measured(hu, segments).structures[RIGHT]
    assert one.mean_hu == pytest.approx(-21.0)
    assert one.sd_hu == pytest.approx(79.0)
    assert one.fat_fraction_percent == pytest.approx(50.0)
    assert one.lean_mass_g == pytest.approx(1.5 * 1.06)


def test_a_bone_has_density_by_the_line_that_is_given(scene):
    plain = measured(*scene)
    assert plain.structures[FEMUR].density_mg_cm3 == pytest.approx(240.0)
    assert plain.structures[FEMUR].fat_fraction_percent is None
    assert plain.structures[FEMUR].lean_mass_g is None
    assert not plain.density_line.is_calibrated
    line = DensityLine(slope=0.7, intercept=-5.0, is_calibrated=True)
    assert measured(*scene, density_line=line).structures[FEMUR].density_mg_cm3 == pytest.approx(205.0)


def test_what_is_not_there_is_absent(scene):
    hu, segments = scene
    segments[0, 0, 0] = segment_number("sacrum")
    assert set(measured(hu, segments).structures) == {RIGHT, LEFT, FEMUR}


def test_sides_are_compared_relative_to_the_larger_and_to_the_denser_one(scene):
    difference = measured(*scene).differences["gluteus_medius"]
    assert difference.smaller is Side.RIGHT
    assert difference.atrophy_percent == pytest.approx(25.0)
    assert difference.less_dense is Side.RIGHT
    assert difference.attenuation_deficit_hu == pytest.approx(30.0)


def test_the_smaller_side_need_not_be_the_less_dense_one(scene):
    hu, segments = scene
    hu[segments == RIGHT] = 55.0
    difference = measured(hu, segments).differences["gluteus_medius"]
    assert (difference.smaller, difference.less_dense) == (Side.RIGHT, Side.LEFT)
    assert difference.attenuation_deficit_hu == pytest.approx(5.0)


def test_sides_are_not_compared_when_one_is_cut_off_doubtful_or_absent(scene):
    hu, segments = scene
    doubtful = measured(hu, segments, unreliable=frozenset({LEFT}))
    assert doubtful.differences == {}
    assert doubtful.not_compared == {"gluteus_medius": "low expected accuracy"}
    assert doubtful.structures[LEFT].is_unreliable
    cut = segments.copy()
    box(cut, (5, 11), (10, 20), (0, 5), RIGHT)
    assert measured(hu, cut).not_compared == {"gluteus_medius": "cut off by the edge of the scan"}
    alone = np.where(segments == LEFT, 0, segments)
    assert measured(hu, alone).not_compared == {"gluteus_medius": "one side was not found"}
    assert compare_sides({}) == ({}, {})


FACES = {
    "first slice": (slice(0, 1), slice(10, 20), slice(10, 20)),
    "last slice": (slice(-1, None), slice(10, 20), slice(10, 20)),
    "front": (slice(5, 15), slice(0, 1), slice(10, 20)),
    "back": (slice(5, 15), slice(-1, None), slice(10, 20)),
    "right": (slice(5, 15), slice(10, 20), slice(0, 1)),
    "left": (slice(5, 15), slice(10, 20), slice(-1, None)),
}


@pytest.mark.parametrize("face", FACES)
def test_a_structure_at_any_face_of_the_volume_is_cut_off(face):
    segments = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    segments[5:8, 22:30, 22:30] = LEFT
    hu = np.zeros(GRID.shape_zyx, dtype=np.float32)
    assert cut_off_labels(segments, hu, GRID) == frozenset()
    segments[FACES[face]] = RIGHT
    assert cut_off_labels(segments, hu, GRID) == {RIGHT}


def test_a_few_stray_voxels_at_the_edge_cut_nothing_off():
    segments = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    segments[0, 5, 5:9] = LEFT
    assert cut_off_labels(segments, np.zeros(GRID.shape_zyx), GRID) == frozenset()


def test_a_structure_at_the_edge_of_the_round_field_of_view_is_cut_off():
    z, y, x = np.indices((3, 64, 64))
    hu = np.where((y - 31.5) ** 2 + (x - 31.5) ** 2 < 30**2, 40.0, -2048.0)
    segments = np.zeros(hu.shape, dtype=np.uint8)
    segments[1, 25:35, 25:35] = LEFT
    segments[1, 28:36, 2:6] = RIGHT
    grid = VolumeGeometry(hu.shape, (2.0, 1.5, 1.5), (0.0, 0.0, 0.0), GRID.direction_lps_zyx)
    assert cut_off_labels(segments, hu, grid) == {RIGHT}
    body = np.where((y - 31.5) ** 2 + (x - 31.5) ** 2 < 20**2, 40.0, -990.0 + (z + y + x) % 5)
    assert cut_off_labels(segments, body, grid) == frozenset()


def test_metal_is_every_bright_piece_that_is_no_speck():
    hu = np.full(GRID.shape_zyx, 50.0, dtype=np.float32)
    assert metal_pieces(hu, GRID) == ()
    hu[3, 3, 3] = hu[8, 20, 20] = 3071.0
    assert metal_pieces(hu, GRID) == ()
    hu[10:12, 10:13, 10:14] = 3000.0
    (piece,) = metal_pieces(hu, GRID)
    assert len(piece) == 24
    assert piece.min(axis=0).tolist() == [10, 10, 10]


@pytest.fixture
def hips():
    """Femora of both sides from slice 0 to 15, and a psoas of each above them; rows run to the left."""
    wide = VolumeGeometry((20, 40, 50), (5.0, 4.0, 6.0), (-150.0, 0.0, 0.0), GRID.direction_lps_zyx)
    segments = np.zeros(wide.shape_zyx, dtype=np.uint8)
    for side, x in ((Side.RIGHT, (5, 12)), (Side.LEFT, (38, 45))):
        box(segments, (0, 10), (10, 20), x, segment_number("femur", side))
        box(segments, (14, 20), (10, 20), x, segment_number("psoas_major", side))
    return segments, wide


def bright(z, y, x):
    return np.add(np.argwhere(np.ones((2, 2, 2))), (z, y, x))


def test_metal_of_one_side_marks_what_is_in_its_slices_on_that_side(hips):
    metal = judge_metal((bright(4, 15, 40),), *hips)
    assert metal is not None
    assert metal.side is Side.LEFT
    assert metal.affected == {segment_number("femur", Side.LEFT)}
    assert metal.volume_ml == pytest.approx(8 * 0.12)


def test_metal_in_the_middle_marks_both_sides_of_its_slices(hips):
    metal = judge_metal((bright(17, 30, 24),), *hips)
    assert metal is not None
    assert metal.side is None
    assert metal.affected == {segment_number("psoas_major", side) for side in Side}


def test_metal_of_both_sides_is_refused_and_none_says_nothing(hips):
    with pytest.raises(Refused, match="on both sides") as refused:
        judge_metal((bright(4, 15, 40), bright(4, 15, 8)), *hips)
    assert refused.value.attribute == "PixelData"
    assert judge_metal((), *hips) is None


def test_metal_of_a_side_that_is_alone_is_of_that_side(hips):
    segments, grid = hips
    right = [s.number for s in SEGMENTS if s.side is Side.RIGHT]
    alone = np.where(np.isin(segments, right), segments, 0)
    metal = judge_metal((bright(4, 15, 8),), alone, grid)
    assert metal is not None
    assert metal.side is Side.RIGHT


def test_every_structure_has_a_code_of_its_own_and_a_japanese_name():
    assert set(CODES) == set(JAPANESE) == {structure.name for structure in STRUCTURES}
    values = [(one.primary.scheme_designator, one.primary.value) for one in CODES.values()]
    assert len(set(values)) == len(STRUCTURES)
    assert len(SEGMENTS) == 43
    for structure in STRUCTURES:
        given = CODES[structure.name]
        assert given.primary.scheme_designator == (
            "SCT" if structure.is_bone else given.primary.scheme_designator
        )
        assert (given.primary.scheme_designator == "99DAIN") == bool(given.parts)


def test_metal_away_from_all_structures_takes_nothing_away(hips):
    """Rivets of trousers, a ring: on both sides, and no reason to refuse."""
    segments, geometry = hips
    away = np.zeros((70, *segments.shape[1:]), dtype=segments.dtype)
    away[: len(segments)] = segments
    assert judge_metal((bright(65, 15, 40), bright(65, 15, 8)), away, geometry) is None


def test_what_the_model_has_no_limit_for_is_neither_doubtful_nor_trusted(scene):
    found = measured(*scene, unknown=frozenset({LEFT}))
    assert found.structures[LEFT].is_unreliable is None
    assert found.structures[RIGHT].is_unreliable is False
    assert "gluteus_medius" in found.differences
    assert "The expected accuracy of 1 structures is not known for this model." in warnings_of(found)
    both = measured(*scene, unknown=frozenset({LEFT}), unreliable=frozenset({LEFT}))
    assert both.structures[LEFT].is_unreliable is True


def test_a_structure_within_a_pixel_of_the_model_from_the_edge_is_cut_off():
    grid = VolumeGeometry((20, 60, 60), (2.0, 0.6, 0.6), (0.0, 0.0, 0.0), GRID.direction_lps_zyx)
    segments = np.zeros(grid.shape_zyx, dtype=np.uint8)
    segments[5:15, 20:40, 3:20] = RIGHT
    segments[5:15, 20:40, 30:50] = LEFT
    assert cut_off_labels(segments, np.zeros(grid.shape_zyx), grid) == {RIGHT}
