"""The points that OpenPose wrote: one JSON file a frame, ``people[].pose_keypoints_2d`` in BODY_25."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from operators.errors import Refused
from operators.pose.body25 import PoseSeries


def read_openpose(folder: Path, frame_rate: float, columns: int, rows: int) -> PoseSeries:
    """The points of the person who is largest over the frames of a folder.

    Args:
        folder: Holds ``*.json``, one for each frame, in the order of their names.
        frame_rate: Frames per second.
        columns: Width of the video, pixels.
        rows: Height of the video, pixels.

    Raises:
        Refused: There is no file, or one is not OpenPose's.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise Refused("there are no OpenPose points for this video", attribute="SOPInstanceUID")
    frames = [_people(path) for path in files]
    points = np.zeros((len(frames), 25, 3), np.float32)
    last: NDArray[np.float32] | None = None
    for index, people in enumerate(frames):
        if people:
            last = _same_person(people, last)
            points[index] = last
    return PoseSeries(
        points=points,
        frame_rate=frame_rate,
        columns=columns,
        rows=rows,
        estimator="OpenPose BODY_25, as given",
    )


def _people(path: Path) -> list[NDArray[np.float32]]:
    """``(25, 3)`` points of each person in a frame.

    Raises:
        Refused: The file is not OpenPose's.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        people = [np.array(one["pose_keypoints_2d"], np.float32).reshape(25, 3) for one in raw["people"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path.name} is not a file of OpenPose's BODY_25 points") from error
    return [one for one in people if (one[:, 2] > 0).sum() >= 8]


def _same_person(people: list[NDArray[np.float32]], last: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The person nearest to the last one; at first the tallest."""
    if last is None:
        return max(people, key=_height)
    before = last[last[:, 2] > 0, :2].mean(axis=0)
    return min(people, key=lambda one: float(np.linalg.norm(one[one[:, 2] > 0, :2].mean(axis=0) - before)))


def _height(points: NDArray[np.float32]) -> float:
    seen = points[points[:, 2] > 0, 1]
    return float(seen.max() - seen.min())
