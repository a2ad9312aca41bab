"""The overlay: the video once more, with the points and the statement drawn over it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from apps.gait_ataxia.findings import Findings
from operators.encode.derived_video import build_derived_video
from operators.encode.identity import Producer
from operators.pose.body25 import BONES
from operators.video.write_h264 import write_h264

LEFT, RIGHT, MIDDLE = (94, 200, 242), (255, 180, 84), (232, 237, 242)
LARGEST_SIDE_PX = 1280
"""Larger videos are made smaller: the overlay is for looking at."""


def overlay_video(findings: Findings, producer: Producer) -> Dataset:
    """The overlay as a derived video object."""
    stream, facts = write_h264(
        _frames(findings, producer), Fraction(findings.pose.frame_rate).limit_denominator(1001)
    )
    return build_derived_video(
        stream,
        facts,
        (findings.video.header,),
        producer,
        role="overlay_video",
        description="The walk with the points that were followed.",
        series_label="Gait overlay",
    )


def _frames(findings: Findings, producer: Producer) -> Iterator[NDArray[np.uint8]]:
    strikes = findings.strike_frames
    for index, frame in enumerate(findings.video):
        zoom = min(1.0, LARGEST_SIDE_PX / max(frame.shape[:2]))
        picture = (
            cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
            if zoom < 1
            else frame.copy()
        )
        if index < len(findings.pose.points):
            draw_points(picture, findings.pose.points[index], zoom)
        for row, (side, colour) in enumerate((("L", LEFT), ("R", RIGHT))):
            if any(abs(index + 1 - frame_number) <= 2 for frame_number in strikes[side]):
                _write(picture, f"{'left' if side == 'L' else 'right'} heel strike", 30 + 26 * row, colour)
        _write(picture, producer.statement, picture.shape[0] - 14, (255, 138, 128))
        yield np.asarray(picture, dtype=np.uint8)


def draw_points(picture: NDArray[np.uint8], points: NDArray[np.float32], zoom: float) -> None:
    """Draw bones and points of one frame into a picture, in place."""
    places = np.round(points[:, :2] * zoom).astype(int)
    width = max(1, round(picture.shape[0] / 360))
    for a, b in BONES:
        if points[a, 2] > 0 and points[b, 2] > 0:
            names = a.name[:2] + b.name[:2]
            colour = LEFT if "L_" in names else RIGHT if "R_" in names else MIDDLE
            cv2.line(
                picture, tuple(places[a].tolist()), tuple(places[b].tolist()), colour, width, cv2.LINE_AA
            )


def _write(picture: NDArray[np.uint8], text: str, row: int, colour: tuple[int, int, int]) -> None:
    for thickness, shade in ((4, (0, 0, 0)), (1, colour)):
        cv2.putText(picture, text, (14, row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, shade, thickness, cv2.LINE_AA)
