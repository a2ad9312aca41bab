"""Gait parameters of a walk: what the report says, and what the ridge baseline knows.

Lengths are in leg lengths, because a single camera has no scale. What a view does not show
(step width from the side, walking speed from the front) is not a number.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from apps.gait_ataxia.events import FOOT, Events, foot_speed
from apps.gait_ataxia.signals import RATE_HZ, Walk
from operators.pose.body25 import Joint

NAMES = (
    "cadence_per_min",
    "stride_time_s",
    "ln_stride_time_cv",
    "double_support_percent",
    "step_width_leg",
    "ln_sway",
    "speed_leg_s",
    "approach_per_s",
    "stride_length_leg",
    "ln_stride_length_cv",
    "ln_placement_leg",
    "ln_wander_leg",
    "arm_swing_leg",
    "arm_out_leg",
    "knee_range_deg",
    "ln_clearance_cv",
    "clearance_leg",
    "foot_pitch_range_deg",
    "trunk_lean_deg",
    "ln_lean_sd",
    "ln_head_sd",
    "swing_asymmetry",
    "bob_leg",
    "swing_speed_leg_s",
    "elbow_deg",
    "mean_confidence",
    "log_strides",
)
"""Parameters in the order of `GaitParameters.vector`."""

DOUBLE_SUPPORT_CALIBRATION = {"frontal": (0.0, 1.0), "sagittal": (7.5, 0.64)}
"""Offset in percent and slope of double support by view, fitted on phantoms of hospital A."""

_LEGS = ((Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE), (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE))
_ARMS = ((Joint.L_SHOULDER, Joint.L_ELBOW, Joint.L_WRIST), (Joint.R_SHOULDER, Joint.R_ELBOW, Joint.R_WRIST))


@dataclass(frozen=True, kw_only=True, eq=False)
class GaitParameters:
    """Parameters of one walk.

    Args:
        values: Name of `NAMES` to value; not a number where the view does not show it.
        strides: Number of strides, left and right together.
    """

    values: dict[str, float]
    strides: int

    @property
    def vector(self) -> NDArray[np.float64]:
        """``(parameter,)`` in the order of `NAMES`."""
        return np.array([self.values[name] for name in NAMES])

    @property
    def stride_time_cv_percent(self) -> float:
        """Coefficient of variation of the stride time."""
        return float(np.exp(self.values["ln_stride_time_cv"]))

    @property
    def sway_leg(self) -> float:
        """Lateral sway of the trunk seen from the front, forwards seen from the side, RMS."""
        return float(np.exp(self.values["ln_sway"]))


def measure(walk: Walk, events: Events) -> GaitParameters:
    """Every parameter of a walk with its events."""
    strides = events.stride_times_s
    points = walk.normalised
    values = dict.fromkeys(NAMES, float("nan"))
    values |= _timing(walk, events, strides)
    values |= _body(walk, points)
    values |= _feet(walk, events, points)
    values |= _frontal(walk, events, points) if walk.view == "frontal" else _sagittal(walk, events)
    values["mean_confidence"] = float(walk.confidence[:, [*range(15)]].mean())
    values["log_strides"] = float(np.log(max(strides.size, 1)))
    return GaitParameters(values=values, strides=int(strides.size))


def _ln(value: float, least: float) -> float:
    return float(np.log(max(value, least)))


def _robust_sd(values: NDArray[np.float64]) -> float:
    """Standard deviation with outliers drawn to three times the median deviation."""
    if values.size < 2:
        return float("nan")
    middle = np.median(values)
    spread = 3 * 1.4826 * np.median(np.abs(values - middle)) + 1e-9
    return float(np.std(np.clip(values, middle - spread, middle + spread), ddof=1))


def _detrended(values: NDArray[np.float64], degree: int = 2) -> NDArray[np.float64]:
    samples = np.linspace(-1, 1, values.size)
    return np.asarray(values - np.polyval(np.polyfit(samples, values, degree), samples))


def _timing(walk: Walk, events: Events, strides: NDArray[np.float64]) -> dict[str, float]:
    if strides.size < 2:
        return {}
    steps = events.step_times_s
    stride = float(strides.mean())
    supports = events.supports_s[np.isfinite(events.supports_s)]
    offset, slope = DOUBLE_SUPPORT_CALIBRATION[walk.view]
    raw = 200 * float(np.median(supports)) / stride if supports.size else float("nan")
    leading = np.array(events.leading[: len(events.crossings) - 1])
    times = np.diff(events.crossings)
    both = [times[leading == side] for side in "LR"]
    asymmetry = (
        abs(np.mean(both[0]) - np.mean(both[1])) / stride if all(b.size for b in both) else float("nan")
    )
    return {
        "cadence_per_min": 60 / float(steps.mean()),
        "stride_time_s": stride,
        "ln_stride_time_cv": _ln(100 * _robust_sd(strides) / stride, 0.5),
        "double_support_percent": offset + slope * raw,
        "swing_asymmetry": float(asymmetry),
    }


def _angle_deg(points: NDArray[np.float64], a: Joint, b: Joint, c: Joint) -> NDArray[np.float64]:
    """Angle at ``b`` in the picture."""
    u, v = points[:, a] - points[:, b], points[:, c] - points[:, b]
    cos = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1) + 1e-9)
    return np.asarray(np.degrees(np.arccos(np.clip(cos, -1, 1))))


def _range(values: NDArray[np.float64]) -> float:
    return float(np.percentile(values, 95) - np.percentile(values, 5))


def _body(walk: Walk, points: NDArray[np.float64]) -> dict[str, float]:
    trunk = points[:, Joint.NECK]
    lean = np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1]))
    slow = gaussian_filter1d(lean, 0.15 * RATE_HZ)
    head = points[:, Joint.NOSE] - points[:, Joint.NECK]
    swings = [
        _range(points[:, wrist, axis] - points[:, shoulder, axis])
        for wrist, shoulder in ((Joint.L_WRIST, Joint.L_SHOULDER), (Joint.R_WRIST, Joint.R_SHOULDER))
        for axis in ((0,) if walk.view == "sagittal" else (1,))
    ]
    out = [
        abs(float(np.median(points[:, elbow, 0] - points[:, shoulder, 0])))
        for elbow, shoulder in ((Joint.L_ELBOW, Joint.L_SHOULDER), (Joint.R_ELBOW, Joint.R_SHOULDER))
    ]
    knees = [_range(_angle_deg(points, *leg)) for leg in _LEGS]
    elbows = [float(np.median(_angle_deg(points, *arm))) for arm in _ARMS]
    bob = _detrended((walk.points[:, Joint.MID_HIP, 1]) / walk.scale, 3)
    return {
        "ln_sway": _ln(
            float(
                _detrended(
                    walk.points[:, Joint.NECK, 0] / walk.scale, 2 if walk.view == "frontal" else 5
                ).std()
            ),
            1e-3,
        ),
        "arm_swing_leg": float(np.mean(swings)),
        "arm_out_leg": float(np.mean(out)),
        "knee_range_deg": float(np.mean(knees)),
        "elbow_deg": float(np.mean(elbows)),
        "trunk_lean_deg": float(np.median(lean)),
        "ln_lean_sd": _ln(_robust_sd(slow), 0.05),
        "ln_head_sd": _ln(_robust_sd(_detrended(head[:, 0])), 1e-3),
        "bob_leg": float(bob.std()),
    }


def _feet(walk: Walk, events: Events, points: NDArray[np.float64]) -> dict[str, float]:
    heights, pitches, peaks = [], [], []
    for side, (ankle, heel, toe) in FOOT.items():
        index = _samples(walk, events.strikes[side])
        for a, b in itertools.pairwise(index):
            lift = walk.points[a : b + 1, ankle, 1] / walk.scale[a : b + 1]
            heights.append(float(np.median(lift) - lift.min()))
            peaks.append(float(foot_speed(walk, side)[a : b + 1].max()))
        foot = points[:, toe] - points[:, heel]
        pitches.append(_range(np.degrees(np.arctan2(-foot[:, 1], np.abs(foot[:, 0]) + 0.15))))
    lifts = np.array(heights)
    if lifts.size < 2:
        return {}
    return {
        "clearance_leg": float(np.median(lifts)),
        "ln_clearance_cv": _ln(_robust_sd(lifts) / max(float(np.median(lifts)), 1e-3), 0.01),
        "foot_pitch_range_deg": float(np.mean(pitches)),
        "swing_speed_leg_s": float(np.median(peaks)),
    }


def _samples(walk: Walk, times: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.round((times - walk.start_s) * RATE_HZ), 0, len(walk.points) - 1).astype(np.int64)


def _frontal(walk: Walk, events: Events, points: NDArray[np.float64]) -> dict[str, float]:
    at = _samples(walk, events.crossings)
    if at.size < 3:
        return {}
    apart = np.abs(points[at, Joint.L_ANKLE, 0] - points[at, Joint.R_ANKLE, 0])
    seconds = np.arange(len(walk.scale)) / RATE_HZ
    closeness = np.polyfit(seconds, np.log(walk.scale), 1)[0]
    middle = 0.5 * (walk.points[at, Joint.L_ANKLE, 0] + walk.points[at, Joint.R_ANKLE, 0]) / walk.scale[at]
    return {
        "step_width_leg": float(np.median(apart)),
        "ln_placement_leg": _ln(_robust_sd(apart), 1e-3),
        "ln_wander_leg": _ln(_robust_sd(_detrended(middle)), 1e-3),
        "approach_per_s": float(closeness),
    }


def _sagittal(walk: Walk, events: Events) -> dict[str, float]:
    travel = walk.points[:, Joint.MID_HIP, 0] / walk.scale
    speed = abs(float(travel[-1] - travel[0])) / max(walk.duration_s - 1 / RATE_HZ, 1e-3)
    lengths = []
    for side, (ankle, heel) in {
        "L": (Joint.L_ANKLE, Joint.L_HEEL),
        "R": (Joint.R_ANKLE, Joint.R_HEEL),
    }.items():
        # where the foot stands: a moment after the strike
        index = _samples(walk, events.strikes[side] + 0.15)
        place = 0.5 * (walk.points[index, ankle, 0] + walk.points[index, heel, 0]) / walk.scale[index]
        lengths += list(np.abs(np.diff(place)))
    strides = np.array(lengths)
    if strides.size < 2:
        return {"speed_leg_s": speed}
    strides = strides[strides < 1.7 * np.median(strides)]
    return {
        "speed_leg_s": speed,
        "stride_length_leg": float(np.median(strides)),
        "ln_stride_length_cv": _ln(100 * _robust_sd(strides) / float(np.median(strides)), 0.5),
    }
