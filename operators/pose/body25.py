"""BODY_25: 25 points of a body in the order of OpenPose, and a series of them over time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Joint(IntEnum):
    """Index of a point; left and right are the person's."""

    NOSE = 0
    NECK = 1
    R_SHOULDER = 2
    R_ELBOW = 3
    R_WRIST = 4
    L_SHOULDER = 5
    L_ELBOW = 6
    L_WRIST = 7
    MID_HIP = 8
    R_HIP = 9
    R_KNEE = 10
    R_ANKLE = 11
    L_HIP = 12
    L_KNEE = 13
    L_ANKLE = 14
    R_EYE = 15
    L_EYE = 16
    R_EAR = 17
    L_EAR = 18
    L_BIG_TOE = 19
    L_SMALL_TOE = 20
    L_HEEL = 21
    R_BIG_TOE = 22
    R_SMALL_TOE = 23
    R_HEEL = 24


MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21)
"""Index of each point's partner on the other side."""

BONES = (
    (Joint.NECK, Joint.MID_HIP), (Joint.NECK, Joint.NOSE),
    (Joint.NECK, Joint.R_SHOULDER), (Joint.R_SHOULDER, Joint.R_ELBOW), (Joint.R_ELBOW, Joint.R_WRIST),
    (Joint.NECK, Joint.L_SHOULDER), (Joint.L_SHOULDER, Joint.L_ELBOW), (Joint.L_ELBOW, Joint.L_WRIST),
    (Joint.MID_HIP, Joint.R_HIP), (Joint.R_HIP, Joint.R_KNEE), (Joint.R_KNEE, Joint.R_ANKLE),
    (Joint.R_ANKLE, Joint.R_BIG_TOE), (Joint.R_ANKLE, Joint.R_HEEL),
    (Joint.MID_HIP, Joint.L_HIP), (Joint.L_HIP, Joint.L_KNEE), (Joint.L_KNEE, Joint.L_ANKLE),
    (Joint.L_ANKLE, Joint.L_BIG_TOE), (Joint.L_ANKLE, Joint.L_HEEL),
)  # fmt: skip
"""Pairs of points that a drawing joins."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSeries:
    """The points of one person over the frames of a video.

    Args:
        points: ``(frame, 25, 3)`` float32: x to the right and y down in pixels of the video,
            confidence 0 to 1; all three are 0 where a point is missing.
        frame_rate: Frames per second.
        columns: Width of the video, pixels.
        rows: Height of the video, pixels.
        estimator: What made the points, with its version.
    """

    points: NDArray[np.float32]
    frame_rate: float
    columns: int
    rows: int
    estimator: str

    def __post_init__(self) -> None:
        if self.points.ndim != 3 or self.points.shape[1:] != (25, 3):
            raise ValueError(f"BODY_25 points are (frame, 25, 3), not {self.points.shape}")

    @property
    def is_tracked(self) -> NDArray[np.bool_]:
        """``(frame,)``: True where hips, knees and ankles are seen."""
        legs = [Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE, Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE]
        return np.asarray((self.points[:, legs, 2] > 0).all(axis=1))

    @property
    def tracked_share(self) -> float:
        """Share of frames with legs, 0 to 1; 0 for a video without frames."""
        return float(self.is_tracked.mean()) if len(self.points) else 0.0
