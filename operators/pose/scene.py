"""What goes on in a video: how many people are there and walk, and whether the camera stands still."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from operators.pose.native_logs import quiet_native_logs
from operators.pose.people import Detection, Track, linked, person_detector, walking_span

LOOKS_PER_S = 5.0
FLOW_WIDTH_PX = 640
LEAST_FEATURES = 20
LEAST_CELLS = 6
"""Places of the picture, 80 pixels wide, over which what is followed is spread: no single person is."""
LONG_THERE = 10
"""Looks in which a person was seen to count as being there."""
LARGEST_MOVE = 0.02
"""Of the picture's width: a camera whose picture moves by more than this over the clip moves."""
STILL_PX = 0.15
"""Less than this between two looks is noise, at `FLOW_WIDTH_PX`."""
STILL_SHARE = 0.3
"""Where so many of the points stand still, what moves is not the camera."""
TOGETHER_S = 1.0
"""People who walk at the same time for longer than this are several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What was seen.

    Args:
        frame_count: Frames that could be decoded.
        people: Everybody who was there for a second or more.
        walkers: Those who walk; people who walk one after the other, never together, are one.
        camera_move: How far the picture as a whole moved, of its width; None when it shows
            too little that stands still to tell.
    """

    frame_count: int
    people: tuple[Track, ...]
    walkers: tuple[Track, ...]
    camera_move: float | None

    @property
    def bystanders(self) -> int:
        """People who are there for two seconds or more and do not walk."""
        walkers = {id(track) for track in self.walkers}
        return sum(
            1 for track in self.people if id(track) not in walkers and len(track.detections) >= LONG_THERE
        )


def look(frames: Iterable[NDArray[np.uint8]], frame_rate: float) -> Scene:
    """The scene of a video.

    Args:
        frames: ``(row, column, 3)`` uint8 RGB each, in order.
        frame_rate: Frames per second.
    """
    step = max(1, round(frame_rate / LOOKS_PER_S))
    found: list[Detection] = []
    camera = _CameraWatch()
    count = 0
    with quiet_native_logs(), person_detector() as detector:
        for index, frame in enumerate(frames):
            count += 1
            if index % step:
                continue
            here = detector.detect(frame, index)
            found += here
            camera.look(frame, here)
    tracks = linked(found, frame_rate)
    spans = [(track, walking_span(track, frame_rate)) for track in tracks]
    walkers = _together([(track, span) for track, span in spans if span is not None], frame_rate)
    return Scene(frame_count=count, people=tuple(tracks), walkers=tuple(walkers), camera_move=camera.move())


def _together(walks: list[tuple[Track, tuple[int, int]]], frame_rate: float) -> list[Track]:
    """The one who walks longest, and everybody who walks at the same time elsewhere."""
    ordered = sorted(walks, key=lambda walk: walk[1][0] - walk[1][1])
    if not ordered:
        return []
    first, span = ordered[0]
    several = [first]
    for track, other in ordered[1:]:
        low, high = max(span[0], other[0]), min(span[1], other[1])
        if high - low < TOGETHER_S * frame_rate:
            continue
        apart = [
            np.hypot(*(first.place_at(f) - track.place_at(f))[:2]) / first.place_at(f)[2]
            for f in range(low, high, 5)
        ]
        if np.median(apart) > 0.6:
            several.append(track)
    return several


class _CameraWatch:
    """Follows what stands still behind the people from look to look."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._total = np.zeros(2)
        self._moves: list[float] = []
        self._usable = 0

    def look(self, frame: NDArray[np.uint8], people: list[Detection]) -> None:
        """Compare a frame with the last one."""
        zoom = FLOW_WIDTH_PX / frame.shape[1]
        small = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        if self._last is not None:
            step = _background_step(self._last, grey, people, zoom)
            if step is not None:
                self._usable += 1
                if float(np.hypot(*step)) > STILL_PX:
                    self._total += step
            self._moves.append(float(np.hypot(*self._total)) / FLOW_WIDTH_PX)
        self._last = grey

    def move(self) -> float | None:
        """Farthest that the picture went from its first place, of its width."""
        if not self._moves or self._usable < 0.5 * len(self._moves):
            return None
        return max(self._moves)


def _background_step(
    before: NDArray[np.uint8], after: NDArray[np.uint8], people: list[Detection], zoom: float
) -> NDArray[np.float64] | None:
    """How far what is not a person moved between two looks, pixels; None when there is too little."""
    mask = np.full(before.shape, 255, np.uint8)
    for person in people:
        centre = (int(person.x * zoom), int(person.y * zoom))
        cv2.circle(mask, centre, int(1.15 * person.size * zoom), 0, -1)
    corners = cv2.goodFeaturesToTrack(before, 200, 0.01, 8, mask=mask)
    if corners is None or len(corners) < LEAST_FEATURES:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before, after, corners, np.zeros_like(corners), winSize=(21, 21), maxLevel=3
    )
    good = status.ravel() == 1
    if good.sum() < LEAST_FEATURES or _cells(corners[good].reshape(-1, 2)) < LEAST_CELLS:
        return None
    steps = (moved - corners)[good].reshape(-1, 2)
    if float(np.mean(np.linalg.norm(steps, axis=1) < STILL_PX)) > STILL_SHARE:
        return np.zeros(2)
    return np.asarray(np.median(steps, axis=0), dtype=np.float64)


def _cells(points: NDArray[np.float64]) -> int:
    """Number of different squares of 80 pixels that the points lie in."""
    return len({(int(x // 80), int(y // 80)) for x, y in points})
