"""Parts of the segmentation of msk_ct that need no network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from apps.msk_ct.confidence import (
    calibrate,
    describe_profile,
    failed_below,
    low_confidence,
    unknown_confidence,
)
from apps.msk_ct.prepare import context_slices, network_input, orientation_of, prepare
from apps.msk_ct.refine import refine, refine_bones
from apps.msk_ct.segment import _covered, islands_of
from apps.msk_ct.sides import BONE_REACHES_OVER_MM, NUMBER, is_left
from apps.msk_ct.uncertainty import predictive_dice, segments_of
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.preprocess.separable import Axis, resampled, weights

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
RIGHT_CLASS, FEMUR = NUMBER["gluteus_maximus"], NUMBER["femur"]


def axes(shape: tuple[int, int, int]) -> tuple[Axis, Axis, Axis]:
    return (Axis(shape[0], 4.0), Axis(shape[1], 2.4), Axis(shape[2], 2.4))


def test_resampling_keeps_a_ramp_where_it_is() -> None:
    fine = Axis(60, 0.7)
    coarse = fine.centred(2.4)
    ramp = torch.from_numpy(fine.places_mm.astype(np.float32))
    down = weights(fine, coarse) @ ramp
    assert np.allclose(down.numpy()[1:-1], coarse.places_mm[1:-1], atol=0.01)
    up = weights(coarse, fine) @ torch.from_numpy(coarse.places_mm.astype(np.float32))
    inside = (fine.places_mm >= coarse.places_mm[0]) & (fine.places_mm <= coarse.places_mm[-1])
    assert np.allclose(up.numpy()[inside], fine.places_mm[inside], atol=1e-4)


def test_resampling_goes_axis_by_axis() -> None:
    volume = torch.rand(2, 5, 6, 7)
    matrices = [torch.rand(3, 5), torch.rand(4, 6), torch.rand(2, 7)]
    expected = torch.einsum("czyx,az,by,dx->cabd", volume, *matrices)
    assert torch.allclose(resampled(volume, matrices), expected, atol=1e-5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_and_direction_of_axes_is_put_into_that_of_the_patient(order: tuple[int, ...]) -> None:
    patient = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for flips in itertools.product((False, True), repeat=3):
        stored = patient[tuple(slice(None, None, -1 if f else 1) for f in flips)].transpose(order)
        direction = tuple(tuple(np.asarray(AXIAL[a]) * (-1 if flips[a] else 1)) for a in order)
        geometry = VolumeGeometry(stored.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), direction)
        orientation = orientation_of(geometry)
        assert np.array_equal(orientation.apply(stored), patient)
        assert np.array_equal(orientation.undo(orientation.apply(stored)), stored)


def test_oblique_slices_are_refused() -> None:
    turned = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (1.0, 0.0, 0.0))
    with pytest.raises(Refused, match="oblique"):
        orientation_of(VolumeGeometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), turned))


def test_an_empty_volume_is_refused() -> None:
    hu = np.full((10, 40, 40), -1000, dtype=np.float32)
    with pytest.raises(Refused, match="no body"):
        prepare(hu, VolumeGeometry(hu.shape, (4.0, 2.0, 2.0), (0.0, 0.0, 0.0), AXIAL))


def test_the_table_is_left_out_and_the_body_kept() -> None:
    hu = np.full((10, 100, 100), -1000, dtype=np.float32)
    hu[:, 20:60, 20:80] = 50
    hu[:, 80:82, 5:95] = 200
    prepared = prepare(hu, VolumeGeometry(hu.shape, (4.0, 2.4, 2.4), (0.0, 0.0, 0.0), AXIAL))
    assert prepared.axes[1].places_mm[-1] < 75 * 2.4
    assert prepared.hu_zyx.max() <= 50


def test_what_lies_beyond_the_ends_is_seen_as_air() -> None:
    hu = np.full((4, 20, 30), 100, dtype=np.int16)
    images = network_input(hu, range(1), 4.0)
    assert images.shape == (1, 8, 32, 32)
    assert images[0, 0, 0, 0] == pytest.approx(0.5)
    assert images[0, 1].max() == 0
    assert context_slices(4, 0, 4.0)[:3] == [0, None, 1]


def two_legs(shift: int = 0, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Classes of two shafts with muscle around them, and where the left is."""
    classes = np.zeros((40, 60, 120), dtype=np.uint8)
    left = np.zeros(classes.shape, dtype=bool)
    for z in range(40):
        middle = 60 + shift + round(slope * z)
        for centre in (middle - 25, middle + 25):
            classes[z, 15:45, centre - 15 : centre + 15] = RIGHT_CLASS
            classes[z, 25:35, centre - 5 : centre + 5] = FEMUR
        left[z, :, middle:] = True
    return classes, left


@pytest.mark.parametrize(("shift", "slope"), [(0, 0.0), (12, 0.0), (-8, 0.2)])
def test_two_legs_are_parted_between_the_femora(shift: int, slope: float) -> None:
    classes, left = two_legs(shift, slope)
    found = is_left(classes, axes(classes.shape))
    assert np.array_equal(found[classes > 0], left[classes > 0])


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [-8.0, 8.0])
def test_sides_are_told_in_slices_that_are_turned(axis: str, degrees: float) -> None:
    """The legs stand still and the grid turns: of the plane between them slope or turn change."""
    shape, turn = (60, 60, 120), np.deg2rad(degrees)
    fixed = "xyz".index(axis)
    one, other = (i for i in range(3) if i != fixed)
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = np.cos(turn)
    matrix[one, other], matrix[other, one] = -np.sin(turn), np.sin(turn)
    z, y, x = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, (4.0, 2.4, 2.4), strict=True))
    grid = np.stack(np.broadcast_arrays(x[None, None], y[None, :, None], z[:, None, None]))
    x_mm, y_mm, _ = np.einsum("ij,jzyx->izyx", matrix, grid)
    from_shaft = np.hypot(np.abs(x_mm) - 60, y_mm)
    classes = np.where(from_shaft < 13, FEMUR, np.where(from_shaft < 45, RIGHT_CLASS, 0)).astype(np.uint8)
    found = is_left(classes, axes(shape))
    assert np.array_equal(found[classes > 0], (x_mm > 0)[classes > 0])


@pytest.mark.parametrize(("degrees", "is_taken"), [(8.0, True), (18.0, False)])
@pytest.mark.parametrize("about", ["x", "y"])
def test_slices_are_taken_as_far_turned_as_sides_are_told(about: str, degrees: float, is_taken: bool) -> None:
    sine, cosine = float(np.sin(np.deg2rad(degrees))), float(np.cos(np.deg2rad(degrees)))
    if about == "x":
        directions = ((0.0, -sine, cosine), (0.0, cosine, sine), (1.0, 0.0, 0.0))
    else:
        directions = ((sine, 0.0, cosine), (0.0, 1.0, 0.0), (cosine, 0.0, -sine))
    geometry = VolumeGeometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), directions)
    if is_taken:
        assert orientation_of(geometry).order == (0, 1, 2)
    else:
        with pytest.raises(Refused, match="oblique"):
            orientation_of(geometry)


@pytest.mark.parametrize("source", [Axis(512, 0.7), Axis(400, 0.9), Axis(300, 1.1)])
def test_the_outermost_columns_of_the_ct_are_labelled(source: Axis) -> None:
    assert _covered(source, source.centred(2.4)) == slice(0, source.count)


@pytest.mark.parametrize("is_left_leg", [True, False])
def test_a_leg_alone_is_told_by_what_lies_medial(is_left_leg: bool) -> None:
    classes = np.zeros((20, 40, 60), dtype=np.uint8)
    classes[:, 10:30, 5:20] = NUMBER["gracilis"]
    classes[:, 10:30, 25:35] = FEMUR
    classes[:, 10:30, 40:55] = NUMBER["vastus_lateralis_and_vastus_intermedius"]
    if not is_left_leg:
        classes = classes[:, :, ::-1].copy()
    found = is_left(classes, axes(classes.shape))
    assert found[classes > 0].all() == is_left_leg
    assert found[classes > 0].any() == is_left_leg


def test_the_sacrum_decides_where_only_one_femur_is_seen() -> None:
    classes = np.zeros((30, 40, 90), dtype=np.uint8)
    classes[10:, 20:32, 20:34] = NUMBER["sacrum"]
    classes[:20, 10:20, 70:80] = FEMUR
    assert is_left(classes, axes(classes.shape))[classes == FEMUR].all()
    assert not is_left(classes[:, :, ::-1].copy(), axes(classes.shape))[classes[:, :, ::-1] == FEMUR].any()


@pytest.mark.parametrize("name", ["pelvis", "psoas_major"])
def test_other_pairs_tell_the_sides_where_neither_sacrum_nor_femora_are_seen(name: str) -> None:
    classes = np.zeros((30, 60, 140), dtype=np.uint8)
    for columns, iliac in ((slice(48, 62), slice(20, 35)), (slice(84, 98), slice(111, 126))):
        classes[:, 20:35, columns] = NUMBER["psoas_major"]
        classes[:, 20:50, iliac] = NUMBER["pelvis"] if name == "pelvis" else NUMBER["iliacus"]
    left = is_left(classes, axes(classes.shape))
    expected = np.broadcast_to(np.arange(140) >= 73, classes.shape)
    assert np.array_equal(left[classes > 0], expected[classes > 0])


@pytest.mark.parametrize("also", [[], ["gracilis", "vastus_lateralis_and_vastus_intermedius"]])
def test_a_leg_whose_side_cannot_be_told_is_refused_and_not_called_right(also: list[str]) -> None:
    classes = np.zeros((20, 40, 60), dtype=np.uint8)
    classes[:, 15:25, 25:35] = FEMUR
    for name, rows in zip(also, (slice(0, 15), slice(25, 40)), strict=False):
        classes[:, rows, 20:40] = NUMBER[name]
    with pytest.raises(Refused, match="cannot be told") as refused:
        is_left(classes, axes(classes.shape))
    assert refused.value.attribute == "PixelData"


def test_two_legs_whose_middle_is_not_seen_are_not_taken_for_one() -> None:
    classes = np.zeros((20, 40, 160), dtype=np.uint8)
    classes[:, 10:30, 10:20] = NUMBER["gracilis"]
    classes[:, 10:30, 140:150] = NUMBER["tensor_fasciae_latae"]
    with pytest.raises(Refused, match="cannot be told"):
        is_left(classes, axes(classes.shape))


def test_a_piece_of_the_other_hip_bone_joined_at_the_symphysis_keeps_its_side() -> None:
    """A scan of the right hip that holds the left pubis, too."""
    classes = np.zeros((40, 60, 140), dtype=np.uint8)
    classes[20:, 40:50, 60:80] = NUMBER["sacrum"]
    classes[:, 10:40, 30:50] = NUMBER["pelvis"]
    classes[:10, 10:25, 50:86] = NUMBER["pelvis"]
    left = is_left(classes, axes(classes.shape))
    bone = classes == NUMBER["pelvis"]
    truth = np.broadcast_to(np.arange(140) >= 70, classes.shape)
    assert (bone & truth).sum() < 0.15 * bone.sum()
    told = bone & (np.abs(np.arange(140) - 69.5) * 2.4 > BONE_REACHES_OVER_MM)
    assert np.array_equal(left[told], truth[told])


def test_few_midpoints_and_a_stray_one_do_not_tilt_the_plane_far_away() -> None:
    """A scan of the right hip to a little beyond the midline: of the sacrum the tip and a remnant on top."""
    classes = np.zeros((140, 60, 120), dtype=np.uint8)
    for z, middle in ((100, 70), (101, 70), (102, 71), (103, 71), (138, 56)):
        classes[z, 40:50, middle - 4 : middle + 4] = NUMBER["sacrum"]
    classes[:70, 20:35, 52:66] = FEMUR
    assert not is_left(classes, axes(classes.shape))[classes == FEMUR].any()


def test_a_sacrum_cut_by_the_edge_of_the_scan_does_not_move_the_midline_into_the_patient() -> None:
    """A scan of the right hip that ends at the midline; the grid goes on a little, without a body."""
    classes = np.zeros((40, 60, 70), dtype=np.uint8)
    classes[20:, 40:52, 48:66] = NUMBER["sacrum"]
    classes[:20, 20:35, 55:64] = NUMBER["obturator_internus"]
    classes[:, 20:35, 35:50] = NUMBER["pelvis"]
    classes[:, 35:50, 10:30] = NUMBER["gluteus_medius"]
    body = np.zeros(classes.shape, dtype=bool)
    body[:, 5:55, 3:67] = True
    paired = (classes > 0) & (classes != NUMBER["sacrum"])
    assert not is_left(classes, axes(classes.shape), body)[paired].any()
    mirrored = is_left(classes[:, :, ::-1].copy(), axes(classes.shape), body[:, :, ::-1])
    assert mirrored[paired[:, :, ::-1]].all()


def test_a_muscle_that_reaches_over_the_plane_is_not_cut() -> None:
    classes, _ = two_legs()
    classes[:, 0:10, 20:64] = NUMBER["sartorius"]
    found = is_left(classes, axes(classes.shape))
    assert not found[classes == NUMBER["sartorius"]].any()


def test_islands_are_the_small_parts_only() -> None:
    segments = np.zeros((4, 20, 20), dtype=np.uint8)
    segments[:, 2:10, 2:10] = 5
    segments[0, 15, 15] = 5
    segments[0, 18, 18] = 7
    found = islands_of(segments, least=50)
    assert found[0, 15, 15]
    assert found.sum() == 1


def test_bone_takes_up_its_cortex_and_gives_up_muscle_but_keeps_marrow() -> None:
    hu = np.full((1, 60, 60), 50, dtype=np.float32)
    y, x = np.mgrid[:60, :60]
    radius = np.hypot(y - 30, x - 30)
    hu[0][radius < 15] = 1000
    hu[0][radius < 9] = -50
    truth = radius < 15
    for drawn in (radius < 13, radius < 17):
        classes = np.where(drawn, FEMUR, NUMBER["vastus_medialis"]).astype(np.uint8)[None]
        refined = refine_bones(classes, hu, (1.0, 1.0))[0] == FEMUR
        assert np.array_equal(refined, truth)


def test_what_a_bone_encloses_is_its_marrow_but_never_another_bone() -> None:
    y, x = np.mgrid[:40, :40]
    radius = np.hypot(y - 20, x - 20)
    hu = np.where(radius < 12, 400, 50).astype(np.float32)[None]
    classes = np.where((radius < 12) & (radius > 6), NUMBER["pelvis"], 0).astype(np.uint8)[None]
    assert (refine_bones(classes, hu, (1.0, 1.0))[0][radius < 6] == NUMBER["pelvis"]).all()
    classes[0][radius <= 6] = FEMUR
    assert (refine_bones(classes, hu, (1.0, 1.0))[0][radius < 6] == FEMUR).all()


def test_fat_at_the_edge_of_a_muscle_is_given_up_and_fat_inside_is_kept() -> None:
    y, x = np.mgrid[:50, :50]
    radius = np.hypot(y - 25, x - 25)
    hu = np.where((radius < 14) & (radius > 4), 50, -100).astype(np.float32)[None]
    classes = np.where(radius < 16, NUMBER["gracilis"], 0).astype(np.uint8)[None]
    refined = refine(classes, hu, (1.0, 1.0))[0] > 0
    assert not refined[radius > 15].any()
    assert refined[radius < 13].all()


def test_passes_that_agree_have_a_predictive_dice_of_one() -> None:
    classes = np.zeros((3, 4, 4), dtype=np.uint8)
    classes[1:, :2] = 2
    left = np.zeros(classes.shape, dtype=bool)
    segments = segments_of(classes, left)
    assert predictive_dice(segments, np.stack([classes] * 3), left) == {3: 1.0}
    other = classes.copy()
    other[1:, :2, :2] = 0
    assert predictive_dice(segments, other[None], left)[3] == pytest.approx(2 / 3)


def test_the_limit_parts_failed_structures_from_good_ones() -> None:
    good = [(0.001 + 0.0001 * i, 0.92) for i in range(20)]
    confidence = calibrate({"femur": [*good, (0.01, 0.3)], "sacrum": good}, passes=10, profile="cpu")
    settings = {"confidence": confidence}
    assert 0.5 < failed_below(settings) < 0.92
    assert low_confidence({3: 0.01, 43: 0.0015}, settings) == {3}
    assert (confidence["passes"], confidence["profile"]) == (10, "cpu")
    assert describe_profile("cpu", settings) == ()
    assert "measured with the profile cpu" in describe_profile("gpu", settings)[0]


def test_what_the_bundle_has_no_limit_for_is_not_known() -> None:
    settings = {"confidence": {"psv_limits": {"femur": 0.01}}}
    assert unknown_confidence({3: 0.001, 4: 0.1, 43: 0.1}, settings) == {43}
    assert unknown_confidence({3: 0.001, 43: 0.1}, {}) == {3, 43}
    assert low_confidence({3: 0.001, 4: 0.1, 43: 0.1}, settings) == {4}
