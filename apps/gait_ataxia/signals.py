"""Points of a walk as regular, smooth signals: gaps filled, 30 Hz, 6 Hz low-pass, one direction.

From here on a walk seen from the side goes to the right: a walk to the left is mirrored, with
left and right of the body exchanged, and exchanged back in what is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from apps.gait_ataxia.sides import with_sides
from operators.pose.body25 import MIRRORED, Joint, PoseSeries

RATE_HZ = 30.0
CUT_OFF_HZ = 6.0
LONGEST_GAP_S = 0.3
"""Gaps up to here are interpolated; what lies in longer ones is masked."""
SAGITTAL_TRAVEL_LEGS = 1.6
"""A pelvis that crosses the picture by more leg lengths than this is seen from the side."""

LEGS = (
    (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE),
    (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """A walk as signals.

    Args:
        points: ``(sample, 25, 2)`` float64, pixels, x to the right and y down, at `RATE_HZ`.
        confidence: ``(sample, 25)`` 0 to 1; 0 where a point was not seen within `LONGEST_GAP_S`.
        scale: ``(sample,)`` pixels of one leg length, smooth.
        view: ``frontal`` or ``sagittal``.
        is_mirrored: True when the picture was mirrored and sides are exchanged.
        start_s: Time of the first sample in the video.
    """

    points: NDArray[np.float64]
    confidence: NDArray[np.float64]
    scale: NDArray[np.float64]
    view: str
    is_mirrored: bool
    start_s: float

    @property
    def duration_s(self) -> float:
        """Length of the walk."""
        return len(self.points) / RATE_HZ

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Times of the samples in the video."""
        return np.asarray(self.start_s + np.arange(len(self.points)) / RATE_HZ)

    def part(self, first: int, last: int) -> Walk:
        """The samples from ``first`` up to, but without, ``last``, with a scale of their own."""
        points = self.points[first:last]
        return replace(
            self,
            points=points,
            confidence=self.confidence[first:last],
            scale=_scale(points),
            start_s=self.start_s + first / RATE_HZ,
        )

    @property
    def normalised(self) -> NDArray[np.float64]:
        """``(sample, 25, 2)``: leg lengths from the middle of the hips."""
        return np.asarray((self.points - self.points[:, [Joint.MID_HIP]]) / self.scale[:, None, None])


def as_walk(pose: PoseSeries, view: str | None = None) -> Walk | None:
    """The longest tracked stretch of a series as signals; None when nobody is tracked for a second.

    Args:
        pose: Points.
        view: Camera view, where the object names it; else it is told from the points.
    """
    stretch = _longest_stretch(pose)
    if stretch is None:
        return None
    first, last = stretch
    raw = pose.points[first : last + 1].astype(np.float64)
    view = view if view in {"frontal", "sagittal"} else told_view(raw)
    is_mirrored = view == "sagittal" and travel_legs(raw) < 0
    if is_mirrored:
        raw = mirrored(raw, pose.columns)
    if view == "sagittal":
        raw = with_sides(raw, pose.frame_rate)
    points, confidence = _regular(raw, pose.frame_rate)
    scale = _scale(points)
    return Walk(
        points=points, confidence=confidence, scale=scale, view=view, is_mirrored=is_mirrored,
        start_s=first / pose.frame_rate,
    )  # fmt: skip


def travel_legs(points: NDArray[np.float64]) -> float:
    """Way of the pelvis across the picture, to the right, in leg lengths."""
    hips = points[points[:, Joint.MID_HIP, 2] > 0, Joint.MID_HIP, 0]
    return float((np.median(hips[-5:]) - np.median(hips[:5])) / np.median(leg_px(points)))


def told_view(points: NDArray[np.float64]) -> str:
    """The view that the points themselves show: ``sagittal`` for a walk across the picture."""
    return "sagittal" if abs(travel_legs(points)) > SAGITTAL_TRAVEL_LEGS else "frontal"


def mirrored(points: NDArray[np.float64], columns: float) -> NDArray[np.float64]:
    """The points in the mirrored picture, with left and right of the body exchanged."""
    out = points[:, MIRRORED].copy()
    out[..., 0] = np.where(out[..., 2] > 0, columns - out[..., 0], 0.0)
    return out


def _longest_stretch(pose: PoseSeries) -> tuple[int, int] | None:
    """First and last frame of the longest run of tracked frames without a gap of more than a second."""
    tracked = np.flatnonzero(pose.is_tracked)
    if tracked.size < pose.frame_rate:
        return None
    cuts = np.flatnonzero(np.diff(tracked) > pose.frame_rate)
    begins, ends = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [tracked.size - 1]])
    longest = int(np.argmax(tracked[ends] - tracked[begins]))
    return int(tracked[begins[longest]]), int(tracked[ends[longest]])


def _regular(
    points: NDArray[np.float64], frame_rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(sample, 25, 2)`` filled and smoothed positions, ``(sample, 25)`` confidence, at `RATE_HZ`."""
    t = np.arange(len(points)) / frame_rate
    wanted = np.arange(0, t[-1] + 1e-9, 1 / RATE_HZ)
    out = np.zeros((wanted.size, 25, 2))
    confidence = np.zeros((wanted.size, 25))
    filter_ = butter(2, CUT_OFF_HZ, fs=RATE_HZ, output="sos")
    for joint in range(25):
        seen = points[:, joint, 2] > 0.1
        if seen.sum() < 4:
            continue
        at = t[seen]
        for axis in range(2):
            values = median_filter(points[seen, joint, axis], size=3, mode="nearest")
            inside = PchipInterpolator(at, values)(np.clip(wanted, at[0], at[-1]))
            out[:, joint, axis] = _smoothed(inside, filter_)
        near = np.abs(at[np.clip(np.searchsorted(at, wanted), 0, at.size - 1)] - wanted)
        near = np.minimum(near, np.abs(at[np.clip(np.searchsorted(at, wanted) - 1, 0, at.size - 1)] - wanted))
        confidence[:, joint] = np.interp(wanted, at, points[seen, joint, 2]) * (near <= LONGEST_GAP_S / 2)
    return out, confidence


def _smoothed(values: NDArray[np.float64], filter_: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sosfiltfilt(filter_, values, padlen=min(15, len(values) - 1)))


def leg_px(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(sample,)`` hip to knee to ankle in pixels, mean of both sides."""
    lengths = [
        np.linalg.norm(points[:, hip, :2] - points[:, knee, :2], axis=1)
        + np.linalg.norm(points[:, knee, :2] - points[:, ankle, :2], axis=1)
        for hip, knee, ankle in LEGS
    ]
    return np.asarray(np.mean(lengths, axis=0))


def _scale(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leg length over time: its inverse, the distance to the camera, changes slowly."""
    inverse = 1 / np.maximum(leg_px(points), 1e-3)
    inverse = median_filter(inverse, size=9, mode="nearest")
    samples = np.linspace(-1, 1, len(inverse))
    degree = 2 if len(inverse) > 2 * RATE_HZ else 1
    fitted = np.polyval(np.polyfit(samples, inverse, degree), samples)
    return np.asarray(1 / np.clip(fitted, 0.5 * np.median(inverse), 2.5 * np.median(inverse)))
