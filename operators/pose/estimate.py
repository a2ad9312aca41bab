"""The interface of pose estimators, and MediaPipe behind it.

An estimator takes frames one at a time and gives BODY_25 points; real and phantom videos go
through the same one. MediaPipe's wheel carries its model: nothing is downloaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from operators.pose.body25 import Joint, PoseSeries
from operators.pose.native_logs import quiet_native_logs
from operators.pose.people import Track
from operators.pose.plausible import implausible

MODEL_COMPLEXITY = 1
"""BlazePose "full", the one that the wheel carries; 0 and 2 would be downloaded."""
LEAST_VISIBILITY = 0.10
MOST_KEPT_FRAMES = 900
"""Frames without a person that are kept, as JPEG, to be looked at again."""
MOST_LOST_FRAMES = 12
WINDOW_PX = 384
LEAST_POINTS = 12
ELSEWHERE = 0.6
"""Of the size of a person: hips farther than this from the walker's are somebody else's."""
LEAST_SEEN = 0.5
"""Share of the walker's frames with points below which he or she is followed from a detection instead."""

_BLAZE = {
    Joint.NOSE: 0, Joint.R_SHOULDER: 12, Joint.R_ELBOW: 14, Joint.R_WRIST: 16, Joint.L_SHOULDER: 11,
    Joint.L_ELBOW: 13, Joint.L_WRIST: 15, Joint.R_HIP: 24, Joint.R_KNEE: 26, Joint.R_ANKLE: 28,
    Joint.L_HIP: 23, Joint.L_KNEE: 25, Joint.L_ANKLE: 27, Joint.R_EYE: 5, Joint.L_EYE: 2,
    Joint.R_EAR: 8, Joint.L_EAR: 7, Joint.L_BIG_TOE: 31, Joint.L_HEEL: 29, Joint.R_BIG_TOE: 32,
    Joint.R_HEEL: 30,
}  # fmt: skip
"""BlazePose's 33 points to BODY_25; neck and middle hip are means, small toes do not exist."""


class PoseEstimator(Protocol):
    """What turns the frames of a video into the points of one person."""

    name: str

    def estimate(
        self, frames: Iterable[NDArray[np.uint8]], frame_rate: float, walker: Track | None = None
    ) -> PoseSeries:
        """The points of one person.

        Args:
            frames: ``(row, column, 3)`` uint8 RGB each, in order; can be gone through more than once.
            frame_rate: Frames per second.
            walker: Whose points are wanted; None: whoever is found first.
        """
        ...


class MediaPipePose:
    """BlazePose "full" on CPU, by the pose solution of MediaPipe.

    A person far away is too small for its detector, which sees the whole frame at 224 pixels.
    Frames without points that lie beside frames with points are therefore looked at again,
    outwards, in a window that follows the person.
    """

    def __init__(self) -> None:
        import mediapipe

        self.name = f"MediaPipe {mediapipe.__version__} BlazePose full"

    def estimate(
        self, frames: Iterable[NDArray[np.uint8]], frame_rate: float, walker: Track | None = None
    ) -> PoseSeries:
        """The points of the walker, or of the person whom MediaPipe follows; frames without are zeros."""
        found: list[NDArray[np.float32]] = []
        rows = columns = 0
        with quiet_native_logs(), _solution() as solution:
            for frame in frames:
                rows, columns = frame.shape[:2]
                answer = solution.process(np.ascontiguousarray(frame))
                found.append(body25_of(answer.pose_landmarks, columns, rows))
        points = np.stack(found) if found else np.zeros((0, 25, 3), np.float32)
        if walker is not None:
            points[_of_somebody_else(points, walker)] = 0
        points[implausible(points)] = 0
        is_empty = np.asarray(~(points[..., 2] > 0).any(axis=1), dtype=np.bool_)
        if is_empty.any() and (walker is not None or not is_empty.all()):
            with quiet_native_logs():
                _fill_gaps(points, _kept(frames, is_empty), walker)
            points[implausible(points)] = 0
        return PoseSeries(
            points=points, frame_rate=frame_rate, columns=columns, rows=rows, estimator=self.name
        )


def _of_somebody_else(points: NDArray[np.float32], walker: Track) -> NDArray[np.bool_]:
    """``(frame,)``: True where the hips are not where the walker's are."""
    places = np.array([walker.place_at(frame) for frame in range(len(points))])
    distance = np.linalg.norm(points[:, Joint.MID_HIP, :2] - places[:, :2], axis=1)
    seen = (points[..., 2] > 0).any(axis=1)
    at_ends = np.ones(len(points), bool)
    at_ends[walker.frames[0] : walker.frames[-1] + 1] = False
    return np.asarray(seen & (distance > ELSEWHERE * places[:, 2]) & ~at_ends)


def _kept(frames: Iterable[NDArray[np.uint8]], wanted: NDArray[np.bool_]) -> dict[int, NDArray[np.uint8]]:
    """The wanted frames as JPEG, by index."""
    kept: dict[int, NDArray[np.uint8]] = {}
    for index, frame in enumerate(frames):
        if wanted[index] and len(kept) < MOST_KEPT_FRAMES:
            kept[index] = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return kept


def _fill_gaps(
    points: NDArray[np.float32], missed: dict[int, NDArray[np.uint8]], walker: Track | None
) -> None:
    """Look again at frames without points: each gap backwards from its end, then forwards from its start."""
    if walker is not None and _share_seen(points, walker) < LEAST_SEEN:
        in_gaps = [d for d in walker.detections if d.frame in missed]
        best = max(in_gaps, key=lambda d: d.score, default=None)
        if best is not None:
            window = (best.x - 1.2 * best.size, best.y - 1.2 * best.size, 2.4 * best.size)
            _follow(points, missed, best.frame, 1, window)
            _follow(points, missed, best.frame - 1, -1, window)
    for step in (-1, 1):
        empty = np.asarray(~(points[..., 2] > 0).any(axis=1), dtype=np.bool_)
        starts = [
            i for i in np.flatnonzero(empty).tolist() if 0 <= i - step < len(points) and not empty[i - step]
        ]
        for start in starts:
            _follow(points, missed, start, step, _window_of(points[start - step]))


def _share_seen(points: NDArray[np.float32], walker: Track) -> float:
    """Share of the walker's frames that have points."""
    return float((points[walker.frames[0] : walker.frames[-1] + 1, :, 2] > 0).any(axis=1).mean())


def _follow(
    points: NDArray[np.float32],
    missed: dict[int, NDArray[np.uint8]],
    start: int,
    step: int,
    window: tuple[float, float, float],
) -> None:
    """Follow a person from a window into a gap, until the gap or the person ends."""
    index, lost = start, 0
    with _solution() as solution:
        while index in missed and lost < MOST_LOST_FRAMES and not (points[index, :, 2] > 0).any():
            frame = np.asarray(cv2.imdecode(missed[index], cv2.IMREAD_COLOR))
            left, top, side = window
            matrix = np.array(
                [
                    [WINDOW_PX / side, 0, -left * WINDOW_PX / side],
                    [0, WINDOW_PX / side, -top * WINDOW_PX / side],
                ]
            )
            view = cv2.warpAffine(frame, matrix, (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LINEAR)
            answer = solution.process(view)
            seen = body25_of(answer.pose_landmarks, WINDOW_PX, WINDOW_PX)
            if (seen[..., 2] > 0).sum() >= LEAST_POINTS:
                is_seen = seen[:, 2] > 0
                seen[is_seen, :2] = seen[is_seen, :2] * (side / WINDOW_PX) + (left, top)
                points[index] = seen
                window, lost = _window_of(seen), 0
            else:
                lost += 1
            index += step


def _window_of(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """Left, top and side in pixels of the square that a person is followed in."""
    seen = points[points[:, 2] > 0, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = 1.6 * float((high - low).max())
    left, top = (low + high) / 2 - side / 2
    return float(left), float(top), max(side, 32.0)


def body25_of(landmarks: Any, columns: int, rows: int) -> NDArray[np.float32]:
    """``(25, 3)`` points of MediaPipe's landmarks; zeros when there are none."""
    points = np.zeros((25, 3), np.float32)
    if landmarks is None:
        return points
    blaze = np.array([(p.x * columns, p.y * rows, p.visibility) for p in landmarks.landmark], np.float32)
    for joint, index in _BLAZE.items():
        points[joint] = blaze[index]
    for joint, left, right in (
        (Joint.NECK, Joint.L_SHOULDER, Joint.R_SHOULDER),
        (Joint.MID_HIP, Joint.L_HIP, Joint.R_HIP),
    ):
        points[joint] = 0.5 * (points[left] + points[right])
    points[points[:, 2] < LEAST_VISIBILITY] = 0
    return points


@contextlib.contextmanager
def _solution() -> Iterator[Any]:
    from mediapipe.python.solutions.pose import Pose

    with Pose(
        static_image_mode=False, model_complexity=MODEL_COMPLEXITY, smooth_landmarks=True,
        min_detection_confidence=0.5, min_tracking_confidence=0.5,
    ) as solution:  # fmt: skip
        yield solution
