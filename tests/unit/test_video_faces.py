"""Where faces are hidden, by what was found in which frame."""

from __future__ import annotations

import numpy as np
import pytest

from operators.pose.body25 import Joint, PoseSeries
from operators.video.blur_faces import Circle, heads, hide, spread


def poses(frames: int, seen: dict[int, tuple[float, float]]) -> PoseSeries:
    """A person of whom only the nose and the trunk are seen, in some frames."""
    points = np.zeros((frames, 25, 3), np.float32)
    for index, (x, y) in seen.items():
        points[index, Joint.NOSE] = (x, y, 1)
        points[index, Joint.NECK] = (x, y + 40, 1)
        points[index, Joint.MID_HIP] = (x, y + 140, 1)
    return PoseSeries(points=points, frame_rate=30.0, columns=640, rows=480, estimator="made")


def test_a_head_moves_evenly_through_a_gap() -> None:
    found = heads(poses(11, {0: (100, 50), 10: (200, 50)}), longest_gap=15)
    assert [round(circle.x) for circle in found if circle] == list(range(100, 201, 10))


def test_a_head_is_not_guessed_through_a_long_gap() -> None:
    found = heads(poses(101, {0: (100, 50), 100: (200, 50)}), longest_gap=15)
    assert [index for index, circle in enumerate(found) if circle] == [*range(8), *range(93, 101)]


def test_a_head_is_as_large_as_its_trunk_says_when_only_the_nose_is_seen() -> None:
    circle = heads(poses(1, {0: (100, 50)}), longest_gap=15)[0]
    assert circle is not None
    assert 30 <= circle.radius <= 50


def test_nobody_has_no_head() -> None:
    assert heads(poses(3, {}), longest_gap=15) == [None] * 3


def test_faces_are_hidden_before_and_after_they_are_found() -> None:
    found = [[], [], [], [Circle(1, 2, 3)], [], [], []]
    assert [len(circles) for circles in spread(found, 2)] == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "circle", [Circle(-50, -50, 10), Circle(5, 5, 30), Circle(1000, 20, 40), Circle(20, 20, 0.2)]
)
def test_circles_at_and_beyond_the_edge_are_hidden_as_far_as_they_are_seen(circle: Circle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    assert hide(image.copy(), [circle]).shape == image.shape
