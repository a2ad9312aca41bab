"""From points to steps: both views, both directions, exchanged legs, gaps and wrong people."""

from __future__ import annotations

import numpy as np
import pytest

from apps.gait_ataxia.events import find_events
from apps.gait_ataxia.features import COUNT, features_of, walking
from apps.gait_ataxia.parameters import NAMES
from apps.gait_ataxia.phantom import Case, simulate
from apps.gait_ataxia.pose_noise import errors_of, with_errors
from apps.gait_ataxia.sides import LEFT_LEG, RIGHT_LEG
from apps.gait_ataxia.signals import as_walk
from operators.phantom.hospital import Hospital
from operators.pose.body25 import Joint, PoseSeries
from operators.pose.plausible import implausible

NOISE_OF_HEIGHT = 0.008


def _seen(case: Case, *, noise: float = NOISE_OF_HEIGHT, seed: int = 0) -> PoseSeries:
    """The true joints as an estimator without faults but noise sees them."""
    rng = np.random.default_rng(seed)
    joints = case.joints_px
    height = np.ptp(joints[..., 1], axis=1).mean()
    spoiled = joints + rng.normal(0, noise * height, joints.shape)
    points = np.concatenate([spoiled, np.ones((*joints.shape[:2], 1))], axis=2)
    camera = case.shot.camera
    return PoseSeries(
        points=points.astype(np.float32), frame_rate=camera.frame_rate, columns=camera.columns,
        rows=camera.rows, estimator="test",
    )  # fmt: skip


def _measured(pose: PoseSeries, view: str | None):
    walk = as_walk(pose, view)
    assert walk is not None
    return (walk, *features_of(walk))


@pytest.mark.parametrize("view", ["frontal", "sagittal"])
def test_cadence_and_stride_time_agree_with_the_truth(view):
    cadence, stride = [], []
    for seed in range(20):
        case = simulate(300 + seed, Hospital.A, view=view)
        _, _, _, parameters = _measured(_seen(case), view)
        true = case.motion.realised
        cadence.append(abs(parameters.values["cadence_per_min"] - true["cadence_per_min"]))
        stride.append(abs(parameters.values["stride_time_s"] / true["stride_time_s"] - 1))
    assert np.median(cadence) < 2
    assert np.median(stride) < 0.03


def test_step_width_and_sway_are_seen_from_the_front_in_leg_lengths():
    found, true = [], []
    for seed in range(12):
        case = simulate(400 + seed, Hospital.A, view="frontal")
        _, _, _, parameters = _measured(_seen(case), "frontal")
        found.append((parameters.values["step_width_leg"], parameters.sway_leg))
        true.append((case.motion.realised["step_width_leg"], case.motion.realised["sway_leg"]))
    for column in range(2):
        assert np.corrcoef(np.array(found)[:, column], np.array(true)[:, column])[0, 1] > 0.9


def test_what_a_view_does_not_show_is_not_a_number():
    _, _, _, front = _measured(_seen(simulate(500, view="frontal")), "frontal")
    _, _, _, side = _measured(_seen(simulate(500, view="sagittal")), "sagittal")
    assert np.isnan(front.values["speed_leg_s"])
    assert np.isnan(side.values["step_width_leg"])
    assert len(front.vector) == len(NAMES)


@pytest.mark.parametrize("view", ["frontal", "sagittal"])
def test_the_view_is_told_from_the_points(view):
    for seed in range(6):
        assert as_walk(_seen(simulate(520 + seed, view=view))).view == view


def test_a_walk_to_the_left_gives_what_its_mirror_image_gives():
    pose = _seen(simulate(530, view="sagittal"))
    other = pose.points.copy()
    other[..., 0] = pose.columns - other[..., 0]
    from operators.pose.body25 import MIRRORED

    mirrored = PoseSeries(
        points=other[:, MIRRORED],
        frame_rate=pose.frame_rate,
        columns=pose.columns,
        rows=pose.rows,
        estimator="test",
    )
    one, two = as_walk(pose), as_walk(mirrored)
    assert one.is_mirrored is not two.is_mirrored
    assert np.allclose(one.points, two.points, atol=0.6)


def test_exchanged_legs_are_put_right():
    case = simulate(540, view="sagittal")
    pose = _seen(case)
    points = pose.points.copy()
    for start in (20, 55, 90):
        rows = slice(start, start + 9)
        points[rows, list(LEFT_LEG) + list(RIGHT_LEG)] = points[rows, list(RIGHT_LEG) + list(LEFT_LEG)]
    spoiled = PoseSeries(
        points=points, frame_rate=pose.frame_rate, columns=pose.columns, rows=pose.rows, estimator="test"
    )
    clean, mended = (find_events(as_walk(one, "sagittal")).crossings for one in (pose, spoiled))
    assert len(clean) == len(mended)
    assert np.abs(clean - mended).max() < 0.08


def test_short_gaps_are_filled_and_long_ones_are_masked():
    pose = _seen(simulate(550, view="frontal"))
    points = pose.points.copy()
    points[40:45, Joint.L_ANKLE] = 0
    points[80:110, Joint.R_WRIST] = 0
    walk = as_walk(
        PoseSeries(
            points=points, frame_rate=pose.frame_rate, columns=pose.columns, rows=pose.rows, estimator="t"
        )
    )
    whole = as_walk(pose)
    assert np.abs(walk.points[40:45, Joint.L_ANKLE] - whole.points[40:45, Joint.L_ANKLE]).max() < 12
    assert (walk.confidence[40:45, Joint.L_ANKLE] > 0).all()
    assert (walk.confidence[90:100, Joint.R_WRIST] == 0).all()


def test_nobody_gives_no_walk():
    empty = PoseSeries(
        points=np.zeros((90, 25, 3), np.float32), frame_rate=30, columns=640, rows=360, estimator="t"
    )
    assert as_walk(empty) is None
    assert empty.tracked_share == 0


def test_frames_of_something_else_are_implausible():
    pose = _seen(simulate(560, view="frontal"))
    points = pose.points.copy()
    points[30:60, :, :2] = points[30:60, :, :2] * 0.3 + 40
    flagged = implausible(points)
    assert flagged[30:60].all()
    assert flagged[:30].sum() + flagged[60:].sum() == 0


def test_features_have_their_shape_and_no_hole():
    _, features, _, _ = _measured(_seen(simulate(570)), None)
    assert features.sequence.shape[1] == COUNT
    assert np.isfinite(features.sequence).all()
    assert np.allclose(features.flipped().flipped().sequence, features.sequence)


def test_points_other_than_body25_are_refused():
    with pytest.raises(ValueError, match="BODY_25"):
        PoseSeries(points=np.zeros((3, 17, 3), np.float32), frame_rate=30, columns=1, rows=1, estimator="t")


def test_the_errors_of_a_clip_make_another_walk_look_estimated():
    case, other = simulate(580, view="sagittal"), simulate(581, view="sagittal")
    bank = errors_of(_seen(case, noise=0.012), case.joints_px, case.motion.strikes, "sagittal")
    camera = other.shot.camera
    pose = with_errors(
        other.joints_px, other.motion.strikes, bank, np.random.default_rng(0),
        columns=camera.columns, rows=camera.rows, frame_rate=camera.frame_rate,
    )  # fmt: skip
    error = np.linalg.norm(pose.points[..., :2] - other.joints_px, axis=2)
    height = np.ptp(other.joints_px[..., 1], axis=1).mean()
    assert 0.006 < np.median(error) / height < 0.03


@pytest.mark.parametrize("view", ["frontal", "sagittal"])
def test_standing_before_and_after_a_walk_is_cut_off(view):
    pose = _seen(simulate(590, view=view))
    before, after = (np.repeat(pose.points[[row]], 120, axis=0) for row in (0, -1))
    noise = np.random.default_rng(0).normal(0, 0.4, (120, 25, 3)) * [1, 1, 0]
    longer = PoseSeries(
        points=np.concatenate([before + noise, pose.points, after + noise]).astype(np.float32),
        frame_rate=pose.frame_rate, columns=pose.columns, rows=pose.rows, estimator="test",
    )  # fmt: skip
    alone, cut = walking(pose, view), walking(longer, view)
    assert abs(cut.duration_s - alone.duration_s) < 2.5
    one, two = (features_of(walk)[2].values for walk in (alone, cut))
    assert one["cadence_per_min"] == pytest.approx(two["cadence_per_min"], abs=3)


def test_a_phantoms_walk_is_hardly_cut():
    shares = []
    for seed in range(600, 630):
        pose = _seen(simulate(seed))
        shares.append(walking(pose, None).duration_s / as_walk(pose).duration_s)
    assert np.mean(np.array(shares) < 0.85) < 0.1
