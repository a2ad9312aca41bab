"""Who is in a video: every person a few times a second, joined to tracks, and who of them walks.

The detector is BlazePose's own, on overlapping square tiles, so that it finds several people
and people far away. A person walks who crosses the picture steadily, or grows or shrinks
steadily, for a few seconds: one who stands, jumps or runs in for a moment does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SCORE = 0.6
LEAST_WALK_S = 2.5
LEAST_TRAVEL = 1.0
"""Of the size of a detection, which is about three quarters of a body's height."""
LEAST_GROWTH = 0.18
"""Change of the logarithm of the size, for one who comes or goes."""
STEADY_R2 = 0.85
LINK_DISTANCE = 1.2
"""Of the size: detections farther apart than this are not of one person."""
TILE_MARGIN = 0.2
"""Of a tile: closer to its border a person is left to the next tile."""
_GRAPH = """
input_stream: "image"
output_stream: "detections"
node { calculator: "PoseDetectionCpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }
"""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A person in one frame, pixels.

    Args:
        frame: Index.
        x: Of the middle of the hips.
        y: Of the middle of the hips.
        size: Radius of the circle around the body.
        score: Of the detector, 0 to 1.
    """

    frame: int
    x: float
    y: float
    size: float
    score: float


@dataclass(kw_only=True, eq=False)
class Track:
    """One person over time."""

    detections: list[Detection] = field(default_factory=list)

    @property
    def frames(self) -> NDArray[np.int64]:
        """Indices of the frames with a detection."""
        return np.array([d.frame for d in self.detections])

    @property
    def places(self) -> NDArray[np.float64]:
        """``(detection, 3)``: x, y, size."""
        return np.array([(d.x, d.y, d.size) for d in self.detections])

    def place_at(self, frame: float) -> NDArray[np.float64]:
        """x, y and size at a frame, interpolated, held at the ends."""
        out: NDArray[np.float64] = np.array(
            [np.interp(frame, self.frames, self.places[:, k]) for k in range(3)], dtype=np.float64
        )
        return out

    def predicted(self, frame: int) -> NDArray[np.float64]:
        """x, y and size at a later frame, at the velocity of the last detections."""
        last = self.places[-1]
        if len(self.detections) < 2:
            return np.asarray(last)
        velocity = (last - self.places[-2]) / max(self.frames[-1] - self.frames[-2], 1)
        velocity[2] = 0
        return np.asarray(last + velocity * min(frame - self.frames[-1], 15))


def walking_span(track: Track, frame_rate: float) -> tuple[int, int] | None:
    """First and last frame of the longest steady walk of a person; None for one who does not walk."""
    frames, places = track.frames, track.places
    best: tuple[int, int] | None = None
    for first in range(0, len(frames), 2):
        for last in range(len(frames) - 1, first + 4, -2):
            seconds = (frames[last] - frames[first]) / frame_rate
            if seconds < LEAST_WALK_S or (best and frames[last] - frames[first] <= best[1] - best[0]):
                break
            if _is_steady(frames[first : last + 1] / frame_rate, places[first : last + 1]):
                best = (int(frames[first]), int(frames[last]))
                break
    return best


def _is_steady(seconds: NDArray[np.float64], places: NDArray[np.float64]) -> bool:
    """True when the person travels, comes or goes evenly, and stays on the floor."""
    size = float(np.median(places[:, 2]))
    x_change, x_fit = _line(seconds, places[:, 0])
    growth, growth_fit = _line(seconds, np.log(places[:, 2]))
    height = places[:, 1] - np.polyval(np.polyfit(seconds, places[:, 1], 1), seconds)
    if float(np.median(np.abs(height))) > 0.15 * size:
        return False
    crosses = abs(x_change) > LEAST_TRAVEL * size and x_fit > STEADY_R2
    comes = abs(growth) > LEAST_GROWTH and growth_fit > 0.6
    return crosses or comes


def _line(seconds: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Change along a straight line, and the share of the variance that it explains."""
    slope, constant = np.polyfit(seconds, values, 1)
    variance = float(values.var())
    residual = float((values - slope * seconds - constant).var())
    return float(slope * (seconds[-1] - seconds[0])), 1 - residual / variance if variance > 0 else 0.0


def linked(detections: list[Detection], frame_rate: float) -> list[Track]:
    """Detections in order of frames as tracks, those of at least a second."""
    tracks: list[Track] = []
    for detection in detections:
        best, best_distance = None, np.inf
        for track in tracks:
            gap = detection.frame - track.detections[-1].frame
            if gap == 0 or gap > 1.5 * frame_rate:
                continue
            x, y, size = track.predicted(detection.frame)
            distance = float(np.hypot(detection.x - x, detection.y - y)) / size
            ratio = detection.size / size
            if distance < LINK_DISTANCE and 0.5 < ratio < 2.0 and distance < best_distance:
                best, best_distance = track, distance
        if best is None:
            best = Track()
            tracks.append(best)
        best.detections.append(detection)
    return [t for t in tracks if len(t.detections) >= 4 and t.frames[-1] - t.frames[0] >= frame_rate]


class PersonDetector:
    """BlazePose's detector on tiles of a frame."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def detect(self, picture: NDArray[np.uint8], frame: int) -> list[Detection]:
        """Every person in a frame, each once.

        Args:
            picture: ``(row, column, 3)`` uint8 RGB.
            frame: Its index.
        """
        found: list[Detection] = []
        rows, columns = picture.shape[:2]
        squares = tiles(columns, rows)
        for left, top, side in squares:
            tile = np.ascontiguousarray(picture[top : top + side, left : left + side])
            for raw in self._graph.process(tile).detections or ():
                hip, edge = raw.location_data.relative_keypoints[:2]
                along = hip.x if columns >= rows else hip.y
                if len(squares) > 1 and _is_cut(along, left + top, side, max(columns, rows)):
                    continue
                size = float(np.hypot(edge.x - hip.x, edge.y - hip.y)) * side
                found.append(
                    Detection(
                        frame=frame,
                        x=left + hip.x * side,
                        y=top + hip.y * side,
                        size=size,
                        score=raw.score[0],
                    )
                )
        return _once([one for one in found if one.score >= LEAST_SCORE])


def _is_cut(along: float, start: int, side: int, length: int) -> bool:
    """True near an inner border of a tile: the next tile sees such a person whole."""
    return (along < TILE_MARGIN and start > 0) or (along > 1 - TILE_MARGIN and start + side < length)


def tiles(columns: int, rows: int) -> list[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover a frame.

    >>> tiles(1280, 720)
    [(0, 0, 720), (280, 0, 720), (560, 0, 720)]
    """
    side, length = min(columns, rows), max(columns, rows)
    count = max(1, int(np.ceil((length - side) / (side / 2))) + 1)
    starts = [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]
    return [(s, 0, side) if columns >= rows else (0, s, side) for s in starts]


def _once(found: list[Detection]) -> list[Detection]:
    """The best detection of each person, those of the same hips left out."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(np.hypot(one.x - k.x, one.y - k.y) > 0.45 * max(one.size, k.size) for k in kept):
            kept.append(one)
    return kept


@contextlib.contextmanager
def person_detector() -> Iterator[PersonDetector]:
    """The detector, its graph closed afterwards."""
    from google.protobuf import text_format
    from mediapipe.framework import calculator_pb2
    from mediapipe.python.solution_base import SolutionBase

    config = text_format.Parse(_GRAPH, calculator_pb2.CalculatorGraphConfig())
    with SolutionBase(graph_config=config, outputs=["detections"]) as graph:
        yield PersonDetector(graph)
