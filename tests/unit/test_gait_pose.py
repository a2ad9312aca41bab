"""The default estimator on rendered walkers, and the scenes that are refused.

Run with ``-s`` to see how well rendered clips are followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from apps.gait_ataxia import gate
from apps.gait_ataxia.film import Figure, draw_look, film
from apps.gait_ataxia.phantom import STUDIOS, Case, simulate
from operators.errors import Refused
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.pose.estimate import MediaPipePose
from operators.pose.openpose import read_openpose
from operators.pose.people import Detection, Track, linked, tiles, walking_span
from operators.pose.scene import look


class Frames:
    """The frames of a case, again and again."""

    def __init__(self, case: Case, seconds: float | None = None, **how) -> None:
        self.case, self.how = case, how
        self.last = None if seconds is None else int(seconds * case.shot.camera.frame_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = generator(1, self.case.seed)
        figures = self.how.get("figures")
        if figures is None:
            points = self.case.points_m[: self.last]
            figures = [Figure(walker=self.case.walker, look=draw_look(rng), points_m=points)]
        return film(
            figures,
            self.case.shot.camera,
            STUDIOS[self.case.hospital],
            rng,
            shake_px=self.how.get("shake_px"),
        )


@pytest.mark.parametrize(
    ("seed", "hospital", "view"),
    [(2001, Hospital.A, "frontal"), (2002, Hospital.A, "sagittal"), (2003, Hospital.B, "frontal"),
     (2004, Hospital.B, "sagittal")],
)  # fmt: skip
def test_rendered_walkers_are_followed_in_nearly_every_frame(seed, hospital, view):
    case = simulate(seed, hospital, view=view)
    frames = Frames(case, 4.0)
    pose = MediaPipePose().estimate(frames, case.shot.camera.frame_rate)
    joints = case.joints_px[: len(pose.points)]
    height = np.ptp(joints[..., 1], axis=1)
    error = np.linalg.norm(pose.points[..., :2] - joints, axis=2) / height[:, None]
    median = float(np.median(error[pose.points[..., 2] > 0]))
    told = f"{pose.tracked_share:.1%} followed, error {median:.2%} of the height"
    print(f"hospital {hospital.name}, {view}: {told}")  # noqa: T201
    assert pose.tracked_share >= 0.95
    assert median < 0.03


def test_one_walker_is_one():
    case = simulate(2002, view="sagittal")
    scene = look(Frames(case), case.shot.camera.frame_rate)
    assert len(scene.walkers) == 1
    gate.check_scene(scene, case.shot.camera.frame_rate, len(case.points_m))


def test_two_walkers_are_refused():
    case, second = simulate(2010, view="sagittal"), simulate(2011, view="sagittal")
    frames = min(len(case.points_m), len(second.points_m))
    beside = second.points_m[:frames] + np.array([1.6, 0.5, 0])
    rng = np.random.default_rng(0)
    figures = [
        Figure(walker=case.walker, look=draw_look(rng), points_m=case.points_m[:frames]),
        Figure(walker=second.walker, look=draw_look(rng), points_m=beside),
    ]
    scene = look(Frames(case, figures=figures), case.shot.camera.frame_rate)
    with pytest.raises(Refused, match="2 people walk"):
        gate.check_scene(scene, case.shot.camera.frame_rate, None)


def test_one_who_stands_beside_the_walk_is_no_walker():
    case, other = simulate(2010, view="sagittal"), simulate(2013, view="sagittal")
    middle = case.points_m[len(case.points_m) // 2, 8, 0]
    still = np.repeat(other.points_m[:1] - other.points_m[0, 8] * [1, 1, 0], len(case.points_m), axis=0)
    still = still + np.array([middle, -np.sign(case.shot.camera.position_m[1]) * 0.9, 0])
    rng = np.random.default_rng(0)
    figures = [
        Figure(walker=case.walker, look=draw_look(rng), points_m=case.points_m),
        Figure(walker=other.walker, look=draw_look(rng), points_m=still),
    ]
    scene = look(Frames(case, figures=figures), case.shot.camera.frame_rate)
    assert len(scene.walkers) == 1


def test_an_empty_room_is_refused():
    case = simulate(2002, view="sagittal")
    scene = look(Frames(case, figures=[]), case.shot.camera.frame_rate)
    with pytest.raises(Refused, match="nobody"):
        gate.check_scene(scene, case.shot.camera.frame_rate, None)


def test_a_camera_that_moves_is_refused():
    case = simulate(2018, Hospital.B, view="sagittal")
    count = len(case.points_m)
    drift = np.stack([np.linspace(0, 90, count), 6 * np.sin(np.arange(count) / 9)], axis=1)
    scene = look(Frames(case, shake_px=drift), case.shot.camera.frame_rate)
    with pytest.raises(Refused, match="camera moves"):
        gate.check_scene(scene, case.shot.camera.frame_rate, None)


def test_a_video_of_two_seconds_is_refused():
    case = simulate(2002, view="sagittal")
    scene = look(Frames(case, 2.0), case.shot.camera.frame_rate)
    with pytest.raises(Refused, match="at least 3 s"):
        gate.check_scene(scene, case.shot.camera.frame_rate, None)


def test_a_video_that_ends_early_is_refused():
    case = simulate(2002, view="sagittal")
    scene = replace(look(Frames(case, 3.5), case.shot.camera.frame_rate), frame_count=100)
    with pytest.raises(Refused, match="ends after 100 of 150"):
        gate.check_scene(scene, case.shot.camera.frame_rate, 150)


def test_too_few_frames_with_the_walker_are_refused():
    with pytest.raises(Refused, match="69 %"):
        gate.check_tracking(0.69)


def test_a_portrait_frame_is_covered_by_tiles_too():
    assert tiles(720, 1280)[-1] == (0, 560, 720)
    assert tiles(500, 500) == [(0, 0, 500)]


def test_openpose_points_are_read_in_body25(tmp_path):
    case = simulate(2002, view="sagittal")
    for index, joints in enumerate(case.joints_px[:20]):
        points = np.concatenate([joints, np.full((25, 1), 0.9)], axis=1)
        people = [
            {"pose_keypoints_2d": (points * [0.3, 0.3, 1]).ravel().tolist()},
            {"pose_keypoints_2d": points.ravel().tolist()},
        ]
        (tmp_path / f"walk_{index:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    pose = read_openpose(tmp_path, 30.0, 1280, 720)
    assert np.allclose(pose.points[..., :2], case.joints_px[:20], atol=0.1)
    assert pose.tracked_share == 1


def test_a_file_that_is_not_openposes_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"persons": []}')
    with pytest.raises(Refused, match="OpenPose"):
        read_openpose(tmp_path, 30.0, 1280, 720)
    with pytest.raises(Refused, match="no OpenPose points"):
        read_openpose(tmp_path / "nowhere", 30.0, 1280, 720)


def _track(x, y, size, *, seconds: float = 6.0) -> Track:
    """Detections five times a second of a video of 30 frames per second."""
    frames = range(0, int(seconds * 30), 6)
    return Track(
        detections=[
            Detection(frame=f, x=float(x(f / 30)), y=float(y(f / 30)), size=float(size(f / 30)), score=0.9)
            for f in frames
        ]
    )


def test_one_who_crosses_comes_or_goes_walks():
    level, same = (lambda _t: 400.0), (lambda _t: 150.0)
    crossing = _track(lambda t: 100 + 150 * t, level, same)
    coming = _track(lambda _t: 600.0, lambda t: 300 + 10 * t, lambda t: 100 * np.exp(0.08 * t))
    going = _track(lambda _t: 600.0, lambda t: 400 - 10 * t, lambda t: 200 * np.exp(-0.08 * t))
    assert all(walking_span(track, 30.0) is not None for track in (crossing, coming, going))


def test_one_who_stands_jumps_or_runs_by_does_not_walk():
    level, same = (lambda _t: 400.0), (lambda _t: 150.0)
    standing = _track(lambda t: 600 + 4 * np.sin(t), level, same)
    jumping = _track(lambda t: 600 + 90 * t, lambda t: 400 + 90 * np.sin(5 * t), same)
    running_by = _track(lambda t: 100 + 900 * t, level, same, seconds=1.4)
    assert all(walking_span(track, 30.0) is None for track in (standing, jumping, running_by))


def test_two_people_who_pass_each_other_stay_two_tracks():
    one = _track(lambda t: 100 + 150 * t, lambda _t: 400.0, lambda _t: 100.0).detections
    two = _track(lambda t: 1000 - 150 * t, lambda _t: 520.0, lambda _t: 100.0).detections
    tracks = linked(sorted([*one, *two], key=lambda d: d.frame), 30.0)
    assert len(tracks) == 2
    assert sorted(len(track.detections) for track in tracks) == [30, 30]
